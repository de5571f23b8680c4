import type { ErrorCode } from '../../error-codes.js'
import { isCampaignError, messageOf } from '../../errors.js'
import type { SubmitOutcome } from '../../model/job.js'
import type { Clock } from '../../ports/clock.js'
import type { Logger } from '../../ports/logger.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { CommandAnswer, SchedulerDialect, SiteCommand, Submission, SubmitAnswer } from '../../ports/scheduler-dialect.js'
import type { SiteFiles, SmallFile } from '../../ports/site-files.js'
import { isAborted } from '../../util/async.js'
import { FaultRow, keptBack, type Refusal } from './fault-row.js'
import { type JobGroup, jobsOf, splitGroup, submissionOf } from './group-jobs.js'
import { memberId } from './native-id.js'
import { firstLine, type SiteCommands } from './site-commands.js'
import { announcementFolder, isPacked, submissionFiles } from './submission-files.js'

/** Submissions that are on their way at the same time. */
const CONCURRENCY = 4
export interface SubmitterParts {
  /** Of the scheduler, for handles. */
  readonly name: string
  readonly dialect: SchedulerDialect
  readonly commands: SiteCommands
  readonly files: SiteFiles
  readonly clock: Clock
  readonly log: Logger
  readonly submitsPerSecond: number
  /** A submission was taken; called before anything else is awaited. */
  readonly onSubmitted: (group: JobGroup, submission: Submission, outcomes: readonly SubmitOutcome[]) => void
}

interface Planned {
  readonly group: JobGroup
  readonly submission: Submission
}

/** Sends submissions: a few at a time, within a rate, each once, and no more of what is refused. */
export class Submitter {
  readonly #parts: SubmitterParts
  /** Lines of the `submission` files that were written and not followed by a clear answer, by tag. */
  readonly #lines = new Map<string, readonly string[]>()
  readonly #folders = new Set<string>()
  /** Elements that an array may have at a place of the queue where a larger one was refused. */
  readonly #limits = new Map<string, number>()
  #nextAt = Number.NEGATIVE_INFINITY

  constructor(parts: SubmitterParts) {
    this.#parts = parts
  }

  /** What is known to be too much, from earlier answers. */
  limitOf(place: string): number {
    return this.#limits.get(place) ?? Number.POSITIVE_INFINITY
  }

  /**
   * Sends the groups; what became of each job goes into `outcomes` by tag.
   *
   * @throws SchedulerError `E_SCHEDULER_SILENT`, StoreError, the signal's reason: only when nothing was sent
   */
  async send(groups: readonly JobGroup[], outcomes: Map<string, SubmitOutcome>, { signal }: CallOptions = {}): Promise<void> {
    if (groups.length === 0) return
    const round = new Round(outcomes)
    const planned = groups.map((group) => this.#plan(group))
    await this.#write(planned, { signal })
    signal?.throwIfAborted()
    const queue: Planned[] = [...planned]
    const work = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        if (isAborted(signal)) round.stop({ outcome: 'rejected', code: 'E_ABORTED', message: 'not sent: the call was given up' })
        const stop = round.stopOf(next.group.place)
        if (stop !== undefined) {
          round.refuse(next.group, stop)
          continue
        }
        const { elements, place } = next.group
        if (elements.length > this.limitOf(place)) {
          queue.unshift(...(await this.#split(next.group, this.limitOf(place), round)))
          continue
        }
        const parts = await this.#sendOne(next, round)
        if (parts !== undefined) queue.unshift(...parts)
      }
    }
    await Promise.all(Array.from({ length: Math.min(CONCURRENCY, queue.length) }, work))
    if (round.sent > 0) return
    if (isAborted(signal)) throw signal?.reason
    if (round.failure !== undefined) throw round.failure as Error
  }

  #plan(group: JobGroup): Planned {
    // Counted by what was sent before: what is shown before that is what is sent.
    const serial = this.#lines.get(jobsOf(group)[0]?.job.tag ?? '')?.length ?? 0
    return { group, submission: submissionOf(group, serial) }
  }

  async #write(planned: readonly Planned[], options: CallOptions = {}): Promise<void> {
    const files: SmallFile[] = []
    const folders = new Set<string>()
    for (const { group, submission } of planned) {
      files.push(...submissionFiles(group, submission, this.#parts.dialect, this.#lines))
      for (const { job } of jobsOf(group)) folders.add(announcementFolder(job))
    }
    // A folder exists as soon as it holds a file.
    for (const folder of folders) if (!this.#folders.has(folder)) files.push({ path: `${folder}/.folder`, data: '' })
    await this.#parts.files.write(files, options)
    for (const folder of folders) this.#folders.add(folder)
  }

  /** Smaller arrays in place of one; their files are there when it returns. */
  async #split(group: JobGroup, size: number, round: Round): Promise<readonly Planned[]> {
    const planned = splitGroup(group, size).map((part) => this.#plan(part))
    try {
      await this.#write(planned)
      return planned
    } catch (error) {
      round.failure ??= error
      const stop: Refusal = { outcome: 'rejected', code: 'E_SUBMIT_REJECTED', message: `not sent: ${messageOf(error)}` }
      round.stop(stop)
      round.refuse(group, stop)
      return []
    }
  }

  /** @returns what is to be sent in its place */
  async #sendOne({ group, submission }: Planned, round: Round): Promise<readonly Planned[] | undefined> {
    const { dialect, commands, log } = this.#parts
    await this.#waitForTurn()
    const answer = await commands.try(unmarked(dialect.submit(submission)))
    if ('error' in answer) {
      const { error, isUnsent } = answer
      if (isUnsent) {
        round.failure ??= error
        const stop: Refusal = { outcome: 'rejected', code: error.code, message: `not sent: ${error.message}` }
        round.stop(stop)
        round.refuse(group, stop)
        return undefined
      }
      round.sent += 1
      this.#uncertain(group, round, 'E_SUBMIT_UNCERTAIN', error.message)
      return undefined
    }
    round.sent += 1
    const said = readAnswer(answer, submission, dialect)
    log.debug({ tag: submission.tag, jobs: jobsOf(group).length, outcome: said.outcome }, 'submission answered')
    switch (said.outcome) {
      case 'submitted':
        this.#submitted(group, submission, said.nativeId, round)
        return undefined
      case 'uncertain':
        this.#uncertain(group, round, said.code ?? 'E_SUBMIT_UNCERTAIN', said.message)
        return undefined
      case 'invalid':
        round.invalid(group, withHints(said))
        return undefined
      case 'rejected':
        return this.#rejected(group, said, round)
    }
  }

  #submitted(group: JobGroup, submission: Submission, nativeId: string, round: Round): void {
    const { dialect, name } = this.#parts
    const packed = isPacked(group)
    const list: SubmitOutcome[] = []
    group.elements.forEach((members, index) => {
      const element = group.elements.length === 1 ? nativeId : dialect.elementId(nativeId, index)
      members.forEach(({ job: { tag } }, member) => {
        const handle = { scheduler: name, nativeId: packed ? memberId(element, member) : element, tag }
        list.push({ outcome: 'submitted', handle })
        this.#lines.delete(tag)
      })
    })
    round.take(list)
    round.passed(group.place)
    const limit = this.limitOf(group.place)
    // Room comes back: what was the limit need not be it for long.
    if (group.elements.length >= limit) this.#limits.set(group.place, limit * 2)
    this.#parts.onSubmitted(group, submission, list)
  }

  /** Nobody knows whether it was taken, so the next ones would hardly fare better: they are kept back. */
  #uncertain(group: JobGroup, round: Round, code: ErrorCode, message: string): void {
    round.refuse(group, { outcome: 'uncertain', code, message })
    round.stop({
      outcome: 'rejected',
      code: 'E_SUBMIT_REJECTED',
      message: `not sent: a submission before it was not answered clearly: ${message}`,
    })
  }

  async #rejected(group: JobGroup, said: Refused, round: Round): Promise<readonly Planned[] | undefined> {
    const { log } = this.#parts
    const { limit } = said
    const message = withHints(said)
    const size = group.elements.length
    if (limit !== undefined && size > 1) {
      const half = Math.floor(size / 2)
      this.#limits.set(group.place, Math.min(this.limitOf(group.place), half))
      log.info({ limit, elements: size, next: half }, 'an array is too large for a limit: smaller ones are tried')
      return this.#split(group, half, round)
    }
    const stop: Refusal = { outcome: 'rejected', code: 'E_SUBMIT_REJECTED', message }
    round.refuse(group, stop)
    // A limit is one of a queue, an account or a quality of service; anything else is the state of the scheduler.
    if (limit === undefined) round.stop(stop)
    else round.stopPlace(group.place, stop)
    return undefined
  }

  async #waitForTurn(): Promise<void> {
    const { clock, submitsPerSecond } = this.#parts
    const now = clock.monotonic()
    const at = Math.max(now, this.#nextAt)
    this.#nextAt = at + 1000 / submitsPerSecond
    if (at > now) await clock.sleep(at - now)
  }
}

type Refused = Exclude<SubmitAnswer, { readonly outcome: 'submitted' }>
type Said = SubmitAnswer & { readonly code?: ErrorCode }

/** What a submission came to; whatever was not answered in full is uncertain, also when an id was printed. */
function readAnswer(answer: CommandAnswer, submission: Submission, dialect: SchedulerDialect): Said {
  if (answer.timedOut || answer.exitCode === undefined) {
    const printed = firstLine(answer.stdout) || firstLine(answer.stderr)
    const how = answer.timedOut ? 'it was not answered in time' : 'its command was killed'
    return { outcome: 'uncertain', message: `${how}${printed === '' ? '' : `; it had printed: ${printed}`}` }
  }
  try {
    const said = dialect.parseSubmit(answer, submission)
    if (said.outcome === 'submitted' && said.nativeId === '') {
      return { outcome: 'uncertain', code: 'E_SUBMIT_UNREADABLE', message: `an empty job id: ${firstLine(answer.stdout)}` }
    }
    return said
  } catch (error) {
    // It was sent: a parser that fails must not make a second submission of it.
    return { outcome: 'uncertain', code: isCampaignError(error) ? error.code : 'E_SUBMIT_UNREADABLE', message: messageOf(error) }
  }
}

/**
 * Schedulers hand the environment of a submission on to its jobs. With the mark of the command in it a job would be taken for a part of that
 * command, and ended with it when it does not answer in time, where both run on one machine.
 */
function unmarked({ argv, ...rest }: SiteCommand): SiteCommand {
  return { ...rest, argv: ['env', '-u', 'CAHIER_PROC', ...argv] }
}

function withHints({ message, suggestions = [] }: Refused): string {
  return suggestions.length === 0 ? message : `${message} (${suggestions.join('; ')})`
}

/** What has come of one call so far. */
class Round {
  sent = 0
  failure: unknown
  readonly #outcomes: Map<string, SubmitOutcome>
  readonly #places = new Map<string, Refusal>()
  readonly #faults = new Map<string, FaultRow>()
  #all: Refusal | undefined

  constructor(outcomes: Map<string, SubmitOutcome>) {
    this.#outcomes = outcomes
  }

  stopOf(place: string): Refusal | undefined {
    return this.#all ?? this.#places.get(place)
  }

  stop(refusal: Refusal): void {
    this.#all ??= refusal
  }

  stopPlace(place: string, refusal: Refusal): void {
    this.#places.set(place, refusal)
  }

  take(outcomes: readonly SubmitOutcome[]): void {
    for (const outcome of outcomes) this.#outcomes.set(outcome.outcome === 'submitted' ? outcome.handle.tag : outcome.tag, outcome)
  }

  refuse(group: JobGroup, refusal: Refusal): void {
    this.take(jobsOf(group).map(({ job: { tag } }) => ({ tag, ...refusal })))
  }

  passed(place: string): void {
    this.#faults.delete(place)
  }

  /** Refused for good: the first few are, and the rest of their kind is kept back, since it would fare the same. */
  invalid(group: JobGroup, message: string): void {
    const row = this.#faults.get(group.place) ?? new FaultRow()
    this.#faults.set(group.place, row)
    this.take(jobsOf(group).map(({ job: { tag } }) => row.refuse(tag, 'E_JOB_INVALID', message)))
    if (row.isFull) this.stopPlace(group.place, keptBack(message))
  }
}
