/**
 * The ledger of a drill and its judgement: pure, so that it can be shown to notice what it is there for.
 *
 * Every job appends to a file of its own, outside of the run directory: `start <tag> <start> <pid> <seconds>` when it begins,
 * `end <tag> <start> <pid> <seconds>` when it has done its work, `beside <pid>` when it finds an earlier one of its own still alive.
 */

/**
 * @typedef {object} Line
 * @property {'start' | 'end' | 'beside'} word
 * @property {string} tag
 * @property {number} start the number of this start, as the wrapper counts it
 * @property {number} pid
 * @property {number} at seconds since the machine was started
 *
 * @typedef {object} Start one start of a job, and its end when it came to one
 * @property {string} tag
 * @property {number} start
 * @property {number} pid
 * @property {number} at
 * @property {number} [endedAt]
 *
 * @typedef {object} Item what Cahier says of a work item at the end
 * @property {string} state
 * @property {string} detail
 * @property {string} [tag] of its last attempt
 * @property {string} [outcome]
 * @property {number} [exitCode]
 * @property {unknown} [value]
 */

/**
 * So long before a blow an end counts as cut off when it left no record: the blow fell between the
 * last line of the job and its record, for which a wrapper takes up to a second, and more on a machine that is busy.
 */
const CUT_OFF_SECONDS = 5

/** The job's side. A kill leaves no end, also where only what the script waits for has heard it; a job that asks whether an earlier one lives can ask so because all nodes are this machine. */
export const jobScript = (cases) => `#!/bin/sh
case $1 in
${cases}
esac
file=$2/$1
last=
if [ -f "$file" ]; then
  while read -r word tag start pid rest; do
    case $word in
    start) last=$pid ;;
    end) [ "$pid" != "$last" ] || last= ;;
    esac
  done <"$file"
fi
if [ -n "$last" ] && grep -qs work.sh "/proc/$last/cmdline"; then printf 'beside %s\\n' "$last" >>"$file"; fi
read -r now rest </proc/uptime
printf 'start %s %s %s %s\\n' "$CAHIER_TAG" "$CAHIER_START" "$$" "$now" >>"$file"
sleep "$nap" </dev/null || exit
echo "value=$(($3 * 7 + 1))"
read -r now rest </proc/uptime
printf 'end %s %s %s %s\\n' "$CAHIER_TAG" "$CAHIER_START" "$$" "$now" >>"$file"
exit "$code"
`

export const valueFor = (n) => n * 7 + 1

/** @param {string} text @returns {{ starts: Start[], beside: number[] }} */
export function readLedger(text) {
  const starts = []
  const beside = []
  for (const line of text.split('\n')) {
    const [word, tag, start, pid, at] = line.split(' ')
    if (word === 'start') starts.push({ tag, start: Number(start), pid: Number(pid), at: Number(at) })
    else if (word === 'end') {
      const begun = starts.find((one) => one.pid === Number(pid) && one.tag === tag && one.endedAt === undefined)
      if (begun !== undefined) begun.endedAt = Number(at)
    } else if (word === 'beside') beside.push(Number(tag))
  }
  return { starts, beside }
}

/**
 * What is wrong with one work item.
 *
 * @param {{ starts: readonly Start[], beside: readonly number[] }} ledger
 * @param {number} code how the job exits
 * @param {Item | undefined} item
 * @param {number | undefined} value the result that it must have; undefined for a prepare stage
 * @param {{ blows: readonly { from: number, to: number }[], leftOpen: (start: Start) => boolean }} circumstances blows: when jobs may have
 * been ended from outside, in seconds since the machine was started; leftOpen: this start left no record that says that it had ended
 * @returns {{ kind: 'doubled' | 'lost' | 'wrong', text: string }[]}
 */
export function judgeItem({ starts, beside }, code, item, value, { blows, leftOpen }) {
  const problems = []
  const blame = (kind, text) => problems.push({ kind, text })
  const wasCutOff = ({ endedAt, ...one }) =>
    blows.some(({ from, to }) => endedAt >= from - CUT_OFF_SECONDS && endedAt <= to) && leftOpen(one)
  const ended = starts.filter(({ endedAt }) => endedAt !== undefined)
  const full = ended.filter((one, index) => index === ended.length - 1 || !wasCutOff(one))
  const overlaps = starts.filter((one, index) => starts.slice(0, index).some(({ endedAt }) => endedAt !== undefined && endedAt > one.at))
  if (full.length > 1) blame('doubled', `ran ${full.length} times to its end`)
  else if (overlaps.length > 0) blame('doubled', 'was started while it ran')
  else if (beside.length > 0) blame('doubled', 'was started while an earlier start of it was still alive')
  const words = item === undefined ? 'nothing is known of it' : `it is ${item.state} (${item.detail})`
  if (full.length === 0) blame('lost', `never ran to its end (started ${starts.length} times); ${words}`)
  else if (item === undefined || !['done', 'failed', 'invalid'].includes(item.state)) blame('lost', `ran to its end, and ${words}`)
  else if (code === 0 && item.state !== 'done') blame('lost', `ran well to its end, and ${words}`)
  else if (code !== 0 && (item.outcome !== 'failed' || item.exitCode !== code))
    blame(item.outcome === 'failed' ? 'wrong' : 'lost', `ended with ${code}, and ${words}, exit code ${item.exitCode}`)
  else if (item.tag !== full.at(-1)?.tag) blame('wrong', `its result is that of ${item.tag}, and ${full.at(-1)?.tag} ran`)
  else if (code === 0 && value !== undefined && item.value !== value) blame('wrong', `should give ${value}, not ${item.value}`)
  return problems
}
