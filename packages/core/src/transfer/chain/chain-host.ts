import { randomBytes } from 'node:crypto'
import { isCampaignError } from '../../errors.js'
import type { CopyPolicy } from '../../model/transfer.js'
import type { TransferEnd, TransferRequest } from '../../ports/transfer.js'
import { settlesWithin } from '../../util/async.js'
import { AgentPlace } from '../agent/agent-place.js'
import { HostAgent } from '../agent/host-agent.js'
import type { TransferContext } from '../context.js'
import { openFarSide } from '../far-side.js'
import type { LocalSource, SourceFault } from '../local/local-source.js'
import type { Walked } from '../local/local-walk.js'
import { contentSize, partsId } from '../manifest.js'
import type { ReachedHost } from '../mover.js'
import type { Pace } from '../pace.js'
import type { Place } from '../place.js'
import { nameOfEnd } from '../reach.js'
import { localVerdicts } from '../star/source-verdicts.js'
import { type Copied, type CopySides, copyOnce, forgetParts, hasChanged, type SourceVerdict } from '../star/star-copy.js'
import type { StarWatch } from '../star/star-watch.js'
import { ChainRun, type ChainSettings } from './chain-run.js'
import type { Gate } from './gate.js'
import { ChainSource, chunkSize } from './source.js'

/** What may look after the files of a host. */
export type ChainKind = 'py' | 'pl' | 'sh'

/** What belongs to one call. */
export interface ChainJob {
  readonly context: TransferContext
  readonly settings: ChainSettings
  readonly request: TransferRequest
  readonly walked: Walked
  readonly source: LocalSource
  readonly pace: Pace
  /** By what they bring: hosts that need the same share a stream. */
  readonly streams: Map<string, ChainStream>
  readonly order: Gate | undefined
  readonly kinds: readonly ChainKind[]
}

interface ChainStream {
  readonly run: ChainRun
  /** Looked at once, when all of it was read: whatever is read again of it has to fit what was read first. */
  changed: Promise<ReadonlyMap<number, SourceFault>> | undefined
}

/** One end, and how far its host is. */
export interface ChainWork {
  readonly job: ChainJob
  readonly end: TransferEnd
  readonly index: number
  readonly watch: StarWatch
}

/** So long a host may take to let go. */
const FAREWELL_MS = 5_000

/** One try with a host that was reached: it takes its place in the chain, or is served by itself when only a shell can be had there. */
export async function copyToHost(work: ChainWork, policy: CopyPolicy, reached: ReachedHost): Promise<Copied> {
  const { watch } = work
  const agent = await startAgent(reached, work.job.kinds, watch.signal)
  if (agent === undefined) return await copyAlone(work, policy, reached)
  // Whether it takes what it could is for the chain to judge.
  watch.guard(() => agent.heard, true)
  try {
    return await copyInChain(work, policy, agent, reached)
  } finally {
    // What was said is said: a host that does not let go holds up nobody.
    await settlesWithin(agent[Symbol.asyncDispose](), FAREWELL_MS)
  }
}

/** @returns undefined where only a shell can do it */
async function startAgent(reached: ReachedHost, wanted: readonly ChainKind[], signal: AbortSignal): Promise<HostAgent | undefined> {
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
async function copyAlone(work: ChainWork, policy: CopyPolicy, reached: ReachedHost): Promise<Copied> {
  const { job, index, watch } = work
  job.order?.pass(index)
  const { CatMover } = await import('../shell/cat.js')
  const far = await openFarSide(reached, ['sh'], watch.signal)
  watch.guard(far.heard)
  const mover = new CatMover()
  try {
    const move: CopySides['move'] = (files, parts, options) => mover.send(reached, files, parts, options)
    const copied = await copyOnce({ ...sidesOf(work, policy, far.place), move }, watch)
    if (hasChanged(copied)) await forget(work, policy, () => openFarSide(reached, ['sh'], watch.signal))
    return copied
  } finally {
    await settlesWithin(Promise.resolve(far[Symbol.asyncDispose]()), FAREWELL_MS)
  }
}

async function copyInChain(work: ChainWork, policy: CopyPolicy, agent: HostAgent, reached: ReachedHost): Promise<Copied> {
  const { job, index, watch } = work
  const { source, order } = job
  await using place = new AgentPlace(agent)
  let stream: ChainStream | undefined
  const sides: CopySides = {
    ...sidesOf(work, policy, place),
    isChecked: true,
    prepare: () => undefined,
    move: async (files, _parts, options) => {
      const indexes = files.map((file) => file.index)
      stream = streamOf(job, indexes)
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
  if (hasChanged(copied)) await forget(work, policy, async () => ({ place: new AgentPlace(agent) }))
  return copied
}

/** When that fails, too, something useless stays there: no reason to call anything else a failure. */
async function forget(work: ChainWork, policy: CopyPolicy, open: () => Promise<{ readonly place: Place }>): Promise<void> {
  try {
    const { place } = await open()
    await forgetParts(place, sidesOf(work, policy, place), work.watch.signal)
  } catch (error) {
    work.job.context.log.debug({ host: nameOfEnd(work.end), error }, 'parts stay')
  }
}

function sidesOf({ job, end, watch }: ChainWork, policy: CopyPolicy, place: Place): Omit<CopySides, 'move'> {
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

function streamOf({ context, settings, streams, walked, source, pace, request }: ChainJob, indexes: readonly number[]): ChainStream {
  const key = indexes.join()
  let stream = streams.get(key)
  if (stream === undefined) {
    const secret = randomBytes(32)
    const chunk = chunkSize(contentSize(walked.manifest, indexes), request.ends.length, pace.bytesPerSecond)
    const { clock, log } = context
    const run = new ChainRun({
      settings,
      source: new ChainSource(source.stream(indexes), secret, chunk),
      key: secret.toString('hex'),
      pace,
      clock,
      log,
    })
    stream = { run, changed: undefined }
    streams.set(key, stream)
  }
  return stream
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
