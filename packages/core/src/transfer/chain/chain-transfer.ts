import { setImmediate as turn } from 'node:timers/promises'
import { ConfigError } from '../../errors.js'
import type { TransferResult } from '../../model/transfer.js'
import type { Transfer, TransferCall, TransferEnd, TransferRequest } from '../../ports/transfer.js'
import { loadAgent } from '../agent/agent-program.js'
import type { TransferContext } from '../context.js'
import { LocalTransfer } from '../local/local.js'
import { LocalSource } from '../local/local-source.js'
import { walkSources } from '../local/local-walk.js'
import { contentSize } from '../manifest.js'
import { Pace } from '../pace.js'
import { nameOfEnd, reach } from '../reach.js'
import { copiedResult, failedResult, inRounds } from '../star/star-host.js'
import { StarWatch } from '../star/star-watch.js'
import type { ChainJob, ChainKind } from './chain-host.js'
import type { ChainSettings } from './chain-run.js'
import { Gate } from './gate.js'
import { chooseAgents } from './kinds.js'

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
  readonly kinds?: readonly ChainKind[] | undefined
}

const HOP = ['ssh', '-o', 'BatchMode=yes']
const PATIENCE_MS = 30_000

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
  readonly #kinds: readonly ChainKind[] | undefined

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
    const job: ChainJob = {
      context: this.#context,
      settings: this.#settings,
      request,
      walked,
      source,
      pace: new Pace(request.policy.limit),
      streams: new Map(),
      order,
      kinds,
    }
    const copies = request.ends.map((end, index) =>
      end.host === undefined ? this.#here(request, call, end, index) : this.#one(job, call, end, index),
    )
    if (hosts.length > 0) void loadWhileConnecting(kinds[0])
    return await Promise.all(copies)
  }

  async get(): Promise<never> {
    throw new ConfigError('E_NOT_SUPPORTED', 'The transfer "chain" only brings files from this machine to hosts', {
      suggestions: ['To fetch files, take auto, scp, sftp or rsync'],
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #here(request: TransferRequest, call: TransferCall, end: TransferEnd, index: number): Promise<TransferResult> {
    await using local = new LocalTransfer()
    const { onProgress } = call
    const [result] = await local.put(
      { ...request, ends: [end] },
      { ...call, onProgress: (progress) => onProgress?.({ ...progress, index }) },
    )
    return result as TransferResult
  }

  /** Everything that fails here is the result of that host. */
  async #one(job: ChainJob, call: TransferCall, end: TransferEnd, index: number): Promise<TransferResult> {
    const { clock, log } = this.#context
    const { request, walked, pace } = job
    const begun = clock.monotonic()
    const host = nameOfEnd(end)
    using watch = new StarWatch(host ?? '', index, call, { clock, pace })
    const frame = () => ({ host, via: this.name, bytes: watch.moved, seconds: (clock.monotonic() - begun) / 1000, leftOut: walked.leftOut })
    let isReached = false
    let result: TransferResult
    try {
      const copied = await inRounds(request.policy, clock, watch, async (policy) => {
        isReached = false
        watch.phase('connecting')
        const reached = await reach(this.#context, end, watch.signal)
        isReached = true
        watch.guard()
        const { copyToHost } = await import('./chain-host.js')
        return await copyToHost({ job, end, index, watch }, policy, reached)
      })
      result = copiedResult(frame(), copied, false)
    } catch (error) {
      result = failedResult(frame(), error, watch, isReached)
      log.debug({ host, error }, 'host failed')
    } finally {
      job.order?.pass(index)
    }
    watch.end(result)
    return result
  }
}

/** Hosts are being reached meanwhile. Whoever needs it hears what is wrong with it. */
async function loadWhileConnecting(kind: ChainKind | undefined): Promise<void> {
  await turn()
  try {
    if (kind === 'pl' || kind === 'py') loadAgent(kind)
    await import('./chain-host.js')
  } catch {}
}
