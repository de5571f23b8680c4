# The runner of Cahier where there is no perl: any POSIX shell (dash, busybox ash, bash, ksh), with setsid, mkfifo, dd and env.
#
#   sh runner.sh token [lease-seconds [grace-seconds]]
#
# Requests and answers: docs/reference/runner.md. Lines that are only comment and indentation are removed before the program is sent.
#
# Each of these is a fork of this shell; they meet in a folder of mode 0700:
#   main       takes from the fifo "main" what happens to the link, changes links, and ends everything
#   listener   takes requests from the link; a new one for each link
#   keeper     takes from the fifo "said" what the others have to say, one line each, and alone writes frames
#   pump       with a lease: carries to the link what the keeper has put into files; a new one for each link
#   for each command: one that waits for its end, a reader for each stream, a feeder for its stdin
# Files: p.ID pid, mark, detached, state of a command that is not forgotten, the last line counts; ID.o ID.e its streams (fifos), ID.o0 ID.o1 what was read,
# ID.og leave to read on (fifo), ID.q what the feeder has to do, ID.f wakes it (fifo), ID.c its stdin is closed, ID.r its helpers.
#
# What it cannot do: commands ignore SIGINT and SIGQUIT, as whatever a shell starts in the background. Under bash and mksh, the codes
# 130, 141 and 143 are taken for signals. A program that exists and cannot be executed ends with the code of setsid, 126 or 127.
#
# Variables begin with an underscore: all other names belong to the commands.
_nl='
'
_token=$1 _lease=${2:-0} _grace=${3:-5}
# The length of a text is in bytes. What commands see of this is put back.
_locale=${LC_ALL+=}${LC_ALL-}
unset LC_ALL
LC_ALL=C
case ${BASH_VERSION+bash}${KSH_VERSION-} in
  '') _tells=jobs ;;
  bash | *MIRBSD* | *LEGACY*) _tells=word ;;
  *) _tells=code ;;
esac
case $_tells${KSH_VERSION-} in word?*) set +U ;; esac
_dir=
for _x in "${TMPDIR:-.}/cahier-$_token" "/tmp/cahier-$_token" "/tmp/cahier-$$-$_token"; do
  case $_x in /*) mkdir -m 700 "$_x" "$_x/kept" 2>/dev/null && _dir=$_x && break ;; esac
done
[ -n "$_dir" ] || exit 1
mkfifo "$_dir/said" "$_dir/main" "$_dir/poke" && exec 3>&1 4<&0 8<>"$_dir/said" || exit 1
_text="2 sh $$ 0 $_dir"
printf '\nH 0 %s %s\n%s' "${#_text}" "$_token" "$_text" >&3
exec </dev/null >/dev/null 2>&1
_setsid=$(command -v setsid) _env=$(command -v env)
# busybox knows no --, dash no number without it.
_kill_group() { kill -s "$1" -- "-$2" || kill -s "$1" "-$2"; }

# When the leader of a group is alive, its group is what it made itself.
if _kill_group 0 "$$"; then _own_group=1; else _own_group=; fi
_links=0 _most=4194304
trap '' PIPE

_pause() { sleep 0.1 || sleep 1; }

# How much dd has copied, as it says itself; where it says nothing, what there is in the file. Answers in _count.
_copied() {
  _count=
  { read -r _x; read -r _x; read -r _count _x; } <"$1"
  case $_count in '' | *[!0-9]*) _count=$(wc -c <"$2") && _count=$((_count - $3)) ;; esac
}

# Commands.

_failed() {
  trap - EXIT
  exec 5<&- 6>&- 7>&-
  # Its helpers are gone before it is told.
  [ -z "$_readers$_feeder" ] || { kill $_readers $_feeder; wait; }
  : >"$_dir/p.$_id"
  echo "F $_id $1 $2 $3" >&8
  exit
}

# Why a file could not be opened.
_reason() {
  case $1 in */*) _parent=${1%/*}/ ;; *) _parent=. ;; esac
  if [ -d "$1" ]; then echo EISDIR; elif [ -d "$_parent" ]; then echo EACCES; elif [ -e "${_parent%/}" ]; then echo ENOTDIR; else echo ENOENT; fi
}

# Nothing of the shell's own counts as a program: neither functions nor builtins. Answers in _code.
_look_for() {
  _code=ENOENT
  case $1 in
    */*)
      if [ -d "$1" ]; then _code=EACCES; elif [ -x "$1" ]; then _code=; elif [ -e "$1" ]; then _code=EACCES; fi
      return
      ;;
  esac
  _rest=${PATH-/usr/bin:/bin}:
  while [ -n "$_rest" ]; do
    _file=${_rest%%:*}
    _file=${_file:-.}/$1
    _rest=${_rest#*:}
    [ -f "$_file" ] || continue
    if [ -x "$_file" ]; then _code=; return; fi
    _code=EACCES
  done
}

# Waits, for a moment, until a process leads a group of its own.
_apart() {
  for _x in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    read -r _line <"/proc/$1/stat" || return
    set -- "$1" ${_line##*) }
    [ "$4" != "$1" ] || return
    _pause
  done
}

# Runs in a fork: starts the command, waits for its end.
_command() {
  trap - PIPE HUP INT TERM
  _id=$1 _out=$2 _err=$3 _append=$4 _detach=$5 _cwd=$6 _input=$7 _pipe=$8 _names=$9
  shift 9
  _b=$_dir/$_id _readers= _feeder= _streams=0
  # A shell that cannot fork ends.
  trap '_failed fork EAGAIN "the shell cannot fork"' EXIT
  if [ -n "$_out" ]; then
    { :; } >>"$_out" || _failed stdout "$(_reason "$_out")" 'the file cannot be opened'
    { :; } >>"$_err" || _failed stderr "$(_reason "$_err")" 'the file cannot be opened'
    if [ -n "$_append" ]; then exec 6>>"$_out"; else exec 6>"$_out"; fi
    if [ "$_err" = "$_out" ]; then exec 7>&6; elif [ -n "$_append" ]; then exec 7>>"$_err"; else exec 7>"$_err"; fi
  fi
  if [ -n "$_cwd" ]; then
    case $_cwd in /*) ;; *) _cwd=./$_cwd ;; esac
    cd "$_cwd" || {
      if [ ! -e "$_cwd" ]; then _code=ENOENT; elif [ -d "$_cwd" ]; then _code=EACCES; else _code=ENOTDIR; fi
      _failed cwd "$_code" 'the directory cannot be entered'
    }
  fi
  if [ -z "$_out" ]; then
    mkfifo "$_b.o" "$_b.og" "$_b.e" "$_b.eg" ${_pipe:+"$_b.i" "$_b.f"} || _failed pipe ENOSPC 'a fifo cannot be made'
  elif [ -n "$_pipe" ]; then
    mkfifo "$_b.i" "$_b.f" || _failed pipe ENOSPC 'a fifo cannot be made'
  fi
  if [ -z "$_out" ]; then
    _streams=2
    _reader o O &
    _readers=$!
    _reader e E &
    _readers="$_readers $!"
  fi
  if [ -n "$_pipe" ]; then _feed & _feeder=$!; fi
  echo "$_readers $_feeder" >"$_b.r"
  if [ -z "$_out" ]; then exec 6>"$_b.o" 7>"$_b.e"; fi
  if [ -n "$_pipe" ]; then exec 5<"$_b.i"; elif [ -n "$_input" ]; then exec 5<"$_b.t"; else exec 5</dev/null; fi

  case $_locale in =*) LC_ALL=${_locale#=}; export LC_ALL ;; *) unset LC_ALL ;; esac
  for _name in $_names; do
    case $_name in '' | [0-9]* | *[!A-Za-z0-9_]*) ;; *) command unset "$_name" ;; esac
  done
  # What the shell cannot set, or would understand itself, env sets: those go behind the words.
  _mark=- _later=0
  while [ "$1" != -- ]; do
    case $1 in CAHIER_PROC=*) _mark=${1##*[ =]} ;; esac
    case ${1%%=*} in
      '' | [0-9]* | *[!A-Za-z0-9_]* | _* | BASH* | KSH* | EUID | UID | PPID | GROUPS | DIRSTACK | FUNCNAME | *RANDOM | SECONDS | LINENO | EPOCH* | HIST* | COMP_* | SHELLOPTS | OPT* | IFS | PS[0-9] | ENV | MAIL* | TMOUT | POSIXLY_CORRECT)
        set -- "$@" "$1"
        _later=$((_later + 1))
        ;;
      *) export "$1" ;;
    esac
    shift
  done
  shift
  _look_for "$1"
  [ -z "$_code" ] || _failed exec "$_code" 'the program cannot be executed'
  if [ "$_later" -gt 0 ]; then
    _later=$(($# - _later))
    set -- "$@" "$_setsid"
    while [ "$_later" -gt 0 ]; do set -- "$@" "$1"; shift; _later=$((_later - 1)); done
    set -- "$_env" "$@"
  else
    set -- "$_setsid" "$@"
  fi
  "$@" <&5 >&6 2>&7 5<&- 6>&- 7>&- 3>&- 4<&- 8>&- &
  _pid=$!
  trap - EXIT
  # Before that, the end of the runner would take it along.
  [ -z "$_detach" ] || _apart "$_pid"
  exec 5<&- 6>&- 7>&- 2>"$_b.x"
  echo "$_pid ${_mark:--} ${_detach:--} running" >>"$_dir/p.$_id"
  echo "S $_id $_pid $_streams" >&8
  [ "$_streams" -eq 0 ] || { echo 1<>"$_b.og"; echo 1<>"$_b.eg"; }
  wait "$_pid"
  _code=$? _signal=0
  if [ "$_code" -gt 256 ]; then
    _signal=$((_code - 256)) _code=0
  elif [ "$_code" -gt 128 ] && _by_signal; then
    _signal=$((_code - 128)) _code=0
  fi
  echo "$_pid ${_mark:--} ${_detach:--} ended" >>"$_dir/p.$_id"
  : >"$_b.c"
  [ -z "$_feeder" ] || kill "$_feeder"
  echo "x $_id $_code $_signal" >&8
}

# A code above 128 may be one, or a signal. The list of jobs of dash and ash tells them apart; bash and mksh print a word for most
# signals; ksh has codes above 256.
_by_signal() {
  case $_tells in
    code) return 1 ;;
    word)
      [ -s "$_b.x" ] && return
      case $_code in 130 | 141 | 143) return 0 ;; *) return 1 ;; esac
      ;;
  esac
  jobs >"$_b.j"
  while read -r _line; do
    case $_line in *"Done($_code)"*) return 1 ;; esac
  done <"$_b.j"
  return 0
}

# What dd reads goes into two files in turn. Leave to say something comes from the one who says that the command has started, then from
# the keeper whenever it has written out what was said before.
_reader() {
  # Not $1 and $2: when the trap comes, those may be the words of a function.
  _stream=$1 _type=$2 _dd= _n=0
  trap '[ -z "$_dd" ] || kill "$_dd"; echo "$_stream $_id" >&8; exit' TERM
  export LC_ALL
  exec 7<>"$_b.${_stream}g" 6<"$_b.$_stream"
  while :; do
    dd bs=65536 count=1 <&6 >"$_b.$_stream$_n" 2>"$_b.${_stream}d" 8>&- &
    _dd=$!
    wait "$_dd"
    _dd=
    read -r _x <&7
    [ -s "$_b.$_stream$_n" ] || break
    _copied "$_b.${_stream}d" "$_b.$_stream$_n" 0
    echo "$_type $_id $_count $_n" >&8
    _n=$((1 - _n))
  done
  trap '' TERM
  echo "$_stream $_id" >&8
}

# Carries text to the stdin of a command. The list is a file, so that nothing in it is lost before there is a feeder.
_feed() {
  _cat=
  trap '[ -z "$_cat" ] || kill "$_cat"; exit' TERM
  exec 7<>"$_b.f" 6<"$_b.q" 5>"$_b.i"
  while :; do
    while read -r _count _n <&6; do
      [ "$_count" != c ] || exit
      cat "$_b.w$_n" >&5 5>&- 8>&- &
      _cat=$!
      wait "$_cat" || {
        : >"$_b.c"
        echo "B $_id" >&8
        exit
      }
      _cat=
      echo "W $_id $_count" >&8
      rm -f "$_b.w$_n"
    done
    read -r _x <&7
  done
}

# Trees.

# Prints the living processes of commands, each given as pid:mark:state. Runs in a fork.
_tree() {
  export LC_ALL
  _groups=' ' _marks=' ' _marked=' ' _rows= _found=' ' _gone=' '
  for _x do
    _pid=${_x%%:*}
    _x=${_x#*:}
    _groups="$_groups$_pid "
    case $_x in *:ended) _gone="$_gone$_pid " ;; esac
    case $_x in -:*) ;; *) _marks="$_marks${_x%:*} " ;; esac
  done
  if [ -r /proc/self/stat ]; then
    _lines=$(cat /proc/[0-9]*/stat)
    [ "$_marks" = ' ' ] || _marked=$(_carriers)
    set -f
    IFS=$_nl
    set -- $_lines
    unset IFS
    for _line do
      _pid=${_line%% *}
      case $_pid in '' | *[!0-9]*) continue ;; esac
      # The name may hold anything, even brackets.
      _line=${_line##*") "}
      set -- $_line
      case $1 in Z | X | x) ;; *) _rows="$_rows $_pid:$2:$3:$4" ;; esac
    done
  else
    set -f
    set -- $(ps -A -o pid= -o ppid= -o pgid=)
    while [ $# -ge 3 ]; do _rows="$_rows $1:$2:$3:$3"; shift 3; done
  fi
  # The number of one that was waited for may be a stranger's now.
  case $_gone in
    ' ') ;;
    *)
      for _row in $_rows; do
        case $_gone in *" ${_row%%:*} "*) _x=${_groups#*" ${_row%%:*} "} _groups="${_groups%" ${_row%%:*} "*} $_x" ;; esac
      done
      ;;
  esac
  _more=1
  while [ -n "$_more" ]; do
    _more=
    for _row in $_rows; do
      _pid=${_row%%:*} _x=${_row#*:}
      case $_found in *" $_pid "*) continue ;; esac
      _parent=${_x%%:*} _x=${_x#*:}
      case $_groups in *" ${_x%:*} "* | *" ${_x#*:} "*) _found="$_found$_pid " _more=1; continue ;; esac
      case $_found in *" $_parent "*) _found="$_found$_pid " _more=1; continue ;; esac
      case $_marked in *" $_pid "*) _found="$_found$_pid " _more=1 ;; esac
    done
  done
  _found=${_found# }
  echo "${_found% }"
}

# Who has one of the marks in its environment. head names each file before what is in it.
_carriers() {
  _list=' ' _pid=
  head -n 1000000 /proc/[0-9]*/environ | tr '\000' '\n' | grep -e '^==> /proc/[0-9]*/environ <==$' -e '^CAHIER_PROC=' | {
    while read -r _line; do
      case $_line in
        '==> '*) _pid=${_line#==> /proc/} _pid=${_pid%%/*} ;;
        *)
          for _x in ${_line#*=}; do
            case $_marks in *" $_x "*) _list="$_list$_pid " ;; esac
          done
          ;;
      esac
    done
    echo "$_list."
  } | { read -r _list; echo " ${_list%.}"; }
}

# Reads what is known of a command. Answers in _pid, _mark, _detach, _state. Lines are added, never replaced: on a busy disk a file that
# is being replaced is empty for a while, and its command would be taken for forgotten.
_known() {
  _state=
  [ ! -s "$1" ] || while read -r _k1 _k2 _k3 _k4; do _pid=$_k1 _mark=$_k2 _detach=$_k3 _state=$_k4; done <"$1"
  [ -n "$_state" ]
}

# The same, when it has been started.
_settled() {
  while _known "$_dir/p.$1"; do
    [ "$_state" = starting ] || return 0
    _pause
  done
  return 1
}

_signal_group() {
  _settled "$1"
  # Just after the fork there is no group yet, only its leader to be.
  if [ "$_state" = running ]; then _kill_group "$2" "$_pid" || kill -s "$2" "$_pid"; fi
}

_signal_tree() {
  trap - TERM
  _settled "$1" || return
  for _round in 1 2 3 4 5 6 7 8 9; do
    _pids=$(_tree "$_pid:$_mark:$_state")
    [ -n "$_pids" ] || return
    kill -s "$2" $_pids
    [ "$2" = KILL ] || return
  done
}

_tell_tree() {
  trap - TERM
  _pids=
  if _settled "$1"; then _pids=$(_tree "$_pid:$_mark:$_state"); fi
  printf %s "$_pids" >"$_dir/T.$2"
  echo "T $1 ${#_pids} T.$2" >&8
}

# Tells main that everything is to end. The signal works even when somebody has removed the folder, the line even when the signal
# comes just before main waits.
_over() {
  kill -s TERM $$
  echo end 1<>"$_dir/main"
}

# The listener.

_taken() {
  # From here to _done, nobody ends the listener half-way: what is counted is done.
  trap '_dead=1' TERM
  _received=$((_received + _size))
  echo "$_received $_links" >"$_dir/received"
}

_done() {
  trap - TERM
  [ -z "$_dead" ] || exit
}

# Bytes that follow a request go into a file.
_take() {
  _left=$2 _size=$((_size + $2))
  : >"$1"
  while [ "$_left" -gt 0 ]; do
    if [ "$_left" -gt 65536 ]; then _part=65536; else _part=$_left; fi
    LC_ALL=C dd bs="$_part" count=1 >>"$1" 2>"$_dir/dd"
    _copied "$_dir/dd" "$1" $(($2 - _left))
    [ "$_count" -gt 0 ] || _link_ended ended
    _left=$((_left - _count))
    echo "$_received $_links $_left" >"$_dir/received"
  done
}

_not_forked() {
  : >"$_dir/p.$_starting"
  echo "F $_starting fork EAGAIN the shell cannot fork" >&8
}

_link_ended() {
  trap - EXIT
  [ -z "$_starting" ] || _not_forked
  [ "$_lease" -gt 0 ] || [ "$1" != ended ] || _over
  echo "$1 $_links" 1<>"$_dir/main"
  exit
}

# What it starts is not its child: under busybox, a child that ends makes read forget the part of a line that has come.
_listen() {
  _dead= _starting= _n=0
  trap - PIPE HUP
  trap '_link_ended failed' EXIT
  read -r _received _x <"$_dir/received"
  if [ -n "$1" ]; then
    IFS= read -r _line
    case $_line in 'a '*[!0-9]* | 'a ') _link_ended ended ;; 'a '*) ;; *) _link_ended ended ;; esac
    echo "$_received $_links a" >"$_dir/received"
    echo "$_line" >&8
    echo "${_line#a }" >"$_dir/from"
    echo 1<>"$_dir/poke"
  fi
  while IFS= read -r _line; do
    _size=$((${#_line} + 1))
    eval "set -- $_line"
    case $1$# in s?* | [kK]3 | [tcdfa]2 | w3 | [pq]1) ;; *) _taken; _done; continue ;; esac
    _type=$1 _id=${2-}
    shift
    case $_type in
      s)
        [ -z "$7" ] || _take "$_dir/$_id.t" "$7"
        _taken
        if [ ! -e "$_dir/p.$_id" ]; then
          _starting=$_id
          echo '0 - - starting' >"$_dir/p.$_id"
          [ -z "$8" ] || : >"$_dir/$_id.q"
          (_command "$@" </dev/null 4<&- &) || _not_forked
          _starting=
        fi
        ;;
      w)
        _n=$((_n + 1))
        if [ -s "$_dir/p.$_id" ] && [ -e "$_dir/$_id.q" ] && [ ! -e "$_dir/$_id.c" ]; then
          _take "$_dir/$_id.w$_links.$_n" "$2"
          _taken
          echo "$2 $_links.$_n" >>"$_dir/$_id.q"
          _wake "$_id"
        else
          _take "$_dir/nowhere" "$2"
          _taken
          echo "B $_id" >&8
        fi
        ;;
      c)
        _taken
        if [ -e "$_dir/$_id.q" ]; then
          : >"$_dir/$_id.c"
          echo c >>"$_dir/$_id.q"
          _wake "$_id"
        fi
        ;;
      k)
        _taken
        if _settled_now "$_id"; then _signal_group "$_id" "$2"; else (_signal_group "$_id" "$2" &); fi
        ;;
      K)
        _taken
        (_signal_tree "$_id" "$2" &)
        ;;
      t)
        _n=$((_n + 1))
        _taken
        (_tell_tree "$_id" "$_links.$_n" &)
        ;;
      d)
        _taken
        if [ -s "$_dir/$_id.r" ]; then
          : >"$_dir/$_id.c"
          read -r _pids <"$_dir/$_id.r"
          : >"$_dir/$_id.r"
          kill $_pids
        fi
        ;;
      f)
        _taken
        if [ -e "$_dir/p.$_id" ]; then
          : >"$_dir/p.$_id"
          echo "f $_id" >&8
        fi
        ;;
      a)
        _taken
        echo "a $_id" >&8
        ;;
      p)
        _taken
        echo 'P 0' >&8
        ;;
      q)
        trap - EXIT
        _over
        exit
        ;;
    esac
    _done
  done
  _link_ended ended
}

_wake() { [ ! -p "$_dir/$1.f" ] || echo 1<>"$_dir/$1.f"; }

_settled_now() {
  _known "$_dir/p.$1" || return 0
  [ "$_state" != starting ]
}

# The keeper.

# One frame. With a lease it goes into the file that is named by the number of its first byte.
_emit() {
  if [ "$_lease" -eq 0 ]; then
    printf '%s %s %s %s\n%s' "$1" "$2" "${#3}" "$_token" "$3" >&3 || _nobody
  else
    _head="$1 $2 ${#3} $_token"
    printf '%s\n%s' "$_head" "$3" >>"kept/$_file"
    _kept $((${#_head} + 1 + ${#3}))
  fi
}

_emit_file() {
  if [ "$_lease" -eq 0 ]; then
    { printf '%s %s %s %s\n' "$1" "$2" "$3" "$_token" && cat "$4"; } >&3 || _nobody
  else
    _head="$1 $2 $3 $_token"
    { printf '%s\n' "$_head"; cat "$4"; } >>"kept/$_file"
    _kept $((${#_head} + 1 + $3))
  fi
}

_nobody() {
  _over
  exit
}

_kept() {
  _said=$((_said + $1))
  _owed=$_said
  if [ "$((_said - _file + 1000000000000000))" -ge 262144 ]; then
    _file=$((1000000000000000 + _said))
    _files="$_files $_file"
    : >"kept/$_file"
  fi
  echo "$_said" >size
  # The pump says that it sleeps before it looks for the last time.
  if [ -s idle ]; then
    : >idle
    echo >&9
  fi
}

_full() { [ "$_lease" -gt 0 ] && [ $((_said - _acked)) -ge "$_most" ]; }

_chunk() {
  _emit_file "$1" "$2" "$3" "$2.$5$4"
  [ ! -p "$2.$5g" ] || echo 1<>"$2.$5g"
}

_stream_ended() {
  eval "_open=\${_open_$1-} _ended=\${_ended_$1-}"
  [ -n "$_open" ] || return
  _open=$((_open - 1))
  eval "_open_$1=$_open"
  if [ "$_ended" = said ]; then
    _emit z "$1" ''
  elif [ -n "$_ended" ] && [ "$_open" -eq 0 ]; then
    _emit X "$1" "$_ended 0"
  fi
  if [ -n "$_ended" ] && [ "$_open" -eq 0 ]; then _finished "$1"; fi
}

_finished() {
  unset "_open_$1" "_ended_$1"
  _discard "$1.*"
}

_discard() {
  _trash="$_trash $1" _trashed=$((_trashed + 1))
  if [ "$_trashed" -ge 32 ]; then _sweep; fi
}

_sweep() {
  rm -f $_trash
  _trash= _trashed=0
}

# Who has ended while a stream is open gets a moment: its last words may be on their way.
_arm() {
  # It is no child of the keeper: under busybox, a child that ends breaks off what its parent is just writing.
  [ -n "$_armed" ] || ({ _pause; echo y >&8; } &)
  _armed=1
}

_acknowledge() {
  if [ "$1" -gt "$_acked" ] && [ "$1" -le "$_said" ]; then _acked=$1; fi
  set -- $_files
  _old=
  while [ $# -gt 1 ] && [ "$2" -le "$((1000000000000000 + _acked))" ]; do
    _old="$_old kept/$1"
    shift
  done
  _files=$*
  [ -z "$_old" ] || rm -f $_old
  while [ -n "$_waiting" ] && ! _full; do
    set -- $_waiting
    _x=$1
    shift
    _waiting=$*
    case $_x in
      *:*:*)
        _type=${_x%%:*} _x=${_x#*:}
        _id=${_x%%:*} _x=${_x#*:}
        if [ "$_type" = O ]; then _stream=o; else _stream=e; fi
        _chunk "$_type" "$_id" "${_x%:*}" "${_x#*:}" "$_stream"
        ;;
      *) _stream_ended "${_x#*:}" ;;
    esac
  done
}

_keep() {
  exec 4<&- 9<>"$_dir/poke"
  [ "$_lease" -eq 0 ] || exec 3>&-
  cd "$_dir"
  _said=0 _acked=0 _owed=0 _file=1000000000000000 _waiting= _fresh= _late= _armed= _trash= _trashed=0
  _files=$_file
  while read -r _type _id _a _b _c <&8; do
    case $_type in
      O | E)
        if [ "$_type" = O ]; then _stream=o; else _stream=e; fi
        if [ -n "$_waiting" ] || _full; then _waiting="$_waiting $_type:$_id:$_a:$_b"; else _chunk "$_type" "$_id" "$_a" "$_b" "$_stream"; fi
        ;;
      o | e) if [ -n "$_waiting" ]; then _waiting="$_waiting $_type:$_id"; else _stream_ended "$_id"; fi ;;
      S)
        eval "_open_$_id=$_b"
        _emit S "$_id" "$_a"
        ;;
      x)
        eval "_open=\$_open_$_id"
        if [ "$_open" -eq 0 ]; then
          _emit X "$_id" "$_a $_b 0"
          _finished "$_id"
        else
          eval "_ended_$_id='$_a $_b'"
          _fresh="$_fresh $_id"
          _arm
        fi
        ;;
      y)
        _armed=
        if [ -z "$_waiting" ]; then
          for _id in $_late; do
            eval "_open=\${_open_$_id-} _ended=\${_ended_$_id-}"
            case $_ended in
              '' | said) ;;
              *)
                _emit X "$_id" "$_ended $_open"
                eval "_ended_$_id=said"
                ;;
            esac
          done
          _late=$_fresh _fresh=
        fi
        [ -z "$_late$_fresh" ] || _arm
        ;;
      F)
        _emit F "$_id" "$_a $_b $_c"
        _discard "$_id.* p.$_id"
        ;;
      T)
        _emit_file T "$_id" "$_a" "$_b"
        _discard "$_b"
        ;;
      f) _discard "p.$_id" ;;
      a) _acknowledge "$_id" ;;
      P)
        # All that was said is to be acknowledged before we go, except the last signs of life.
        _x=$_owed
        _emit P 0 ''
        _owed=$_x
        ;;
      l) [ "$_owed" -gt "$_acked" ] || echo "idle $_id" 1<>main ;;
      *) _emit "$_type" "$_id" "$_a" ;;
    esac
  done
}

# The pump.

_pump() {
  _cat=
  trap '[ -z "$_cat" ] || kill "$_cat"; exit' TERM
  trap - PIPE
  exec 4<&- 8>&- 9<>"$_dir/poke"
  cd "$_dir"
  _at=0
  if [ -n "$1" ]; then
    # Tells the relay that both ends are open.
    echo >&3
    until [ -s from ]; do read -r _x <&9; done
    read -r _at <from
    read -r _x _rest <received
    _text="2 sh $$ $_x $_dir"
    printf '\nH 0 %s %s\n%s' "${#_text}" "$_token" "$_text" >&3
  fi
  _size=
  until [ -n "$_size" ]; do read -r _size <size; done
  [ "$_at" -le "$_size" ] || exit
  _start=
  for _file in kept/*; do
    _file=${_file#kept/}
    [ "$_file" -gt $((1000000000000000 + _at)) ] || _start=$_file
  done
  [ -n "$_start" ] || exit
  exec 7<"kept/$_start"
  _x=$((1000000000000000 + _at - _start))
  [ "$_x" -eq 0 ] || dd bs="$_x" count=1 <&7 >/dev/null
  while :; do
    read -r _size <size
    if [ "${_size:-0}" -le "$_at" ]; then
      echo 1 >idle
      read -r _size <size
      if [ "${_size:-0}" -le "$_at" ]; then
        read -r _x <&9
        continue
      fi
    fi
    _next=
    for _file in kept/*; do
      _file=${_file#kept/}
      if [ "$_file" -gt "$_start" ]; then
        _next=$_file
        break
      fi
    done
    cat <&7 >&3 7<&- 9>&- &
    _cat=$!
    wait "$_cat" || exit
    _cat=
    # A file that has a next one is complete.
    if [ -n "$_next" ]; then
      _start=$_next _at=$((_next - 1000000000000000))
      exec 7<"kept/$_start"
    else
      _at=$_size
    fi
  done
}

# Nothing was heard for four quarters of the lease: that is a q.
_watch() {
  _sleep= _quiet=0 _last=
  trap '[ -z "$_sleep" ] || kill "$_sleep"; exit' TERM
  exec 3>&- 4<&- 8>&-
  _x=$((_lease * 10 / 4))
  while :; do
    sleep "$((_x / 10)).$((_x % 10))" &
    _sleep=$!
    wait "$_sleep"
    read -r _now <"$_dir/received"
    if [ "$_now" != "$_last" ]; then
      _last=$_now _quiet=0
    else
      _quiet=$((_quiet + 1))
      if [ "$_quiet" -ge 4 ]; then
        _over
        exit
      fi
    fi
  done
}

# Main.

_hear() {
  _listen "$1" <&4 4<&- 3>&- 7>&- &
  _listener=$!
}

# A relay has made two fifos and says their name. It holds them open, so that nothing waits here.
_attach() {
  [ "$_lease" -gt 0 ] && [ -p "$_dir/$1.in" ] && [ -p "$_dir/$1.out" ] || return
  _links=$((_links + 1))
  _drop_link
  exec 9<>"$_dir/$1.in" 4<"$_dir/$1.in" 9<>"$_dir/$1.out" 3>"$_dir/$1.out"
  exec 9>&-
  : >"$_dir/from"
  _pump 1 7>&- &
  _pump=$!
  exec 3>&-
  _hear 1
}

_drop_link() {
  kill "$_listener" "$_pump"
  wait "$_listener"
  wait "$_pump"
  exec 4<&-
}

# Is there a command that was not forgotten?
_is_busy() {
  for _x in "$_dir"/p.*; do
    [ ! -s "$_x" ] || return 0
  done
  return 1
}

# What has to end: all that is not forgotten and not detached. Answers in _left.
_remaining() {
  _left= _begun=
  for _x in "$_dir"/p.*; do
    _known "$_x" || continue
    if [ "$_state" = starting ]; then _begun=1; elif [ "$_detach" = - ]; then _left="$_left $_pid:$_mark:$_state"; fi
  done
}

_end() {
  trap '' TERM INT HUP
  kill "$_listener" $_watcher
  _told=' ' _limit=
  # Rounds are no measure: to look at all processes takes its time, too.
  if [ "$_grace" -gt 0 ]; then
    sleep "$_grace" 7>&- &
    _limit=$!
  fi
  while :; do
    _remaining
    _pids=
    [ -z "$_left" ] || _pids=$(_tree $_left)
    [ -n "$_pids$_begun" ] || break
    [ -n "$_limit" ] && kill -s 0 "$_limit" || break
    for _pid in $_pids; do
      case $_told in
        *" $_pid "*) ;;
        *)
          _told="$_told$_pid "
          kill -s TERM "$_pid"
          kill -s CONT "$_pid"
          ;;
      esac
    done
    _pause
  done
  for _round in 1 2 3 4 5 6 7 8 9; do
    [ -n "$_pids" ] || break
    kill -s KILL $_pids
    _remaining
    _pids=$(_tree $_left)
  done
  [ -z "$_limit" ] || kill "$_limit"
  if [ -n "$_own_group" ]; then
    _kill_group TERM "$$"
  else
    for _x in "$_dir"/*.r; do
      if [ -s "$_x" ]; then read -r _pids <"$_x" && kill $_pids; fi
    done
    kill "$_keeper" $_pump
  fi
  rm -rf "$_dir" || { _pause; rm -rf "$_dir"; }
  exit 0
}

echo '0 0' >"$_dir/received"
echo 0 >"$_dir/size"
: >"$_dir/kept/1000000000000000"
_pump= _watcher=
exec 7<>"$_dir/main"
# What shells can do while they handle a signal differs: they only make a note of it.
trap 'echo end >&7' TERM INT
if [ "$_lease" -gt 0 ]; then trap '' HUP; else trap 'echo end >&7' HUP; fi
_keep 7>&- &
_keeper=$!
if [ "$_lease" -gt 0 ]; then
  _pump '' 7>&- &
  _pump=$!
  _watch 7>&- &
  _watcher=$!
fi
_hear ''
exec 3>&-
while :; do
  read -r _what _x <&7
  case $_what in
    end) _end ;;
    link) _attach "$_x" ;;
    *) [ "$_x" = "$_links" ] || continue ;;
  esac
  case $_what in
    failed) _hear '' ;;
    ended)
      _drop_link
      echo "l $_links" >&8
      ;;
    # Nothing can come from a link that is lost, so what is idle stays so.
    idle) _is_busy || _end ;;
  esac
done
