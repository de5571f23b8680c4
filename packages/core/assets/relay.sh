# Carries bytes between a new channel and the runner that is there already: relay.sh pid directory. docs/reference/runner.md.
# Sent as one line: every statement ends itself; no single quotes, backslashes or exclamation marks.
# Ends with 4 when there is no such runner any more, with 5 when the directory is not ours, with 6 when the runner does not answer.
d=$2;
# The number may belong to somebody else by now; the token is among the words of the runner.
case $(cat -v "/proc/$1/cmdline" || ps -p "$1" -o args=) in *"${d##*-}"*) ;; *) exit 4 ;; esac 2>&-;
[ -p "$d/main" ] || exit 4;
[ -O "$d" ] || exit 5;
n=link.$$; i=$d/$n.in; o=$d/$n.out;
mkfifo -m 600 "$i" "$o" || exit 6;
# Held open in both directions until the runner has opened its ends, so that nobody waits for anybody.
exec 3<>"$i" 4<>"$o" 5<"$o" 6>"$i" 7<&0;
trap "exit 6" TERM;
echo "link $n" 1<>"$d/main";
# Nobody stops the guard, because a shell that was just forked may miss a signal: it looks whether its time is over.
( exec 3>&- 4>&- 5<&- 6>&- 7<&- <&- >&- 2>&-; k=0; while [ "$k" -lt 100 ]; do sleep 0.1 || { sleep 1; k=$((k + 9)); }; [ -p "$i" ] || exit; k=$((k + 1)); done; kill "$$" ) &
read -r x <&5;
rm -f "$i" "$o";
exec 3>&- 4>&-;
trap - TERM;
# dd, because the cat of busybox gives nothing on from a socket before there are 16 MiB or the end.
dd bs=65536 <&7 >&6 2>/dev/null & c=$!;
exec 6>&- 7<&- <&-;
dd bs=65536 <&5 2>/dev/null;
kill "$c" 2>&-
