import { messageOf, systemCodeOf } from '../../errors.js'
import type { SchedulerFacts } from '../../model/site-report.js'
import type { Clock } from '../../ports/clock.js'
import type { Logger } from '../../ports/logger.js'
import type { JobRow, SchedulerDialect } from '../../ports/scheduler-dialect.js'
import type { SiteFiles } from '../../ports/site-files.js'
import { SUBMISSION_FILE } from '../../util/job-files.js'
import { EXIT_RECORD_FILE, parseExitRecord } from '../exit-record.js'
import { RUNNING_FILE } from '../job-wrapper.js'
import { endsByRecord, isLeftOpen } from './observation.js'
import { backOff, type Rhythm } from './poll-rhythm.js'
import type { SiteCommands } from './site-commands.js'
import { isOurs, makeSnapshot, rowOf, type Snapshot } from './snapshot.js'
import { parseSubmissionFile } from './submission-files.js'
import type { TrackedJob, TrackedJobs } from './tracked-jobs.js'

/** Jobs in one question to the accounting. */
const ACCOUNTING_CHUNK = 500
/** Jobs in one closer look. */
const DETAILS_CHUNK = 8
const CANCEL_CHUNK = 500
/** A cancel whose effect cannot be seen after this time is asked for again. */
const CANCEL_AGAIN_MS = 120_000
/** Before the submission, for clocks that differ: that of the accounting may be another one than that of the machine we ask from. */
const WINDOW_MARGIN_MS = 3 * 24 * 60 * 60_000
/** For jobs of an earlier program, of which it is not known when they were submitted. */
const WIDEST_WINDOW_MS = 31 * 24 * 60 * 60_000
/** What a start leaves in the directory of its job, of the first three at least. The record that a marker is renamed to comes last. */
const TRACES = [
  RUNNING_FILE,
  ...[2, 3].map((start) => `${RUNNING_FILE}.${start}`),
  ...[1, 2].map((start) => `exit.${start}.json`),
  EXIT_RECORD_FILE,
]
/** So long the accounting may be silent before its silence holds up no conclusion. */
const LONGEST_SILENCE_MS = 24 * 60 * 60_000

export interface FollowUpParts {
  readonly dialect: SchedulerDialect
  readonly commands: SiteCommands
  readonly jobs: TrackedJobs
  readonly files: SiteFiles
  readonly clock: Clock
  readonly log: Logger
  readonly rhythm: Rhythm
  readonly facts: () => SchedulerFacts
}

/** What is found out after the queue has answered, about the jobs of which it says nothing, or not enough. */
export class FollowUp {
  readonly #parts: FollowUpParts
  #isAbsent = false
  #silence: { readonly since: number; tries: number; nextAt: number; why: string } | undefined

  constructor(parts: FollowUpParts) {
    this.#parts = parts
  }

  get hasAccounting(): boolean {
    const { dialect, facts } = this.#parts
    return dialect.accounting !== undefined && dialect.parseAccounting !== undefined && facts().accounting && !this.#isAbsent
  }

  /** Why the accounting says nothing for now. */
  get accountingSilent(): string | undefined {
    const silence = this.#silence
    if (silence === undefined || !this.hasAccounting) return undefined
    return this.#parts.clock.monotonic() - silence.since > LONGEST_SILENCE_MS ? undefined : silence.why
  }

  /** The site's time from which on the accounting is asked about jobs submitted at this time of ours. */
  windowStart(submittedAt: number | undefined): number {
    const { clock, facts } = this.#parts
    // A clock that is ahead need not be the one that dates jobs. It costs nothing to begin early: jobs are asked for by their ids.
    const offset = Math.min(0, facts().clockOffsetMs ?? 0)
    const margin = submittedAt === undefined ? WIDEST_WINDOW_MS : WINDOW_MARGIN_MS
    return (submittedAt ?? clock.now()) + offset - margin
  }

  /** The accounting has no data on this site: it is not asked again. */
  noteAbsent(why: string): void {
    if (!this.#isAbsent) this.#parts.log.info({}, `no accounting on this site (${why}): exit records and the queue have to do`)
    this.#isAbsent = true
  }

  /** @returns true when something was done that the queue will show */
  async run(snapshot: Snapshot, signal: AbortSignal): Promise<boolean> {
    const { jobs } = this.#parts
    const gone: TrackedJob[] = []
    const bare: TrackedJob[] = []
    const doomed: TrackedJob[] = []
    const stubborn: TrackedJob[] = []
    const unproven: TrackedJob[] = []
    const now = this.#parts.clock.monotonic()
    for (const job of jobs.followed()) {
      if (endsByRecord(job) || job.moment >= snapshot.moment || !job.wasIdentified) continue
      const row = rowOf(snapshot, job)
      if (row === undefined) {
        if (job.told === undefined && job.closer === undefined) gone.push(job)
        else if (job.closer !== undefined && isUnproven(job, job.closer)) unproven.push(job)
      } else if (row.state === 'ended') {
        if (isBare(job, row)) bare.push(job)
        else if (isUnproven(job, row)) unproven.push(job)
      } else if (row.never !== undefined || job.never !== undefined) {
        job.never ??= row.never
        doomed.push(job)
      } else if (job.cancelAskedAt !== undefined && row.state !== 'ending' && now - job.cancelAskedAt > CANCEL_AGAIN_MS) {
        if (job.member === undefined) stubborn.push(job)
      }
    }
    const isCanceled = await this.#cancel([...doomed, ...stubborn], signal)
    await this.#readTraces([...gone, ...bare, ...unproven], signal)
    const open = (job: TrackedJob): boolean => job.record === undefined
    await this.#lookCloser(bare.filter(open), signal)
    await this.#askAccounting([...gone, ...bare.filter((job) => job.closer === undefined)].filter(open), signal)
    return isCanceled
  }

  /** Looks at what jobs have left whose end the queue shows, and that were not known when it was asked. */
  async look(jobs: readonly TrackedJob[], snapshot: Snapshot, signal: AbortSignal | undefined): Promise<void> {
    const open = jobs.filter((job) => {
      if (job.hasBegun !== undefined || endsByRecord(job) || job.moment >= snapshot.moment) return false
      const row = rowOf(snapshot, job)
      return row !== undefined && isUnproven(job, row)
    })
    await this.#readTraces(open, signal)
  }

  /** Finds out with which submissions jobs of an earlier program came, once for each: a line with another tag is not theirs. */
  async identify(jobs: Iterable<TrackedJob>, signal: AbortSignal | undefined): Promise<void> {
    const unknown: TrackedJob[] = []
    for (const job of jobs) if (!job.wasIdentified) unknown.push(job)
    await this.#read(unknown, [SUBMISSION_FILE], signal, (job, [text]) => {
      job.wasIdentified = true
      if (text === undefined) return
      const places = parseSubmissionFile(text).filter((place) => place.element === (job.element ?? 0) && place.member === job.member)
      // The scheduler may have refused the one, and the other was made instead.
      job.groups = places.map(({ tag }) => tag)
      if (places.length === 1) job.group = places[0]?.tag
    })
  }

  async #readTraces(jobs: readonly TrackedJob[], signal: AbortSignal | undefined): Promise<void> {
    await this.#read(jobs, TRACES, signal, (job, texts) => {
      job.hasBegun = texts.some((text) => text !== undefined)
      const record = texts.at(-1)
      if (record !== undefined) job.record = parseExitRecord(record, job.handle.tag) ?? job.record
    })
  }

  /** Reads files in the directories of jobs, in one exchange. What cannot be read now is no news, and hides none of the others. */
  async #read(
    jobs: readonly TrackedJob[],
    names: readonly string[],
    signal: AbortSignal | undefined,
    take: (job: TrackedJob, texts: readonly (string | undefined)[]) => void,
  ): Promise<void> {
    const known = jobs.filter(({ directory }) => directory !== undefined)
    if (known.length === 0) return
    try {
      const texts = await this.#parts.files.read(
        known.flatMap(({ directory }) => names.map((name) => `${directory}/${name}`)),
        { signal },
      )
      known.forEach((job, index) => {
        take(job, texts.slice(index * names.length, (index + 1) * names.length))
      })
    } catch (error) {
      signal?.throwIfAborted()
      const half = known.length >> 1
      if (half > 0 && systemCodeOf(error) !== 'E_SCHEDULER_SILENT') {
        await this.#read(known.slice(0, half), names, signal, take)
        return this.#read(known.slice(half), names, signal, take)
      }
      this.#parts.log.debug({ error: messageOf(error), files: names.join(' ') }, 'files of jobs not readable')
    }
  }

  async #lookCloser(jobs: readonly TrackedJob[], signal: AbortSignal): Promise<void> {
    const { dialect } = this.#parts
    const some = jobs.filter((job) => !job.wasLookedAt && job.member === undefined).slice(0, DETAILS_CHUNK)
    if (dialect.details === undefined || dialect.parseDetails === undefined || some.length === 0) return
    const answer = dialect.parseDetails(await this.#parts.commands.ask(dialect.details(some.map(({ rowId }) => rowId)), { signal }))
    for (const job of some) job.wasLookedAt = true
    if ('rows' in answer) this.#take(some, answer.rows)
  }

  async #askAccounting(jobs: readonly TrackedJob[], signal: AbortSignal): Promise<void> {
    const { dialect, clock, commands, log, rhythm } = this.#parts
    const { accounting, parseAccounting } = dialect
    if (jobs.length === 0 || accounting === undefined || parseAccounting === undefined || !this.hasAccounting) return
    const now = clock.monotonic()
    if (this.#silence !== undefined && now < this.#silence.nextAt) return
    // Those that were asked about longest ago, so that all have their turn.
    const some = jobs.slice(0, ACCOUNTING_CHUNK)
    const times = some.map((job) => this.windowStart(job.submittedAt))
    const ids = [...new Set(some.map(({ rowId }) => rowId))]
    const failed = (why: string): void => {
      const tries = (this.#silence?.tries ?? 0) + 1
      if (this.#silence === undefined) log.warn({ error: why }, 'the accounting does not answer')
      this.#silence = { since: this.#silence?.since ?? now, tries, nextAt: now + backOff(rhythm, tries, Math.random()), why }
    }
    let answer: ReturnType<typeof parseAccounting>
    try {
      answer = parseAccounting.call(dialect, await commands.ask(accounting.call(dialect, ids, Math.min(...times)), { signal }))
    } catch (error) {
      signal.throwIfAborted()
      return failed(messageOf(error))
    }
    if ('silent' in answer) return failed(answer.silent)
    this.#silence = undefined
    if ('absent' in answer) return this.noteAbsent(answer.absent)
    this.#take(some, answer.rows)
    for (const job of some) {
      if (job.closer !== undefined) continue
      // Not there (yet): behind the others, should there be more than fit into one question.
      this.#parts.jobs.moveToEnd(job)
    }
  }

  #take(jobs: readonly TrackedJob[], rows: readonly JobRow[]): void {
    // The accounting also remembers who had the same id when ids began anew.
    const asked = new Map(jobs.map((job) => [job.rowId, job]))
    const ours = rows.filter((row) => {
      const job = asked.get(row.nativeId)
      return job === undefined || isOurs(job, row)
    })
    const found = makeSnapshot(ours, 0, 0)
    for (const job of jobs) {
      const row = rowOf(found, job)
      if (row?.state === 'ended') job.closer = row
    }
  }

  async #cancel(jobs: readonly TrackedJob[], signal: AbortSignal): Promise<boolean> {
    const { dialect, commands, clock, log } = this.#parts
    const now = clock.monotonic()
    const due = jobs.filter((job) => job.cancelAskedAt === undefined || now - job.cancelAskedAt > CANCEL_AGAIN_MS)
    const ids = [...new Set(due.map(({ rowId }) => rowId))]
    for (let from = 0; from < ids.length; from += CANCEL_CHUNK) {
      const part = ids.slice(from, from + CANCEL_CHUNK)
      try {
        const answer = dialect.parseCancel(await commands.ask(dialect.cancel(part), { signal }))
        if (!('ok' in answer)) throw new Error('silent' in answer ? answer.silent : answer.refused)
      } catch (error) {
        signal.throwIfAborted()
        log.warn({ jobs: part.length, error: messageOf(error) }, 'jobs that can never start could not be canceled yet')
        return from > 0
      }
      const asked = new Set(part)
      for (const job of due) if (asked.has(job.rowId)) job.cancelAskedAt = now
      const reason = due.find((job) => job.never !== undefined)?.never?.message
      log.info({ jobs: part.length, ...(reason === undefined ? {} : { reason }) }, 'jobs canceled')
    }
    return ids.length > 0
  }
}

/** How it ended is known, and not whether its script had begun. */
function isUnproven(job: TrackedJob, row: JobRow): boolean {
  return job.record === undefined && job.never === undefined && job.hasBegun !== true && isLeftOpen(job, row)
}

/** The queue shows its end and not how the script ended. */
function isBare(job: TrackedJob, row: JobRow): boolean {
  if (job.record !== undefined || job.closer !== undefined || job.never !== undefined) return false
  // The line is about the whole pack.
  if (job.member !== undefined) return true
  return row.exitCode === undefined && (row.end === undefined || row.end === 'completed' || row.end === 'failed')
}
