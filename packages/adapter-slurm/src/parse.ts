import type { CommandAnswer, JobRow, OrderAnswer, RowsAnswer, SubmitAnswer } from '@cahier/core/spi'
import { readId } from './ids.js'
import { readReason } from './reasons.js'
import { ownWords, readRefusal } from './refusals.js'
import { readExit, readState } from './states.js'

/** Between columns. Text of users may hold any other character, and line ends: such text stands in the last columns. */
export const SEPARATOR = '\x1f'
/** @source squeue(1) -o, Slurm 22.05: id, state, submitted, starts, ends, partition, first node, nodes, reason, comment, name */
export const QUEUE_FORMAT = ['%i', '%T', '%V', '%S', '%e', '%P', '%B', '%N', '%r', '%k', '%j'].join(SEPARATOR)
/** @source sacct(1) -o, Slurm 22.05 */
export const ACCOUNTING_FIELDS = 'JobID,State,ExitCode,Submit,Start,End,Partition,NodeList,Reason,Comment,JobName'
const TAG = /^[A-Za-z0-9_-]{1,128}$/
/** In front of a tag in a comment, where the name is the user's: `singleton` goes by names. */
export const TAG_MARK = 'cahier:'

/** What says that a question was not answered, though the exit code is 0. */
const UNANSWERED =
  /Unable to contact|Socket timed out|slurm_load_jobs error|Problem talking to|Invalid user:|authentication error|Connection refused/i

/**
 * Reads the native id from what `sbatch --parsable` printed, among what a site's own wrapper may print around it: the last line that is
 * `id;cluster`, else the last `Submitted batch job id`, else the last bare number.
 *
 * @returns digits only, `undefined` when there is none
 * @source sbatch(1) --parsable, Slurm 22.05; transcripts/slurm-22.05/sbatch.txt
 */
export function readSubmittedId(stdout: string): string | undefined {
  const lines = stdout.split('\n').map((line) => line.trim())
  for (const pattern of [/^(\d+);[\w.-]+$/, /\bSubmitted batch job (\d+)(?: on cluster \S+)?\.?$/, /^(\d+)$/]) {
    const id = lines.findLast((line) => /[1-9]/.test(pattern.exec(line)?.[1] ?? ''))
    if (id !== undefined) return pattern.exec(id)![1]!.replace(/^0+/, '')
  }
  return undefined
}

/** Reads what sbatch answered. Only exit code 0 with an id is a job; an id with any other end is a job perhaps. */
export function readSubmit({ exitCode, timedOut, stdout, stderr }: CommandAnswer): SubmitAnswer {
  const nativeId = readSubmittedId(stdout)
  if (exitCode === 0 && nativeId !== undefined) return { outcome: 'submitted', nativeId }
  const end = timedOut ? 'our time limit' : exitCode === undefined ? 'a signal' : `exit code ${exitCode}`
  if (nativeId !== undefined) {
    const words = ownWords(stderr)
    return {
      outcome: 'uncertain',
      message: `sbatch printed the id ${nativeId} and ended with ${end}${words === '' ? '' : `: ${words}`}`,
      suggestions: [`Look at that job with "squeue --jobs ${nativeId}"`],
    }
  }
  if (exitCode === 127 && /not found|No such file/.test(stderr)) {
    return {
      outcome: 'rejected',
      message: ownWords(stderr),
      suggestions: ['sbatch is not on the PATH of the machine through which the site is used'],
    }
  }
  if (exitCode === 0) {
    return {
      outcome: 'uncertain',
      message: `sbatch ended well, but not with a job id: ${JSON.stringify((stdout + stderr).trim().slice(0, 200))}`,
      suggestions: ['A wrapper of the site around sbatch hides the id: the job is looked for by its name'],
    }
  }
  const refusal = readRefusal(stderr.trim() === '' ? stdout : stderr, end)
  // Stopped in the middle of whatever it was doing: its last words do not say what came after them.
  return exitCode === undefined && refusal.outcome !== 'uncertain' ? { ...refusal, outcome: 'uncertain' } : refusal
}

/**
 * Reads all jobs of this user from squeue. Lines that are none, for example the rest of a foreign job's name with a line end in it, are passed over.
 *
 * @source transcripts/slurm-22.05/squeue.txt
 */
export function readQueue(answer: CommandAnswer): RowsAnswer {
  const silent = silence('squeue', answer)
  if (silent !== undefined) return silent
  return { rows: rowsOf(answer.stdout, 11, queueRow) }
}

function queueRow(fields: readonly string[]): JobRow | undefined {
  const [id = '', word = '', submitted = '', started = '', ended = '', queue = '', first = '', nodes = '', reason = ''] = fields
  const name = fields.at(-1)!
  const comment = fields.slice(9, -1).join(SEPARATOR)
  const host = [first, nodes].find((each) => each !== '' && !/^\(?n\/a\)?$|^\(null\)$/i.test(each))
  return makeRow({ id, word, submitted, started, ended, queue, host, reason, comment, name })
}

interface RowText {
  readonly id: string
  readonly word: string
  readonly submitted: string
  readonly started: string
  readonly ended: string
  readonly queue: string
  readonly host: string | undefined
  readonly reason: string
  readonly comment: string
  readonly name: string
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

/** There are tens of thousands of these in one answer: written field by field, which takes a fifth of the time of spreading. */
function makeRow({ id, word, submitted, started, ended, queue, host, reason, comment, name }: RowText): JobRow | undefined {
  const read = readId(id)
  if (read === undefined || !/^[A-Z][A-Z0-9_]{0,30}(?:\+| by \d+)?$/i.test(word)) return undefined
  const { state, end: told, word: rawState } = readState(word)
  const row: Writable<JobRow> = { nativeId: read.nativeId, state, rawState }
  if (read.elements !== undefined) row.elements = read.elements
  const tag = readTag(name, comment)
  if (tag !== undefined) row.tag = tag
  // SLURM keeps a line for what it refused, as a job that failed; it never had a node.
  const end = told === 'failed' && host === undefined ? 'refused' : told
  if (end !== undefined) row.end = end
  // The manual's promise for COMPLETED; no other state says a code.
  if (end === 'completed') row.exitCode = 0
  const isWaiting = state === 'pending' || state === 'held'
  if (reason !== 'None' && reason !== '') {
    row.reason = reason
    if (isWaiting) addReason(row, reason)
  }
  if (name !== '') row.name = name
  if (queue !== '') row.queue = queue
  setTime(row, 'submittedAt', submitted)
  // Before the start these are guesses of the scheduler, before the end the time limit; a job without a node never started.
  if (!isWaiting && host !== undefined) setTime(row, 'startedAt', started)
  if (state === 'ended') setTime(row, 'endedAt', ended)
  if (!isWaiting && host !== undefined) row.host = host
  return row
}

function addReason(row: Writable<JobRow>, reason: string): void {
  const meaning = readReason(reason)
  if (meaning.kind === 'never') row.never = { end: meaning.end, message: `it waits and never starts, ${reason}: ${meaning.explanation}` }
  else if (meaning.advice !== undefined) row.advice = meaning.advice
  if (meaning.kind === 'held') row.state = 'held'
}

/** Seconds since 1970 (SLURM_TIME_FORMAT=%s) as milliseconds; `N/A`, `Unknown`, `None` are no time. */
function setTime(row: Writable<JobRow>, key: 'submittedAt' | 'startedAt' | 'endedAt', text: string): void {
  const seconds = Number(text)
  if (seconds > 0 && seconds < 1e12) row[key] = seconds * 1000
}

/** The tag stands in the name, unless the name is the user's own: then in the comment, behind a mark. */
export function readTag(name: string, comment: string): string | undefined {
  const marked = comment.startsWith(TAG_MARK) ? comment.slice(TAG_MARK.length) : undefined
  return [marked, name, comment].find((each) => each !== undefined && TAG.test(each))
}

/**
 * Reads jobs from sacct, one row for each job: of several records (a job that was started again) the last one, and how many there were before.
 *
 * An exit code of a job that FAILED is not given: sacct takes 128 away from codes of 128 and more, so that 3 may have been 131.
 *
 * @source transcripts/slurm-22.05/sacct.txt
 */
export function readAccounting(answer: CommandAnswer): RowsAnswer {
  if (/accounting storage is disabled/i.test(answer.stderr + answer.stdout)) return { absent: 'Slurm accounting storage is disabled' }
  if (/sacct: error: .*(?:access|permission) denied/i.test(answer.stderr)) return { absent: ownWords(answer.stderr) }
  const silent = silence('sacct', answer)
  if (silent !== undefined) return silent
  const jobs = new Map<string, JobRow[]>()
  for (const row of rowsOf(answer.stdout, 11, accountingRow)) {
    // After a reset of the ids the same number is another job, with another tag.
    const key = `${row.nativeId} ${row.elements?.join() ?? ''} ${row.tag ?? ''}`
    const records = jobs.get(key)
    if (records === undefined) jobs.set(key, [row])
    else records.push(row)
  }
  return { rows: [...jobs.values()].map(lastOf) }
}

/** The record of the last start: submitted last, as a requeue counts as a submission; of equal ones the later line. */
function lastOf(records: readonly JobRow[]): JobRow {
  const last = records.reduce((best, row) => ((row.submittedAt ?? 0) >= (best.submittedAt ?? 0) ? row : best))
  return records.length === 1 ? last : { ...last, restarts: records.length - 1 }
}

function accountingRow(fields: readonly string[]): JobRow | undefined {
  const [id = '', word = '', exit = '', submitted = '', started = '', ended = '', queue = '', nodes = '', reason = ''] = fields
  const name = fields.at(-1)!
  const comment = fields.slice(9, -1).join(SEPARATOR)
  const host = nodes === '' || /^None assigned$/i.test(nodes) ? undefined : nodes
  const row = makeRow({ id, word, submitted, started, ended, queue, host, reason, comment, name })
  if (row === undefined || row.state !== 'ended') return row
  const { exitCode, signal, explanation } = readExit(exit)
  const notSure = exitCode === undefined || row.end === 'completed' || row.end === 'canceled' ? undefined : exitWords(exitCode)
  return {
    ...row,
    ...defined('signal', signal),
    ...defined('reason', [row.reason, explanation, notSure].filter((each) => each !== undefined).join('; ') || undefined),
  }
}

function exitWords(code: number): string {
  return code > 127 ? `exit code ${code}` : `exit code ${code} or ${code + 128}: sacct does not tell them apart`
}

/**
 * Reads what scontrol shows of single jobs, one line for each; jobs that it does not know (any more) are left out.
 *
 * @source transcripts/slurm-22.05/scontrol-show-job.txt
 */
export function readDetails(answer: CommandAnswer): RowsAnswer {
  const rows = answer.stdout.split('\n').flatMap((line) => detailsRow(line) ?? [])
  if (rows.length > 0 || answer.exitCode === 0) return { rows }
  const known =
    /Invalid job id specified/.test(answer.stderr) &&
    !UNANSWERED.test(answer.stderr.replaceAll(/slurm_load_jobs error: Invalid job id specified/g, ''))
  return known ? { rows } : { silent: `scontrol: ${whatItSaid(answer)}` }
}

function detailsRow(line: string): JobRow | undefined {
  // Fields of SLURM's own stand on either side of the name, which may hold anything that looks like one.
  const [before = ''] = line.split(' JobName=')
  const job = /^JobId=(\d+)(?: |$)/.exec(before)?.[1]
  const state = / JobState=(\S+)/.exec(line)?.[1]
  if (job === undefined || state === undefined) return undefined
  const text = (key: string): string => new RegExp(` ${key}=(.*?)(?: [A-Za-z][\\w/:]*=|$)`).exec(line)?.[1]?.trim() ?? ''
  const array = / ArrayJobId=(\d+)/.exec(before)?.[1]
  const element = / ArrayTaskId=(\S+)/.exec(before)?.[1] ?? ''
  // What waits of an array has ranges in place of a number, or, when all of it was canceled, a number beyond all others.
  const id =
    array === undefined
      ? job
      : /^\d{1,9}$/.test(element)
        ? `${array}_${element}`
        : /^[\d,:%-]*[,:%-][\d,:%-]*$/.test(element)
          ? `${array}_[${element}]`
          : array
  const name = /JobName=(.*?) UserId=/.exec(line)?.[1] ?? ''
  const comment = text('Comment')
  const host = ['BatchHost', 'NodeList'].map(text).find((each) => each !== '' && each !== '(null)')
  const row = makeRow({
    id,
    word: state,
    submitted: text('SubmitTime'),
    started: text('StartTime'),
    ended: text('EndTime'),
    queue: text('Partition'),
    host,
    reason: text('Reason'),
    comment,
    name,
  })
  if (row === undefined) return undefined
  const restarts = Number(/ Restarts=(\d+)/.exec(line)?.[1] ?? 0)
  const counted = restarts > 0 ? { ...row, restarts } : row
  if (row.state !== 'ended') return counted
  const { exitCode, signal, explanation } = readExit(/ ExitCode=(\d+:\d+)/.exec(line)?.[1] ?? '')
  return {
    ...counted,
    // Of a canceled job 0:0 says nothing.
    ...(row.end !== 'canceled' && row.end !== 'node-failed' && defined('exitCode', exitCode)),
    ...defined('signal', signal),
    ...(explanation !== undefined && { reason: row.reason === undefined ? explanation : `${row.reason}: ${explanation}` }),
  }
}

/** Reads what scancel answered: it says nothing of jobs that have ended, and exits 0. */
export function readCancel(answer: CommandAnswer): OrderAnswer {
  const { exitCode, stderr } = answer
  if (exitCode === 0 && !UNANSWERED.test(stderr)) return { ok: true }
  const onlyEnded = exitCode !== undefined && stderr.trim() !== '' && withoutEnded(stderr).trim() === ''
  return onlyEnded ? { ok: true } : failedOrder('scancel', answer)
}

/** Reads what `scontrol hold`, `release` and `requeue` answered. */
export function readOrder(answer: CommandAnswer): OrderAnswer {
  return answer.exitCode === 0 ? { ok: true } : failedOrder('scontrol', answer)
}

function failedOrder(program: string, answer: CommandAnswer): OrderAnswer {
  const { exitCode, stderr } = answer
  // "Unexpected message received" is what scontrol says when the controller is away.
  const unanswered = exitCode === undefined || stderr.trim() === '' || UNANSWERED.test(stderr) || /Unexpected message received/.test(stderr)
  return unanswered ? { silent: `${program}: ${whatItSaid(answer)}` } : { refused: `${program}: ${ownWords(stderr)}` }
}

/** Without the lines about jobs that are gone: there is nothing left to cancel. */
function withoutEnded(stderr: string): string {
  return stderr
    .split('\n')
    .filter((line) => !/Invalid job id specified|Job\/step already completing or completed|Job has already finished/.test(line))
    .join('\n')
}

function silence(
  program: string,
  answer: CommandAnswer,
): { readonly silent: string; readonly suggestions?: readonly string[] } | undefined {
  if (answer.exitCode === 0 && (answer.stdout.trim() !== '' || !UNANSWERED.test(answer.stderr))) return undefined
  return { silent: `${program}: ${whatItSaid(answer)}`, ...adviceFor(answer.stderr) }
}

export function adviceFor(stderr: string): { readonly suggestions?: readonly string[] } {
  if (/munge|authentication/i.test(stderr))
    return { suggestions: ['Munge, by which SLURM knows users, does not work on this machine: its administrators can restart it'] }
  if (/Unable to contact|timed out/i.test(stderr))
    return { suggestions: ['SLURM’s controller is down, restarted or overloaded; jobs go on meanwhile'] }
  if (/Problem talking to|Connection refused|PersistInit/i.test(stderr))
    return { suggestions: ['SLURM’s accounting service (slurmdbd) does not answer'] }
  return {}
}

/** The words of a program that failed, in one line. */
export function whatItSaid({ exitCode, timedOut, stdout, stderr }: CommandAnswer): string {
  // What stands on stdout after our time limit is a part of the answer.
  const words = ownWords(stderr) || (exitCode === undefined ? '' : ownWords(stdout).slice(0, 200))
  const end = timedOut ? 'no answer within our time limit' : exitCode === undefined ? 'ended by a signal' : `exit code ${exitCode}`
  return words === '' ? end : timedOut ? `${end}: ${words}` : words
}

/** Lines that begin with what can be an id and have all columns. */
function rowsOf(text: string, columns: number, read: (fields: readonly string[]) => JobRow | undefined): JobRow[] {
  const rows: JobRow[] = []
  for (const line of text.split('\n')) {
    if (!/^\d/.test(line)) continue
    const fields = line.split(SEPARATOR)
    const row = fields.length < columns ? undefined : read(fields)
    if (row !== undefined) rows.push(row)
  }
  return rows
}

function defined<Key extends string, Value>(key: Key, value: Value | undefined): { readonly [key in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [key in Key]?: Value })
}
