import { posix } from 'node:path'
import type { ProcessSpec } from '../model/process.js'
import { shellQuote } from '../util/shell-quote.js'
import { argumentsOf, markerValue } from './command.js'
import { MARKER_VARIABLE } from './process-tree.js'

// What runs on a host when there is no runner: one channel for one command. The login shell may be anything, so it gets one line that
// means the same to sh, csh and fish, and a POSIX shell reads the program from the channel. Names begin with cahier_, so that no
// variable of the user is overwritten.

/** Reads lines until one that is the token. Builtin `read` takes no byte more. */
const LOAD =
  'cahier_n=$(echo;echo .);cahier_n=${cahier_n%.};cahier_p=;while IFS= read -r cahier_l;do case $cahier_l in "$1")break;;esac;cahier_p=$cahier_p$cahier_l$cahier_n;done'
/** What is written to a terminal before it is raw would be shown. So the program waits for a line that says so. */
const TERMINAL_BEFORE = 'cahier_s=$(stty -g);stty raw -echo;echo;echo "$1"'
const TERMINAL_AFTER = 'stty "$cahier_s";stty -echo -onlcr'

/** The line for the login shell. @param token - letters and digits */
export function channelCommand(token: string, pty: boolean): string {
  const steps = pty ? [TERMINAL_BEFORE, LOAD, TERMINAL_AFTER] : [LOAD]
  return `exec /bin/sh -c '${steps.join(';')};eval "$cahier_p"' cahier ${token}`
}

/**
 * Finds the tree of a command: `cahier_tree leader session mark guard ended` leaves the numbers in `cahier_found`, without those of
 * the guard. Without /proc it finds what `ps` knows: groups and descendants.
 *
 * @source proc(5): /proc/[pid]/stat fields 3-6; the name in field 2 may hold spaces and parentheses
 */
const TREE = `
cahier_table() {
  if [ -r /proc/self/stat ]; then
    for cahier_f in /proc/[0-9]*/stat; do
      read -r cahier_l <"$cahier_f" || continue
      echo "\${cahier_l%% *} \${cahier_l##*) }"
    done 2>/dev/null
  else
    ps -A -o pid= -o stat= -o ppid= -o pgid= -o pgid=
  fi
}
cahier_tree() {
  cahier_leader=$1 cahier_session=$2 cahier_mark=$3 cahier_guard=$4 cahier_ended=$5 cahier_found=
  cahier_rows=$(cahier_table)
  cahier_marked=" $(grep -slwF -- "$cahier_mark" /proc/[0-9]*/environ 2>/dev/null | tr -dc '0-9\\n' | tr '\\n' ' ')"
  if [ -n "$cahier_ended" ]; then
    case "
$cahier_rows" in *"
$cahier_leader "*) cahier_leader=none cahier_session=none ;; esac
  fi
  cahier_size=-1
  while [ \${#cahier_found} -ne "$cahier_size" ]; do
    cahier_size=\${#cahier_found}
    while read -r cahier_pid cahier_state cahier_parent cahier_group cahier_sid cahier_l; do
      case $cahier_state in Z* | X*) continue ;; esac
      case $cahier_pid:$cahier_parent in "$cahier_guard":* | *:"$cahier_guard") continue ;; esac
      case " $cahier_found " in *" $cahier_pid "*) continue ;; esac
      case " $cahier_leader $cahier_found " in *" $cahier_pid "* | *" $cahier_parent "*) cahier_found="$cahier_found $cahier_pid"; continue ;; esac
      case $cahier_marked in *" $cahier_pid "*) cahier_found="$cahier_found $cahier_pid"; continue ;; esac
      case "$cahier_group $cahier_sid" in "$cahier_leader "* | *" $cahier_session") cahier_found="$cahier_found $cahier_pid" ;; esac
    done <<CAHIER_END
$cahier_rows
CAHIER_END
  done
}
`.trim()

/** Ends what is left behind when the connection goes: TERM, the grace, KILL. A command that has ended may have left something on purpose. */
function guardText(marker: string, graceSeconds: number, read: string): string {
  return `
trap "" TERM HUP INT QUIT USR1 USR2 PIPE
${read}
kill -s 0 $$ || exit 0
cahier_me=$(exec /bin/sh -c 'echo "$PPID"')
cahier_tree $$ "$cahier_sid" ${shellQuote(marker)} "$cahier_me" ""
kill -s TERM $cahier_found
kill -s CONT $cahier_found
cahier_left=${graceSeconds}
while [ "$cahier_left" -gt 0 ] && [ -n "$cahier_found" ]; do
  sleep 1
  cahier_left=$((cahier_left - 1))
  cahier_tree $$ "$cahier_sid" ${shellQuote(marker)} "$cahier_me" ""
done
[ -z "$cahier_found" ] || kill -s KILL $cahier_found
`.trim()
}

export interface ChannelScript {
  readonly spec: ProcessSpec
  readonly token: string
  /** Found in the environment of all that the command starts. */
  readonly marker: string
  readonly graceSeconds: number
  /** A shell stays and says on stderr how the command ended: {@link END_MARK}, the token, ` X `, what the shell calls its status, a line end. */
  readonly watched?: boolean
  /** The command shares its session with others, who are not of its tree. */
  readonly sharedSession?: boolean
}

/** So that hardly any output looks like the beginning of what the shell says. */
export const END_MARK = '\x01'

/**
 * The program for one command. It says `<token> S pid session guard` on a line of its own when the command is about to begin, or
 * `<token> F stage code` when it cannot; and the token on stderr, where what came before was not the command's either.
 */
export function channelScript({ spec, token, marker, graceSeconds, watched = false, sharedSession = false }: ChannelScript): string {
  const words = argumentsOf(spec)
  const lines = [`cahier_say() { printf "\\n%s %s\\n" ${token} "$1"; }`, 'cahier_sid=$$ cahier_guard=0']
  if (!sharedSession) {
    lines.push('if read -r cahier_l </proc/$$/stat; then cahier_l=${cahier_l##*) }; set -- $cahier_l; cahier_sid=$4; fi 2>/dev/null')
  }
  if (spec.pty !== true) lines.push(...inputLines(spec, token, marker, graceSeconds))
  const { env = {} } = spec
  const odd: string[] = []
  for (const [name, value] of Object.entries({ ...env, [MARKER_VARIABLE]: markerValue(marker) })) {
    const plain = /^[A-Za-z_][A-Za-z0-9_]*$/.test(name)
    if (plain) lines.push(value === undefined ? `unset ${name}` : `export ${name}=${shellQuote(value)}`)
    else odd.push(...(value === undefined ? ['-u', name] : [`${name}=${value}`]))
  }
  if (spec.cwd !== undefined) lines.push(`cd -- ${shellQuote(spec.cwd)} 2>/dev/null || { cahier_say "F cwd ENOENT"; exit 0; }`)
  const program = shellQuote(words[0] as string)
  lines.push(
    'cahier_code=',
    (words[0] as string).includes('/')
      ? `if [ ! -e ${program} ]; then cahier_code=ENOENT; elif [ -d ${program} ] || [ ! -x ${program} ]; then cahier_code=EACCES; fi`
      : `command -v -- ${program} >/dev/null 2>&1 || cahier_code=ENOENT`,
    '[ -z "$cahier_code" ] || { cahier_say "F exec $cahier_code"; exit 0; }',
  )
  const { outputFiles: files } = spec
  if (watched) lines.push('exec 9>&2')
  if (files !== undefined) {
    const mode = files.append === true ? '>>' : '>'
    const [out, err] = [shellQuote(files.stdout), shellQuote(files.stderr)]
    lines.push(canBeOpened('stdout', files.stdout), canBeOpened('stderr', files.stderr))
    lines.push('cahier_say "S $$ $cahier_sid $cahier_guard"', `printf "\\n%s\\n" ${token} >&2`)
    lines.push(`exec ${mode}${out} ${files.stdout === files.stderr ? '2>&1' : `2${mode}${err}`}`)
  } else {
    lines.push('cahier_say "S $$ $cahier_sid $cahier_guard"')
    if (spec.pty !== true) lines.push(`printf "\\n%s\\n" ${token} >&2`)
  }
  const before = odd.length === 0 ? [] : ['env', ...odd]
  const command = `exec ${[...before, ...words].map(shellQuote).join(' ')}`
  if (watched) {
    // The shell outlives the signals that end the command, and says nothing of them itself.
    lines.push('trap : TERM INT HUP QUIT USR1 USR2', 'exec 8>&2 2>/dev/null', `( exec 2>&8 8>&- 9>&-; ${command} )`, 'cahier_code=$?')
    lines.push(`printf "\\001%s X %s\\n" ${token} "$cahier_code" >&9`, 'exit "$cahier_code"')
  } else lines.push(command)
  lines.push(token, '')
  return lines.join('\n')
}

/** In a subshell, because a redirection that fails ends some shells. */
function canBeOpened(stream: string, file: string): string {
  const code = `cahier_code=EACCES; [ -d ${shellQuote(posix.dirname(file))} ] || cahier_code=ENOENT`
  return `(: >>${shellQuote(file)}) 2>/dev/null || { ${code}; cahier_say "F ${stream} $cahier_code"; exit 0; }`
}

function inputLines(spec: ProcessSpec, token: string, marker: string, graceSeconds: number): string[] {
  const { stdin = 'ignore' } = spec
  const lines = ['exec 3<&0 </dev/null', TREE]
  const directory = `"\${TMPDIR:-/tmp}"/cahier-${token}`
  const guard = (read: string, output: string): string =>
    `(\n${guardText(marker, graceSeconds, read)}\n) <&3 >${output} 2>/dev/null &\ncahier_guard=$!`
  if (stdin === 'pipe') {
    // Lines of text for printf; a line that is a dot ends it. The end of the channel is not the end of the text.
    const read = 'while IFS= read -r cahier_l; do case $cahier_l in .) exec >/dev/null ;; *) printf %b "${cahier_l#:}" ;; esac; done'
    lines.push(`mkdir -m 700 ${directory} && mkfifo ${directory}/in || { cahier_say "F pipe EACCES"; exit 0; }`)
    lines.push(guard(read, `${directory}/in`), `exec <${directory}/in`, `rm -rf ${directory}`)
  } else {
    if (stdin !== 'ignore') {
      const bytes = typeof stdin.text === 'string' ? Buffer.byteLength(stdin.text) : stdin.text.length
      if (bytes > 0) {
        lines.push(`mkdir -m 700 ${directory} || { cahier_say "F pipe EACCES"; exit 0; }`)
        lines.push(`head -c ${bytes} <&3 >${directory}/in 2>/dev/null || dd bs=1 count=${bytes} <&3 >${directory}/in 2>/dev/null`)
        lines.push(`exec <${directory}/in`, `cahier_l=$(wc -c <${directory}/in)`, `rm -rf ${directory}`)
        lines.push(`[ "$cahier_l" -eq ${bytes} ] || { cahier_say "F pipe EIO"; exit 0; }`)
      }
    }
    if (spec.detach !== true) lines.push(guard('while read -r cahier_l; do :; done', '/dev/null'))
  }
  lines.push('exec 3<&-')
  return lines
}

/** What is written to the channel after the program, for text that is known at the start. */
export function channelInput(spec: ProcessSpec): Uint8Array | undefined {
  if (typeof spec.stdin !== 'object') return undefined
  return typeof spec.stdin.text === 'string' ? Buffer.from(spec.stdin.text) : spec.stdin.text
}

const PIECE = 4_096

/** Text for a process that reads a pipe, as lines that the pump there understands. */
export function inputPieces(data: Uint8Array): string {
  let text = ''
  for (let at = 0; at < data.length; at += PIECE) text += `:${escapeBytes(data.subarray(at, at + PIECE))}\n`
  return text
}

/** For `printf %b`. */
function escapeBytes(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c
    text += plain ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, '0')}`
  }
  return text
}

export const INPUT_END = '.\n'

/** A command on a channel, as its own first line told. */
export interface ChannelLeader {
  readonly pid: number
  readonly session: number
  /** 0: none. */
  readonly guard: number
}

/**
 * A program for a second channel: sends a signal to the whole tree of a command, or to its group, and says what is left of it.
 *
 * @param signal - `undefined`: only look
 * @param ended - the leader has been waited for: its number may belong to a stranger
 */
export function treeScript(
  token: string,
  { pid, session, guard }: ChannelLeader,
  marker: string,
  signal: NodeJS.Signals | undefined,
  ended: boolean,
): string {
  const look = `cahier_tree ${pid} ${session} ${shellQuote(marker)} ${guard} ${ended ? '1' : '""'}`
  const lines = [TREE, look]
  if (signal !== undefined) {
    lines.push(`[ -z "$cahier_found" ] || kill -s ${signal.slice(3)} $cahier_found 2>/dev/null`)
    // A stopped process would sleep through the request.
    if (signal === 'SIGTERM' || signal === 'SIGINT' || signal === 'SIGHUP' || signal === 'SIGQUIT') {
      lines.push('[ -z "$cahier_found" ] || kill -s CONT $cahier_found 2>/dev/null')
    }
  }
  // A shell that could not fork has seen nobody, not even itself.
  lines.push(`case "$cahier_rows" in *"$$ "*) printf "\\n%s T%s\\n" ${token} "$cahier_found" ;; esac`, 'exit 0', token, '')
  return lines.join('\n')
}

/**
 * A program for a host whose runner was killed: ends what carries one of these marks, and all descendants, with SIGTERM, the grace,
 * SIGKILL; then says who lives on.
 */
export function sweepScript(token: string, markers: readonly string[], graceSeconds: number): string {
  const look = `cahier_tree none none ${shellQuote(markers.join('\n'))} none ""`
  const signal = (name: string): string => `[ -z "$cahier_found" ] || kill -s ${name} $cahier_found 2>/dev/null`
  return `${TREE}
${look}
cahier_known=$(echo $cahier_found | wc -w)
${signal('TERM')}
${signal('CONT')}
cahier_left=${graceSeconds + 3}
${look}
while [ "$cahier_left" -gt 0 ] && [ -n "$cahier_found" ]; do
  [ "$cahier_left" -gt 3 ] || kill -s KILL $cahier_found 2>/dev/null
  sleep 1
  cahier_left=$((cahier_left - 1))
  ${look}
done
case "$cahier_rows" in *"$$ "*) printf "\\n%s T %s%s\\n" ${token} "$((cahier_known))" "$cahier_found" ;; esac
exit 0
${token}
`
}
