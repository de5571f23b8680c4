import type { ErrorCode } from '../../error-codes.js'
import { isCampaignError } from '../../errors.js'
import type { CopyPolicy, LeftOut, TransferResult } from '../../model/transfer.js'
import type { Transfer, TransferCall, TransferEnd, TransferRequest, TransferSupports } from '../../ports/transfer.js'
import { settlesWithin } from '../../util/async.js'
import type { TransferContext } from '../context.js'
import { type FarKind, type FarSide, openFarSide } from '../far-side.js'
import { LocalTransfer } from '../local/local.js'
import { LocalPlace } from '../local/local-place.js'
import { LocalSource } from '../local/local-source.js'
import { type Walked, walkSources } from '../local/local-walk.js'
import { type Manifest, partsId } from '../manifest.js'
import type { Mover, ReachedHost } from '../mover.js'
import { eachAtOnce } from '../mover-parts.js'
import { Pace } from '../pace.js'
import type { Place } from '../place.js'
import { nameOfEnd, reach } from '../reach.js'
import { localVerdicts, remoteVerdicts } from './source-verdicts.js'
import { type Copied, copyOnce, forgetParts, hasChanged } from './star-copy.js'
import { copiedResult, failedResult, inRounds, isLostOrKilled } from './star-host.js'
import { StarWatch } from './star-watch.js'
import { enterCopy, withSecondSession } from './two-sessions.js'

export type { FarKind } from '../far-side.js'

export interface StarSettings {
  /** Of the driver. */
  readonly name: string
  readonly mover: Mover
  /** Hosts at a time; default 16. */
  readonly concurrency?: number | undefined
  /** Default: all, `sftp` only with a mover that speaks it. */
  readonly kinds?: readonly FarKind[] | undefined
  /** Of the mover: goes on in the middle of a file. Default true. */
  readonly resume?: boolean | undefined
}

const CONCURRENCY = 16
/** So long a host may take to let go. */
const FAREWELL_MS = 5_000

/** A program ended in the middle of its work. */
const ENDED = new Set<ErrorCode>(['E_TRANSFER', 'E_COPY_LOST', 'E_STDIN', 'E_HOST_PROTOCOL'])
const LOST_MS = 1_000

type End = TransferEnd & { readonly host: NonNullable<TransferEnd['host']> }

/** One end, and what is known of the work with it. */
interface Work {
  readonly end: End
  readonly policy: CopyPolicy
  readonly watch: StarWatch
  /** Told as soon as it is known. */
  leftOut: readonly LeftOut[]
  isReached: boolean
}

/**
 * Copies between this machine and each host by itself, several hosts at a time: a mover brings the content, and the place on the other
 * side looks, checks and puts things where they belong.
 */
export class StarTransfer implements Transfer {
  readonly name: string
  readonly supports: TransferSupports
  readonly #context: TransferContext
  readonly #mover: Mover
  readonly #concurrency: number
  readonly #kinds: readonly FarKind[]

  constructor(context: TransferContext, settings: StarSettings) {
    const { name, mover, concurrency = CONCURRENCY, resume = true } = settings
    this.name = name
    this.supports = { put: true, get: true, resume, limit: true }
    this.#context = context
    this.#mover = mover
    this.#concurrency = concurrency
    this.#kinds = settings.kinds ?? (mover.name === 'sftp' ? ['py', 'pl', 'sh', 'sftp'] : ['py', 'pl', 'sh'])
  }

  async put(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    const walked = await walkSources(request.files, request.policy, call.signal)
    await using source = new LocalSource(walked.manifest, walked.paths)
    return await this.#each(request, 'put', call, (work) => this.#put(work, walked, source))
  }

  get(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    return this.#each(request, 'get', call, (work) => this.#get(work, request))
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #each(
    request: TransferRequest,
    verb: 'put' | 'get',
    call: TransferCall,
    copy: (work: Work) => Promise<Copied>,
  ): Promise<TransferResult[]> {
    const { ends, policy } = request
    const pace = new Pace(policy.limit)
    const results: TransferResult[] = []
    await eachAtOnce(ends.entries(), this.#concurrency, async ([index, end]) => {
      results[index] = isHost(end)
        ? await this.#one({ end, index, policy, pace, verb, call, copy })
        : await copyHere(verb, { ...request, ends: [end] }, index, call)
    })
    return results
  }

  /** Everything that fails here is the result of that host. */
  async #one(job: {
    readonly end: End
    readonly index: number
    readonly policy: CopyPolicy
    readonly pace: Pace
    readonly verb: 'put' | 'get'
    readonly call: TransferCall
    readonly copy: (work: Work) => Promise<Copied>
  }): Promise<TransferResult> {
    const { end, index, policy, pace, call } = job
    const { clock } = this.#context
    const begun = clock.monotonic()
    const host = nameOfEnd(end)
    using watch = new StarWatch(host ?? '', index, call, { clock, pace })
    const work: Work = { end, policy, watch, leftOut: [], isReached: false }
    const frame = () => {
      const seconds = (clock.monotonic() - begun) / 1000
      return { host, via: this.name, bytes: watch.moved, seconds, leftOut: work.leftOut }
    }
    let result: TransferResult
    try {
      const copied = await job.copy(work)
      result = copiedResult(frame(), copied, job.verb === 'get')
    } catch (error) {
      result = failedResult(frame(), error, watch, work.isReached)
      this.#context.log.debug({ host, error }, 'host failed')
    }
    watch.end(result)
    return result
  }

  async #put(work: Work, { manifest, paths, leftOut }: Walked, source: LocalSource): Promise<Copied> {
    const { end, watch } = work
    const input = { manifest, directory: end.directory, partsId: partsId(manifest, nameOfEnd(end) ?? '') }
    work.leftOut = leftOut
    const once = (policy: CopyPolicy) =>
      this.#withFarSide(work, (reached, far) =>
        copyOnce(
          {
            ...input,
            paths,
            policy,
            place: far.place,
            seed: this.#mover.seed,
            move: (files, parts, options) =>
              whileHeld(far.place, options.signal, (held) =>
                withSecondSession(reached, held, (signal) => this.#mover.send(reached, files, parts, { ...options, signal })),
              ),
            ...localVerdicts(source, watch),
          },
          watch,
        ),
      )
    const copied = await inRounds(work.policy, this.#context.clock, watch, once, isLostOrKilled)
    if (hasChanged(copied)) {
      // When that fails, too, something useless stays there: no reason to call anything else a failure.
      const forget = (_: ReachedHost, far: FarSide) => forgetParts(far.place, { ...input, policy: work.policy }, watch.signal)
      await this.#withFarSide(work, forget).catch(() => {})
    }
    return copied
  }

  #get(work: Work, request: TransferRequest): Promise<Copied> {
    const { end, watch } = work
    const once = (policy: CopyPolicy) =>
      this.#withFarSide(work, async (reached, far) => {
        watch.phase('looking')
        const { manifest, paths, leftOut } = await far.source.list(request.files, policy, watch.signal)
        work.leftOut = leftOut
        await using place = new LocalPlace()
        const input = { manifest, directory: end.directory, partsId: partsId(manifest, nameOfEnd(end) ?? '') }
        const copied = await copyOnce(
          {
            ...input,
            paths,
            policy,
            place,
            seed: this.#mover.seed,
            move: (files, parts, options) => {
              const receive = (signal: AbortSignal) => this.#mover.receive(reached, files, parts, { ...options, signal })
              // A shell that has said what there is is not needed meanwhile.
              return far.kind === 'sh' ? receive(options.signal) : withSecondSession(reached, options.signal, receive)
            },
            ...remoteVerdicts(far.source, filesOf(manifest), policy, watch),
          },
          watch,
        )
        if (hasChanged(copied)) await forgetParts(new LocalPlace(), { ...input, policy }, watch.signal).catch(() => {})
        return copied
      })
    return inRounds(work.policy, this.#context.clock, watch, once, isLostOrKilled)
  }

  async #withFarSide<T>(work: Work, use: (reached: ReachedHost, far: FarSide) => Promise<T>): Promise<T> {
    const { end, watch } = work
    watch.phase('connecting')
    work.isReached = false
    const reached = await reach(this.#context, end, watch.signal)
    work.isReached = true
    watch.rest()
    using _turn = await enterCopy(reached, watch.signal)
    watch.guard()
    const far = await openFarSide(reached, this.#kinds, watch.signal)
    watch.guard(far.heard)
    try {
      return await use(reached, far)
    } catch (error) {
      throw await reasonOf(error, reached)
    } finally {
      // What was said is said: a host that does not let go holds up nobody.
      await settlesWithin(Promise.resolve(far[Symbol.asyncDispose]()), FAREWELL_MS)
    }
  }
}

/** Moves content into parts only as long as the place holds them: when it has ended, somebody else may be about to use them. */
async function whileHeld<T>({ ended }: Place, signal: AbortSignal, move: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  void ended?.then((error) => error !== undefined && controller.abort(error))
  try {
    return await move(AbortSignal.any([signal, controller.signal]))
  } catch (error) {
    controller.signal.throwIfAborted()
    throw error
  }
}

/** A program whose connection goes away ends, and that may be heard of first. */
async function reasonOf(error: unknown, { pooled }: ReachedHost): Promise<unknown> {
  if (!isCampaignError(error) || !ENDED.has(error.code)) return error
  const { lost } = pooled.connection
  return (await settlesWithin(lost, LOST_MS)) ? await lost : error
}

function isHost(end: TransferEnd): end is End {
  return end.host !== undefined
}

function filesOf(manifest: Manifest): number[] {
  return manifest.flatMap(({ kind }, index) => (kind === 'file' ? [index] : []))
}

async function copyHere(verb: 'put' | 'get', request: TransferRequest, index: number, call: TransferCall): Promise<TransferResult> {
  await using local = new LocalTransfer()
  const { onProgress } = call
  const [result] = await local[verb](request, { ...call, onProgress: (progress) => onProgress?.({ ...progress, index }) })
  return result as TransferResult
}
