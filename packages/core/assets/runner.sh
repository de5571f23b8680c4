# The runner of Cahier where there is no perl: any POSIX shell (dash, busybox), with setsid, mkfifo and env.
#
#   sh runner.sh [lease-seconds [grace-seconds]]
#
# Requests are lines of shell text, which the sender has quoted; $nl stands for a line end:
#   s id out err append detach cwd stdin names-to-unset NAME=VALUE... -- word...      k pid signal      p
# Answers are those of runner.pl. What this one does not do: output comes when the command has ended (files excepted),
# stdin is a file or empty, a code above 128 is taken for a signal, commands are started with SIGINT and SIGQUIT ignored,
# no lease.
nl='
'
grace=${2:-5}
dir=$(mktemp -d "${TMPDIR:-/tmp}/cahier-runner-XXXXXX") || exit 1
mkfifo "$dir/token" && exec 9<>"$dir/token" || exit 1
echo >&9
trap '' PIPE
trap 'exit 0' TERM HUP INT

# Answers of several commands must not mix: one token, taken by who writes.
say() {
  read -r token <&9
  printf '%s %s %s\n%s' "$1" "$2" "${#3}" "$3"
  echo >&9
}
say_file() {
  size=$(wc -c <"$3") && size=$((size))
  [ "$size" -gt 0 ] || return 0
  read -r token <&9
  printf '%s %s %s\n' "$1" "$2" "$size"
  cat "$3"
  echo >&9
}

s() {
  id=$1 out=$2 err=$3 append=$4 detach=$5 cwd=$6 input=$7 unset=$8
  shift 8
  (
    trap - TERM HUP INT PIPE
    # Where the shell would tell of every child that a signal ended.
    exec 2>/dev/null
    base=$dir/$id
    for name in $unset; do unset "$name"; done
    while [ "$1" != -- ]; do export "$1"; shift; done
    shift
    if [ -n "$cwd" ]; then
      cd -- "$cwd" 2>/dev/null || { say F "$id" 'cwd ENOENT the directory cannot be entered'; exit; }
    fi
    case $1 in
      */*) if [ ! -e "$1" ]; then code=ENOENT; elif [ -d "$1" ] || [ ! -x "$1" ]; then code=EACCES; else code=; fi ;;
      *) if command -v -- "$1" >/dev/null 2>&1; then code=; else code=ENOENT; fi ;;
    esac
    [ -z "$code" ] || { say F "$id" "exec $code the program cannot be executed"; exit; }
    [ -n "$input" ] || input=/dev/null
    framed=
    if [ -z "$out" ]; then framed=1 out=$base.out err=$base.err; fi
    if [ -n "$append" ]; then mode='>>'; else mode='>'; fi
    if [ "$out" = "$err" ]; then errors='2>&1'; else errors="2$mode\"\$err\""; fi
    eval "setsid \"\$@\" <\"\$input\" $mode\"\$out\" $errors 9>&- &" 2>/dev/null
    pid=$!
    [ -n "$detach" ] || echo "$pid" >"$base.pid"
    say S "$id" "$pid"
    wait "$pid"
    code=$? signal=0
    if [ "$code" -gt 128 ]; then signal=$((code - 128)) code=0; fi
    if [ -n "$framed" ]; then
      say_file O "$id" "$out"
      say_file E "$id" "$err"
    fi
    say X "$id" "$code $signal 0"
    rm -f "$base.out" "$base.err" "$base.pid" "$base.in"
  ) &
}
# Text for the stdin of the command that is started next under this id.
i() { printf %s "$2" >>"$dir/$1.in"; }
# Just after the fork there is no group yet, only its leader to be.
k() { kill -s "$2" -- "-$1" 2>/dev/null || kill -s "$2" "$1" 2>/dev/null; }
p() { say P 0 ''; }

say H 0 "1 sh $$ $dir"
while IFS= read -r line; do eval "$line"; done

pids=$(cat "$dir"/*.pid 2>/dev/null)
for pid in $pids; do kill -s TERM -- "-$pid"; kill -s CONT -- "-$pid"; done 2>/dev/null
while [ "$grace" -gt 0 ]; do
  alive=
  for pid in $pids; do kill -s 0 -- "-$pid" && alive=1; done 2>/dev/null
  [ -n "$alive" ] || break
  sleep 1
  grace=$((grace - 1))
done
for pid in $pids; do kill -s KILL -- "-$pid"; done 2>/dev/null
rm -rf "$dir"
