import type { HostProgress, TransferResult } from '@cahier/core/hosts'

/** How far a transfer is, over all hosts. */
export interface Measured {
  readonly hosts: number
  /** All is there. */
  readonly good: number
  readonly failed: number
  readonly unreachable: number
  readonly bytes: number
  /** Undefined as long as nobody knows. */
  readonly total: number | undefined
  /** Bytes per second of the last moments; undefined before anything moved. */
  readonly rate: number | undefined
  readonly secondsLeft: number | undefined
  /** What those hosts do that are not through; `starting` before anything was heard of one. */
  readonly phase: HostProgress['phase'] | 'starting'
  /** For so long. */
  readonly phaseSeconds: number
}

interface HostState {
  readonly phase: HostProgress['phase']
  readonly bytes: number
  readonly total: number | undefined
  /** What was there before. */
  readonly before: number
  readonly result: TransferResult | undefined
}

/** The rate is that of so long a time. */
const RATE_MS = 5_000
/** The time left is told by that of so long a time: it is to be believed more than it is to be new. */
const LEFT_MS = 30_000
/** Before, buffers on the way are filled faster than anything is sent, and not all hosts have begun. */
const LEFT_AFTER_MS = 1_000
/** The first bytes that are told of took no longer. */
const FIRST_MS = 1_000
/** What comes within so long a time is one. */
const SAMPLE_MS = 100
const PHASES: readonly HostProgress['phase'][] = ['connecting', 'looking', 'moving', 'checking', 'ended']
const NEW: HostState = { phase: 'connecting', bytes: 0, total: undefined, before: 0, result: undefined }

function movedTo({ bytes, before }: HostState): number {
  return Math.max(0, bytes - before)
}

interface Sample {
  readonly at: number
  readonly moved: number
}

/** Adds up what the hosts of a transfer tell. */
export class TransferMeter {
  readonly #hosts: HostState[]
  #samples: Sample[] = []
  #phase: { readonly name: Measured['phase']; readonly since: number } | undefined
  #isHeard = false
  /** Of all hosts: bytes that came since the beginning. */
  #moved = 0

  constructor(hosts: number) {
    this.#hosts = Array.from({ length: hosts }, () => NEW)
  }

  /** @param at - milliseconds of the monotonic clock */
  take({ index, phase, bytes, total, result }: Pick<HostProgress, 'index' | 'phase' | 'bytes' | 'total' | 'result'>, at: number): void {
    this.#isHeard = true
    const known = this.#hosts[index] ?? NEW
    // What is there when the moving begins was there before.
    const before = known.phase === 'connecting' || known.phase === 'looking' ? bytes : known.before
    const host = { phase, bytes: Math.max(bytes, known.bytes), total: total ?? known.total, before, result: result ?? known.result }
    this.#hosts[index] = host
    const isFirst = this.#moved === 0
    this.#moved += movedTo(host) - movedTo(known)
    // The time of logins, and of what has to be done before the first byte, is not that of bytes.
    if (isFirst)
      this.#samples = this.#moved === 0 ? [] : this.#samples.map((sample) => ({ ...sample, at: Math.max(sample.at, at - FIRST_MS) }))
    const last = this.#samples.at(-1)
    if (last !== undefined && at - last.at < SAMPLE_MS) this.#samples[this.#samples.length - 1] = { at: last.at, moved: this.#moved }
    else this.#samples.push({ at, moved: this.#moved })
    // One sample before the window stays: the rate begins there.
    while (this.#samples.length > 2 && (this.#samples[1] as Sample).at < at - LEFT_MS) this.#samples.shift()
  }

  measure(at: number): Measured {
    const count = (fits: (result: TransferResult) => boolean): number =>
      this.#hosts.filter(({ result }) => result !== undefined && fits(result)).length
    const bytes = this.#sum((host) => host.bytes)
    const total = this.#total()
    const began = this.#samples[0]?.at ?? at
    const slow = at - began < LEFT_AFTER_MS ? undefined : this.#rate(at, LEFT_MS)
    const phase = this.#phaseNow()
    if (this.#phase?.name !== phase) this.#phase = { name: phase, since: at }
    return {
      hosts: this.#hosts.length,
      good: count(({ outcome }) => outcome === 'done' || outcome === 'skipped-same'),
      failed: count(({ outcome }) => outcome === 'failed'),
      unreachable: count(({ outcome }) => outcome === 'unreachable'),
      bytes,
      total,
      rate: this.#rate(at, RATE_MS),
      secondsLeft: total === undefined || slow === undefined || slow <= 0 ? undefined : Math.max(0, total - bytes) / slow,
      phase,
      phaseSeconds: (at - this.#phase.since) / 1000,
    }
  }

  #phaseNow(): Measured['phase'] {
    if (!this.#isHeard) return 'starting'
    const open = this.#hosts.flatMap(({ phase, result }) => (result === undefined ? [PHASES.indexOf(phase)] : []))
    return open.includes(PHASES.indexOf('moving')) ? 'moving' : (PHASES[Math.max(0, ...open)] ?? 'connecting')
  }

  /** A host that has failed is through: nothing more comes there. */
  #total(): number | undefined {
    const known = Math.max(-1, ...this.#hosts.map(({ total }) => total ?? -1))
    return known < 0 ? undefined : this.#sum(({ result, bytes, total }) => (result === undefined ? (total ?? known) : bytes))
  }

  #rate(at: number, windowMs: number): number | undefined {
    const last = this.#samples.at(-1)
    const inside = this.#samples.findIndex((sample) => sample.at >= at - windowMs)
    const first = inside < 0 ? last : this.#samples[Math.max(0, inside - 1)]
    if (first === undefined || last === undefined || last.moved === 0 || at <= first.at) return undefined
    return ((last.moved - first.moved) / (at - first.at)) * 1000
  }

  #sum(of: (host: HostState) => number): number {
    return this.#hosts.reduce((sum, host) => sum + of(host), 0)
  }
}
