import { MANIFEST_FILE, RECORD_FILES, WORKING_FILES } from '../util/job-files.js'
import { shellQuote } from '../util/shell-quote.js'

/** No result of the job is among them. */
const OWN_FILES = [...WORKING_FILES, ...RECORD_FILES]

/** Shell commands that write the exit record's line to another file too, when the folder of that file is there. No process is started. */
export function renderAnnouncement(file: string): string {
  return `  { cahier_line ${shellQuote(file)} "$1" "$2"; } 2>/dev/null`
}

/** How long a host's clock is reckoned with before it is read again, in hundredths of a second: a clock that was put right is soon noticed. */
const CLOCK_KEPT = 60_000

/**
 * The shell function \`cahier_now\`, which sets \`cahier_began\` to the seconds since 1970. To run \`date\` is the dearest thing that a short job
 * does beside its own script: so the first job on a host leaves in this folder what it said and the uptime of that moment, and those that come
 * within minutes reckon from there. What is not whole, of an earlier boot or too old is passed over.
 */
export function renderClock(folder: string): string {
  return `cahier_now() {
  cahier_began= cahier_boot=
  if [ -n "$cahier_up0" ] && [ -r /proc/sys/kernel/random/boot_id ]; then
    read -r cahier_boot </proc/sys/kernel/random/boot_id
    cahier_clock=${shellQuote(`${folder}/.clock-`)}$cahier_host
    if [ -f "$cahier_clock" ] && read -r cahier_id cahier_then cahier_at cahier_rest <"$cahier_clock"; then
      case $cahier_id:$cahier_rest:$cahier_then$cahier_at in
      "$cahier_boot":.:*[!0-9]*) ;;
      "$cahier_boot":.:?*)
        cahier_then=$((cahier_up0 - cahier_then))
        if [ "$cahier_then" -ge 0 ] && [ "$cahier_then" -lt ${CLOCK_KEPT} ]; then cahier_began=$((cahier_at + cahier_then / 100)); fi
        ;;
      esac
    fi
  fi 2>/dev/null
  [ -z "$cahier_began" ] || return 0
  cahier_began=$(date +%s)
  [ -z "$cahier_boot" ] || { printf '%s %s %s .\\n' "$cahier_boot" "$cahier_up0" "$cahier_began" >"$cahier_clock"; } 2>/dev/null
}`
}

/**
 * Shell commands that give the output files a second name. What had the name in an earlier start is kept under that start's number,
 * like `stdout.<n>`; names of the wrapper's own files are left alone.
 */
export function renderOutputNames({ stdout, stderr }: { readonly stdout?: string; readonly stderr?: string }): string[] {
  const lines = [OUTPUT_NAME]
  if (stdout !== undefined) lines.push(`cahier_name stdout "${stdout}" 2>/dev/null`)
  if (stderr !== undefined) lines.push(`cahier_name stderr "${stderr}" 2>/dev/null`)
  return lines
}

const OUTPUT_NAME = `cahier_named=
cahier_name() {
  case $2 in
  /*) ;;
  *) set -- "$1" "./$2" ;;
  esac
  case $2 in
  */ | */. | */.. | "$cahier_named" | ./stdout | ./stderr | ${OWN_FILES.map((name) => `./${name}`).join(' | ')}) return 0 ;;
  esac
  cahier_named=$2
  [ -d "\${2%/*}" ] || mkdir -p "\${2%/*}"
  if [ "$cahier_start" -gt 1 ] && [ -f "$2" ] && [ ! -h "$2" ]; then mv -f "$2" "$2.$((cahier_start - 1))"; fi
  case $2 in
  ./*/* | /*) ln -f "$1" "$2" || ln -sf "$PWD/$1" "$2" ;;
  *) ln -f "$1" "$2" || ln -sf "$1" "$2" ;;
  esac
}`

/** Lists one file whose name holds a line break, which no program lists in one line. \`$0\` is the program for the hash, or nothing. */
const ODD_NAMES = `LC_ALL=C
nl="
"
for file do
  rest=$file name=
  while [ -n "$rest" ]; do
    part=\${rest%%[\\\\"$nl"]*}
    name=$name$part
    rest=\${rest#"$part"}
    case $rest in
    \\\\*) name="$name\\\\\\\\" ;;
    "$nl"*) name="$name\\\\n" ;;
    esac
    rest=\${rest#?}
  done
  case $0 in
  cksum) set -- $(cksum <"$file") && printf "\\\\\\\\%s %s %s\\n" "$1" "$2" "$name" ;;
  *)
    printf "\\\\\\\\%d %s\\n" "$(wc -c <"$file")" "$name"
    if [ -n "$0" ]; then set -- $($0 <"$file") && printf "\\\\\\\\%s  %s\\n" "$1" "$name"; fi
    ;;
  esac
done`

/**
 * Shell functions, of which \`cahier_manifest <reason>\` leaves the list of the job's files: sizes and hashes of all regular files below its
 * directory, without these names and the wrapper's own.
 *
 * Three processes whatever the number of files. Hashes take time: a job that was told to end has none to lose, and its list has sizes only;
 * so has one that is told to end while the list is made. A list without its last line is not whole.
 */
export function renderManifest(exclude: readonly string[]): string {
  const literal = exclude.map((name) => name.replaceAll(/[\\*?[\]]/g, '\\$&'))
  const prunes = [...OWN_FILES, ...literal].map((name) => `-path ${shellQuote(`./${name}`)} -prune -o`)
  // Without brackets: those of busybox keep what ends with a plus from being executed.
  return `cahier_files() {
  exec find . ${prunes.join(' ')} -type f -path '*
*' -exec /bin/sh -c ${shellQuote(ODD_NAMES)} "$cahier_hash" {} + -o -type f "$@"
}
cahier_list() {
  case $cahier_hash in
  '') set -- -exec wc -c {} + ;;
  cksum) set -- -exec cksum {} + ;;
  *) set -- -exec wc -c {} + -exec "$cahier_hash" {} + ;;
  esac
  printf 'cahier-manifest 1\\n' >${MANIFEST_FILE} || return 1
  (cahier_files "$@") </dev/null >>${MANIFEST_FILE} &
  cahier_lister=$!
  [ -z "$cahier_cut" ] || kill -s TERM "$cahier_lister"
  wait "$cahier_lister"
  cahier_listed=$?
}
cahier_manifest() {
  cahier_hash= cahier_cut= cahier_lister=
  if [ "$1" = exited ]; then
    trap 'cahier_cut=yes; [ -z "$cahier_lister" ] || kill -s TERM "$cahier_lister"' TERM INT USR1
    cahier_hash=sha256sum
    command -v sha256sum >/dev/null || cahier_hash=cksum
  fi
  cahier_list
  if [ -n "$cahier_cut" ]; then
    trap '' TERM INT USR1
    cahier_hash= cahier_cut=
    rm -f ${MANIFEST_FILE}
    cahier_list
  fi
  trap '' TERM INT USR1
  printf 'end %d\\n' "$cahier_listed" >>${MANIFEST_FILE}
}`
}
