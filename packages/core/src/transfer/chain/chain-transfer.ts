import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { ConfigError, isCampaignError } from '../../errors.js'
import type { CopyPolicy, TransferResult } from '../../model/transfer.js'
import type { Transfer, TransferCall, TransferEnd, TransferRequest } from '../../ports/transfer.js'
import { settlesWithin } from '../../util/async.js'
import { AgentPlace } from '../agent/agent-place.js'
import { loadAgent } from '../agent/agent-program.js'
import { HostAgent } from '../agent/host-agent.js'
import type { TransferContext } from '../context.js'
import { openFarSide } from '../far-side.js'
import { LocalTransfer } from '../local/local.js'
import { LocalSource, type SourceFault } from '../local/local-source.js'
import { type Walked, walkSources } from '../local/local-walk.js'
import { contentSize, partsId } from '../manifest.js'
import type { ReachedHost } from '../mover.js'
import { Pace } from '../pace.js'
import type { Place } from '../place.js'
import { nameOfEnd, reach } from '../reach.js'
import { localVerdicts } from '../star/source-verdicts.js'
import { type Copied, type CopySides, copyOnce, forgetParts, hasChanged, type SourceVerdict } from '../star/star-copy.js'
import { copiedResult, failedResult, inRounds } from '../star/star-host.js'
import { StarWatch } from '../star/star-watch.js'
import { ChainRun, type ChainSettings } from './chain-run.js'
import { Gate } from './gate.js'
import { chooseAgents } from './kinds.js'
import { ChainSource, chunkSize } from './source.js'

export interface ChainOptions {
  /** How hosts reach each other. Default `tcp`: ports of their own, on the address at which this machine reached them. */
  readonly over?: 'tcp' | 'ssh' | undefined
  /** With `over: 'ssh'`: the client on the hosts, as words; port, user, address and what is to run are put behind it. */
  readonly hopCommand?: readonly string[] | undefined
  /** Milliseconds after which a host is given up that could have more and takes nothing; default 30 s. */
  readonly patienceMs?: number | undefined
  /** `given`: waits for all hosts, and links them in their order. Default: whoever is there first is first. */
  readonly order?: 'given' | undefined
  /** What may look after the files of a host, first choice first; default: all, as {@link chooseAgents} says. One without an agent, Python or Perl, is served by itself. */
  readonly kinds?: readonly ('py' | 'pl' | 'sh')[] | undefined
}

const HOP = ['ssh', '-o', 'BatchMode=yes']
const PATIENCE_MS = 30_000
/** So long a host may take to let go. */
const FAREWELL_MS = 5_000

/** What belongs to one call. */
interface Job {
  readonly request: TransferRequest
  readonly call: TransferCall
  readonly walked: Walked
  readonly source: LocalSource
  readonly pace: Pace
  /** By what they bring: hosts that need the same share a stream. */
  readonly streams: Map<string, Stream>
  readonly order: Gate | undefined
  readonly kinds: readonly ('py' | 'pl' | 'sh')[]
}

interface Stream {
  readonly run: ChainRun
  /** Looked at once, when all of it was read: whatever is read again of it has to fit what was read first. */
  changed: Promise<ReadonlyMap<number, SourceFault>> | undefined
}

/** One end, and how far its host is. */
interface Work {
  readonly job: Job
  readonly end: TransferEnd
  readonly index: number
  readonly policy: CopyPolicy
  readonly watch: StarWatch
  isReached: boolean
}

/**
 * Brings files from this machine to many hosts in the time of one: each host stores what comes and sends it on at once. Hosts that break,
 * hang or are slow are passed by; every host checks every byte.
 */
export class ChainTransfer implements Transfer {
  readonly name = 'chain'
  readonly supports = { put: true, get: false, resume: true, limit: true }
  readonly #context: TransferContext
  readonly #settings: ChainSettings
  readonly #order: 'given' | undefined
  readonly #kinds: readonly ('py' | 'pl' | 'sh')[] | undefined

  constructor(context: TransferContext, options: ChainOptions = {}) {
    const { over = 'tcp', hopCommand = HOP, patienceMs = PATIENCE_MS, order, kinds } = options
    this.#context = context
    this.#settings = { over, hopCommand, patienceMs }
    this.#order = order
    this.#kinds = kinds
  }

  async put(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    const walked = await walkSources(request.files, request.policy, call.signal)
    await using source = new LocalSource(walked.manifest, walked.paths)
    const hosts = [...request.ends.keys()].filter((index) => request.ends[index]?.host !== undefined)
    const order = this.#order === 'given' ? new Gate(hosts) : undefined
    const kinds = this.#kinds ?? [...chooseAgents(contentSize(walked.manifest), walked.manifest.length), 'sh']
    const job: Job = { request, call, walked, source, pace: new Pace(request.policy.limit), streams: new Map(), order, kinds }
    const copies = request.ends.map((end, index) => (end.host === undefined ? this.#here(job, end, index) : this.#one(job, end, index)))
    if (hosts.length > 0) void loadWhileConnecting(kinds[0])
    return await Promise.all(copies)
  }

  async get(): Promise<never> {
    throw new ConfigError('E_NOT_SUPPORTED', 'The transfer "chain" only brings files from this machine to hosts', {
      suggestions: ['To fetch files, take auto, scp, sftp or rsync'],
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #here({ request, call }: Job, end: TransferEnd, index: number): Promise<TransferResult> {
    await using local = new LocalTransfer()
    const { onProgress } = call
    const [result] = await local.put(
      { ...request, ends: [end] },
      { ...call, onProgress: (progress) => onProgress?.({ ...progress, index }) },
    )
    return result as TransferResult
  }

  /** Everything that fails here is the result of that host. */
  async #one(job: Job, end: TransferEnd, index: number): Promise<TransferResult> {
    const { clock, log } = this.#context
    const { request, walked, pace } = job
    const begun = clock.monotonic()
    const host = nameOfEnd(end)
    using watch = new StarWatch(host ?? '', index, job.call, { clock, pace })
    const work: Work = { job, end, index, policy: request.policy, watch, isReached: false }
    const frame = () => ({ host, via: this.name, bytes: watch.moved, seconds: (clock.monotonic() - begun) / 1000, leftOut: walked.leftOut })
    let result: TransferResult
    try {
      const copied = await inRounds(request.policy, clock, watch, (policy) => this.#copy(work, policy))
      result = copiedResult(frame(), copied, false)
    } catch (error) {
      result = failedResult(frame(), error, watch, work.isReached)
      log.debug({ host, error }, 'host failed')
    } finally {
      job.order?.pass(index)
    }
    watch.end(result)
    return result
  }

  async #copy(work: Work, policy: CopyPolicy): Promise<Copied> {
    const { end, watch } = work
    watch.phase('connecting')
    const reached = await reach(this.#context, end, watch.signal)
    work.isReached = true
    watch.guard()
    const agent = await this.#startAgent(reached, work.job.kinds, watch.signal)
    if (agent === undefined) return await this.#copyAlone(work, policy, reached)
    // Whether it takes what it could is for the chain to judge.
    watch.guard(() => agent.heard, true)
    try {
      return await this.#copyInChain(work, policy, agent, reached)
    } finally {
      // What was said is said: a host that does not let go holds up nobody.
      await settlesWithin(agent[Symbol.asyncDispose](), FAREWELL_MS)
    }
  }

  /** @returns undefined where only a shell can do it */
  async #startAgent(reached: ReachedHost, wanted: Job['kinds'], signal: AbortSignal): Promise<HostAgent | undefined> {
    const kinds = wanted.filter((kind) => kind !== 'sh')
    if (kinds.length === 0) return undefined
    try {
      return await HostAgent.start(reached, { signal, kinds })
    } catch (error) {
      if (!isCampaignError(error) || error.code !== 'E_AGENT' || !wanted.includes('sh')) throw error
      return undefined
    }
  }

  /** Without an agent it can give nothing on, and get nothing from others. */
  async #copyAlone(work: Work, policy: CopyPolicy, reached: ReachedHost): Promise<Copied> {
    const { job, index, watch } = work
    job.order?.pass(index)
    const { CatMover } = await import('../shell/cat.js')
    const far = await openFarSide(reached, ['sh'], watch.signal)
    watch.guard(far.heard)
    const mover = new CatMover()
    try {
      const move: CopySides['move'] = (files, parts, options) => mover.send(reached, files, parts, options)
      const copied = await copyOnce({ ...this.#sides(work, policy, far.place), move }, watch)
      if (hasChanged(copied)) await this.#forget(work, policy, () => openFarSide(reached, ['sh'], watch.signal))
      return copied
    } finally {
      await settlesWithin(Promise.resolve(far[Symbol.asyncDispose]()), FAREWELL_MS)
    }
  }

  async #copyInChain(work: Work, policy: CopyPolicy, agent: HostAgent, reached: ReachedHost): Promise<Copied> {
    const { job, index, watch } = work
    const { source, order } = job
    await using place = new AgentPlace(agent)
    let stream: Stream | undefined
    const sides: CopySides = {
      ...this.#sides(work, policy, place),
      isChecked: true,
      prepare: () => undefined,
      move: async (files, _parts, options) => {
        const indexes = files.map((file) => file.index)
        stream = this.#streamOf(job, indexes)
        let have = files.reduce((sum, file) => sum + file.offset, 0)
        const onHave = (bytes: number): void => {
          options.onBytes(bytes - have)
          have = bytes
        }
        await stream.run.receive({ agent, reached, signal: options.signal, onHave }, indexes, order && (() => order.enter(index)))
        return new Map()
      },
      verdicts: async (indexes) => {
        if (stream === undefined) return new Map()
        stream.changed ??= source.changed()
        return verdictsOf(indexes, await stream.changed)
      },
    }
    const copied = await copyOnce(sides, watch)
    if (hasChanged(copied)) await this.#forget(work, policy, async () => ({ place: new AgentPlace(agent) }))
    return copied
  }

  /** When that fails, too, something useless stays there: no reason to call anything else a failure. */
  async #forget(work: Work, policy: CopyPolicy, open: () => Promise<{ readonly place: Place }>): Promise<void> {
    try {
      const { place } = await open()
      await forgetParts(place, this.#sides(work, policy, place), work.watch.signal)
    } catch (error) {
      this.#context.log.debug({ host: nameOfEnd(work.end), error }, 'parts stay')
    }
  }

  #sides({ job, end, watch }: Work, policy: CopyPolicy, place: Place): Omit<CopySides, 'move'> {
    const { manifest, paths } = job.walked
    return {
      manifest,
      paths,
      policy,
      place,
      directory: end.directory,
      partsId: partsId(manifest, nameOfEnd(end) ?? ''),
      seed: false,
      ...localVerdicts(job.source, watch),
    }
  }

  #streamOf({ streams, walked, source, pace, request }: Job, indexes: readonly number[]): Stream {
    const key = indexes.join()
    let stream = streams.get(key)
    if (stream === undefined) {
      const secret = randomBytes(32)
      const chunk = chunkSize(contentSize(walked.manifest, indexes), request.ends.length, pace.bytesPerSecond)
      const run = new ChainRun({
        settings: this.#settings,
        source: new ChainSource(source.stream(indexes), secret, chunk),
        key: secret.toString('hex'),
        pace,
        clock: this.#context.clock,
        log: this.#context.log,
      })
      stream = { run, changed: undefined }
      streams.set(key, stream)
    }
    return stream
  }
}

/** Hosts are being reached meanwhile. Whoever starts the agent hears what is wrong with it. */
async function loadWhileConnecting(kind: Job['kinds'][number] | undefined): Promise<void> {
  await turn()
  try {
    if (kind === 'pl' || kind === 'py') loadAgent(kind)
  } catch {}
}

/** What the hosts have checked on its way needs no digest. */
function verdictsOf(indexes: readonly number[], changed: ReadonlyMap<number, SourceFault>): Map<number, SourceVerdict> {
  return new Map(
    indexes.map((index) => {
      const fault = changed.get(index)
      return [index, fault === undefined ? { sha256: undefined } : { fault }] as const
    }),
  )
}
