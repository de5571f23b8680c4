# Carries bytes between a new channel and the runner that is there already: relay.sh pid directory. docs/reference/runner.md.
# Sent as one line: every statement ends itself; no single quotes, backslashes or exclamation marks.
# Ends with 4 when there is no such runner any more, with 5 when the directory is not ours, with 6 when the runner does not answer.
d=$2;
# The number may belong to somebody else by now; the token is among the words of the runner.
case $(cat -v "/proc/$1/cmdline" || ps -p "$1" -o args=) in *"${d##*-}"*) ;; *) exit 4 ;; esac 2>&-;
[ -p "$d/said" ] || exit 4;
[ -O "$d" ] || exit 5;
n=link.$$; i=$d/$n.in; o=$d/$n.out;
mkfifo -m 600 "$i" "$o" || exit 6;
# Held open in both directions until the runner has opened its ends, so that nobody waits for anybody.
exec 3<>"$i" 4<>"$o" 5<"$o" 6>"$i" 7<&0;
trap "exit 6" TERM;
echo "$n" >"$d/link";
kill -s USR1 "$1";
s= t=;
g() { t=1; [ -z "$s" ] || { kill "$s"; exit; }; };
( trap g TERM; exec 3>&- 4>&- 5<&- 6>&- 7<&- <&- >&- 2>&-; sleep 10 & s=$!; [ -z "$t" ] || g; wait "$s"; kill "$$" ) & w=$!;
read -r x <&5;
kill "$w";
rm -f "$i" "$o";
exec 3>&- 4>&-;
trap - TERM;
cat <&7 >&6 & c=$!;
exec 6>&- 7<&- <&-;
cat <&5;
kill "$c" 2>&-
