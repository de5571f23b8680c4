import { formatHost } from '../model/host.js'
import type { TransferResult } from '../model/transfer.js'
import type { Transfer, TransferCall, TransferProgress, TransferRequest } from '../ports/transfer.js'
import { chooseTransfer, type TransferFacts } from './auto.js'
import { walkSources } from './local/local-walk.js'
import { contentSize, type Manifest } from './manifest.js'

/** What was chosen, in words. */
export interface DriverChoice {
  readonly via: string
  readonly why: string
}

export interface AutoSettings {
  /** Makes the driver of a name, once. */
  readonly make: (name: string) => Promise<Transfer>
  /** The caller wants hosts to pass the files on. */
  readonly broadcast?: boolean | undefined
  /** Told before anything begins, and when hosts go another way. */
  readonly onChoice?: ((choice: DriverChoice) => void) | undefined
}

/** In this order hosts that cannot do what was chosen are tried again. */
const FALLBACKS: readonly string[] = ['sftp', 'scp', 'cat']
/** The way does not exist there; nothing was moved. */
const CANNOT = new Set(['E_AGENT', 'E_NOT_SUPPORTED'])

/**
 * Chooses what moves the files, by {@link chooseTransfer}. A host that turns out not to have what it takes is served in the next way that
 * may do.
 */
export class AutoTransfer implements Transfer {
  readonly name = 'auto'
  readonly supports = { put: true, get: true, resume: true, limit: true } as const
  readonly #settings: AutoSettings
  readonly #drivers = new Map<string, Promise<Transfer>>()

  constructor(settings: AutoSettings) {
    this.#settings = settings
  }

  async put(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    const hosts = hostsOf(request)
    // How much it is matters only where several hosts get it.
    const content = hosts > 1 ? contentOf((await walkSources(request.files, request.policy, call.signal)).manifest) : undefined
    return await this.#go({ direction: 'put', hosts, ...content, broadcast: this.#settings.broadcast }, request, call)
  }

  async get(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    return await this.#go({ direction: 'get', hosts: hostsOf(request) }, request, call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const drivers = [...this.#drivers.values()]
    this.#drivers.clear()
    await Promise.allSettled(drivers.map(async (driver) => (await driver)[Symbol.asyncDispose]()))
  }

  async #go(facts: TransferFacts, request: TransferRequest, call: TransferCall): Promise<readonly TransferResult[]> {
    const first = chooseTransfer(facts)
    const results: TransferResult[] = []
    let open = request.ends.map((_, index) => index)
    const names = [first.via, ...FALLBACKS.filter((name) => name !== first.via)]
    for (const [round, name] of names.entries()) {
      const isLast = round === names.length - 1
      const choice = round === 0 ? first : { via: name, why: whyNext(request, results, open) }
      this.#settings.onChoice?.(choice)
      const driver = await this.#driver(name)
      const said = await driver[facts.direction](
        { ...request, ends: open.map((index) => request.ends[index] as TransferRequest['ends'][number]) },
        { signal: call.signal, onProgress: (progress) => this.#pass(progress, open, isLast, call) },
      )
      said.forEach((result, at) => {
        results[open[at] as number] = result
      })
      const indexes: readonly number[] = open
      open = isLast ? [] : indexes.filter((index) => cannot(results[index]))
      if (open.length === 0) break
    }
    return results
  }

  /** The end of a host that is tried again is not its end. */
  #pass(progress: TransferProgress, open: readonly number[], isLast: boolean, { onProgress }: TransferCall): void {
    if (!isLast && cannot(progress.result)) return
    onProgress?.({ ...progress, index: open[progress.index] as number })
  }

  #driver(name: string): Promise<Transfer> {
    const known = this.#drivers.get(name)
    if (known !== undefined) return known
    const made = this.#settings.make(name)
    this.#drivers.set(name, made)
    return made
  }
}

function cannot(result: TransferResult | undefined): boolean {
  return result !== undefined && result.outcome !== 'done' && result.outcome !== 'skipped-same' && CANNOT.has(result.error?.code ?? '')
}

function whyNext({ ends }: TransferRequest, results: readonly TransferResult[], open: readonly number[]): string {
  const [first = 0] = open
  const host = ends[first]?.host
  const name = host === undefined ? 'this machine' : formatHost(host)
  const others = open.length > 1 ? ` and ${open.length - 1} more` : ''
  return `${name}${others}: ${results[first]?.error?.message ?? 'the way before did not exist there'}`
}

function contentOf(manifest: Manifest): Pick<TransferFacts, 'bytes' | 'files'> {
  return { bytes: contentSize(manifest), files: manifest.filter(({ kind }) => kind === 'file').length }
}

/** Different ones; this machine is none. */
function hostsOf({ ends }: TransferRequest): number {
  return new Set(ends.flatMap(({ host }) => (host === undefined ? [] : [JSON.stringify(host)]))).size
}
