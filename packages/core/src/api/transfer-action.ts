import { messageOf, systemCodeOf } from '../errors.js'
import type { TransferResult } from '../model/transfer.js'
import type { FilePath } from '../ports/transfer.js'
import { Action } from './action.js'
import { checkConcurrency } from './actions.js'
import { CompletedList } from './completed.js'
import { connectionOf } from './connections.js'
import type { Host } from './host.js'
import { type HostInput, hosts as unfoldHosts } from './hosts.js'
import { processLogger } from './process-log.js'
import { type ExecutionStatistics, mergeStatistics } from './statistics.js'
import { checkPolicy, checkVia, type HostProgress, nameOfVia, type TransferOptions, withTransferDefaults } from './transfer-options.js'
import { type PlannedRequest, planTransfer, type TransferDirection } from './transfer-plan.js'
import type { DriverChoice } from './transfer-run.js'

/**
 * Copies of files between this machine and hosts. What goes wrong on a host is its result and never stops the others; what goes wrong
 * before any host was asked is the `errorReason` of all.
 */
export abstract class TransferAction extends Action<never> {
  /** In the order of the results. */
  readonly hosts: readonly Host[]
  /** None: a transfer has results. */
  readonly processes: readonly never[] = []
  readonly #direction: TransferDirection
  readonly #requests: readonly PlannedRequest[]
  readonly #options: TransferOptions
  readonly #isBroadcast: boolean
  #results: (TransferResult | undefined)[] = []
  #completed = new CompletedList<TransferResult>()
  #choices: DriverChoice[] = []
  #abort = new AbortController()
  #error: Error | undefined
  #startDate: Date | undefined
  #endDates: (Date | undefined)[] = []

  protected constructor(
    kind: 'put' | 'get' | 'broadcast',
    files: FilePath | readonly FilePath[],
    hosts: HostInput,
    given: TransferOptions,
  ) {
    const options = withTransferDefaults(kind === 'get' ? 'get' : 'put', given)
    const list = unfoldHosts(hosts, { groups: options.groups })
    super(nameOfTransfer(kind, files, list.length), options)
    this.hosts = list
    this.#direction = kind === 'get' ? 'get' : 'put'
    this.#isBroadcast = kind === 'broadcast'
    this.#options = { ...options }
    if (options.concurrency !== undefined) checkConcurrency(options.concurrency)
    checkVia(this.#direction, options)
    // The directories that nobody named are made.
    const policy = checkPolicy(kind === 'get' && options.to === undefined ? { create: true, ...options } : options)
    this.#requests = planTransfer({
      direction: this.#direction,
      files,
      hosts: list,
      to: options.to,
      values: options.values,
      connection: connectionOf(options.connection),
      policy,
      isLocal: options.via === 'local',
    })
  }

  /** One for each host in host order, once all have ended; before that, of those that have. */
  get results(): readonly TransferResult[] {
    return this.#results.filter((result) => result !== undefined)
  }

  /** What became of one host, if that is known already. @param index - of `hosts` */
  resultOf(index: number): TransferResult | undefined {
    return this.#results[index]
  }

  /** Why no host was asked at all: a source is missing, an option is not kept by the driver… */
  get errorReason(): Error | undefined {
    return this.#error
  }

  /** What moved the files and why: more than one when the hosts get different files, or when a host could not do what the others did. */
  get choices(): readonly DriverChoice[] {
    return [...this.#choices]
  }

  /**
   * The results in the order in which hosts end, each as soon as it has; ends with the transfer. It may be read before the start, after the
   * end, and by several readers, each of which sees all.
   */
  [Symbol.asyncIterator](): AsyncGenerator<TransferResult, void, undefined> {
    return this.#completed[Symbol.asyncIterator]()
  }

  override get badHosts(): readonly Host[] {
    return this.hosts.filter((_, index) => this.#results[index] !== undefined && !isGood(this.#results[index]))
  }
  override get ok(): boolean {
    return !this.timedOut && this.#error === undefined && this.results.every(isGood)
  }
  override get finishedOk(): boolean {
    return this.ended && this.ok
  }

  /** Each copy counts as one process does: a report shows them side by side. */
  override stats(): ExecutionStatistics {
    const members = this.hosts.map((host, index) => this.#statsOf(host, index))
    return mergeStatistics(this.name, members)
  }

  protected override get size(): string {
    return `${this.hosts.length} ${this.hosts.length === 1 ? 'host' : 'hosts'}`
  }

  protected async live(): Promise<void> {
    this.#startDate = new Date()
    try {
      // What moves files is loaded when something is moved.
      const { runTransfer } = await import('./transfer-run.js')
      await runTransfer(this.#direction, this.#requests, {
        options: this.#options,
        isBroadcast: this.#isBroadcast,
        signal: this.#abort.signal,
        onChoice: (choice) => this.#choose(choice),
        onResult: (position, result) => this.#take(position, result),
        onProgress: (position, progress) => this.#tellProgress({ host: this.hosts[position] as Host, index: position, ...progress }),
      })
      this.#fill({ code: 'E_TRANSFER', message: `${nameOfVia(this.#options.via)} gave no result for this host` })
    } catch (error) {
      this.#error = error instanceof Error ? error : new Error(String(error))
      const { suggestions } = this.#error as { readonly suggestions?: readonly string[] }
      const code = systemCodeOf(error) ?? 'E_TRANSFER'
      processLogger().warn({ action: this.name, code, reason: messageOf(error) }, 'nothing copied')
      this.#fill({ code, message: messageOf(error), ...(suggestions === undefined ? {} : { suggestions }) }, true)
    } finally {
      this.#completed.close()
    }
  }

  protected stop(): void {
    const why = this.timedOut ? 'the time limit of the transfer has passed' : 'the transfer was given up'
    this.#abort.abort(new Error(why))
  }

  protected async forget(): Promise<void> {
    this.#completed.close()
    this.#completed = new CompletedList()
    this.#results = []
    this.#choices = []
    this.#endDates = []
    this.#abort = new AbortController()
    this.#error = undefined
    this.#startDate = undefined
  }

  #choose(choice: DriverChoice): void {
    if (!this.#choices.some(({ via, why }) => via === choice.via && why === choice.why)) this.#choices.push(choice)
    processLogger().info({ action: this.name, via: choice.via, why: choice.why }, 'transfer chosen')
  }

  #take(position: number, { host: _, ...result }: TransferResult, isTold = false): void {
    if (this.#results[position] !== undefined) return
    const host = String(this.hosts[position])
    const own: TransferResult = { host, ...result, ...this.#lateness(result) }
    this.#results[position] = own
    this.#endDates[position] = new Date()
    const { outcome, bytes, files, seconds, via, error } = own
    if (isGood(own)) processLogger().debug({ host, outcome, bytes, files, seconds, via }, 'files copied')
    else if (!isTold) processLogger().warn({ host, outcome, via, code: error?.code, reason: error?.message }, 'files not copied')
    this.#completed.push(own)
  }

  /** Drivers only know that it was given up, each in words of its own. */
  #lateness({ error }: Pick<TransferResult, 'error'>): Pick<TransferResult, 'error'> {
    if (!this.#abort.signal.aborted || error?.code !== 'E_ABORTED') return {}
    return { error: { ...error, message: messageOf(this.#abort.signal.reason) } }
  }

  /** Every host has a result in the end, whatever happened. */
  #fill(error: NonNullable<TransferResult['error']>, isTold = false): void {
    this.hosts.forEach((_, position) => {
      const via = nameOfVia(this.#options.via)
      const nothing = { bytes: 0, files: 0, same: 0, seconds: 0, verified: 'none' as const }
      this.#take(position, { host: undefined, outcome: 'failed', ...nothing, via, error }, isTold)
    })
  }

  #tellProgress(progress: HostProgress): void {
    const result = this.#results[progress.index]
    try {
      this.#options.onProgress?.(progress.phase === 'ended' && result !== undefined ? { ...progress, result } : progress)
    } catch (error) {
      processLogger().error({ action: this.name, error: messageOf(error) }, 'progress handler failed')
    }
  }

  #statsOf(host: Host, index: number): ExecutionStatistics {
    const result = this.#results[index]
    const count = (condition: boolean): number => (condition ? 1 : 0)
    const bad = result !== undefined && !isGood(result)
    const late = bad && this.timedOut && result.error?.code === 'E_ABORTED'
    return {
      name: this.name,
      startDate: this.#startDate,
      endDate: this.#endDates[index],
      hosts: [String(host)],
      processes: 1,
      started: count(this.started),
      ended: count(result !== undefined),
      errors: count(bad && !late),
      unreachable: count(result?.outcome === 'unreachable'),
      timeouts: count(late),
      forcedKills: 0,
      nonZeroExits: 0,
      expectFailures: 0,
      writeErrors: 0,
      ok: count(!bad),
      finishedOk: count(isGood(result)),
      members: [],
    }
  }
}

function isGood(result: TransferResult | undefined): boolean {
  return result?.outcome === 'done' || result?.outcome === 'skipped-same'
}

function nameOfTransfer(kind: string, files: FilePath | readonly FilePath[], count: number): string {
  const list: readonly FilePath[] = Array.isArray(files) ? (files as readonly FilePath[]) : [files as FilePath]
  const first = Buffer.from((list[0] ?? '') as string).toString('utf8')
  const name = first.length > LONGEST_NAME ? `${first.slice(0, LONGEST_NAME - 3)}...` : first
  const more = list.length > 1 ? ` and ${list.length - 1} more` : ''
  return `${kind} ${name}${more} ${kind === 'get' ? 'from' : 'to'} ${count} ${count === 1 ? 'host' : 'hosts'}`
}

const LONGEST_NAME = 40
