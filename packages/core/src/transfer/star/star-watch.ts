import { TransferError } from '../../errors.js'
import type { TransferResult } from '../../model/transfer.js'
import type { Clock } from '../../ports/clock.js'
import type { TransferCall, TransferPhase } from '../../ports/transfer.js'
import { isAborted } from '../../util/async.js'
import { Pace } from '../pace.js'

/** Between two tellings of how far it is. */
const TELL_MS = 200
/** A host that neither takes nor gives a byte nor answers for so long is left alone. */
const STALL_MS = 60_000

/**
 * How far the copy with one host is: tells it, and ends the copy when the caller gives up or the host does nothing any more.
 */
export class StarWatch implements Disposable {
  /** Of everything that is done for this host. */
  readonly signal: AbortSignal
  /** Waiting for the limit is no standing still. */
  readonly pace: Pace
  readonly #name: string
  readonly #index: number
  readonly #call: TransferCall
  readonly #clock: Clock
  readonly #controller = new AbortController()
  readonly #onAbort = (): void => this.#controller.abort(this.#call.signal?.reason)
  #phase: TransferPhase | undefined
  #told = 0
  #bytes = 0
  #moved = 0
  #total: number | undefined
  #last: number
  /** When the host was last heard of in another way, if it says so. */
  #heard: (() => number) | undefined
  /** What is heard also moves the content. */
  #isMover = false
  /** Grows with each begin and each end of being watched. */
  #turn = 0
  #stalled: TransferError | undefined

  constructor(name: string, index: number, call: TransferCall, { clock, pace }: { readonly clock: Clock; readonly pace: Pace }) {
    this.#name = name
    this.#index = index
    this.#call = call
    this.#clock = clock
    this.#last = clock.monotonic()
    this.signal = this.#controller.signal
    this.pace = new SharedPace(pace, () => this.touch())
    call.signal?.addEventListener('abort', this.#onAbort, { once: true })
    if (isAborted(call.signal)) this.#onAbort()
  }

  /** True when the caller has given up. */
  get isGivenUp(): boolean {
    return isAborted(this.#call.signal)
  }

  /** Why this host was left alone, if it was. */
  get stalled(): TransferError | undefined {
    return this.#stalled
  }

  /** Content that was moved, in all tries. */
  get moved(): number {
    return this.#moved
  }

  /**
   * From now on the host is to do something, until it is guarded in another way or may rest.
   *
   * @param heard - when it was last heard of, in monotonic milliseconds
   * @param isMover - what is heard also moves the content, and somebody else sees to it that it does
   */
  guard(heard?: () => number, isMover = false): void {
    this.#heard = heard
    this.#isMover = isMover
    this.touch()
    this.#turn += 1
    void this.#wait(this.#turn)
  }

  /** Until it is guarded again nothing is expected of the host: it is for others to let us go on. */
  rest(): void {
    this.#turn += 1
  }

  /** Something came or went. */
  touch(): void {
    this.#last = this.#clock.monotonic()
  }

  phase(phase: TransferPhase): void {
    this.touch()
    this.#tell(phase)
  }

  /** What is there already, and what is to be. */
  begin(there: number, total: number): void {
    this.#bytes = there
    this.#total = total
  }

  onBytes(bytes: number): void {
    this.touch()
    this.#moved += bytes
    this.#bytes = Math.min(this.#bytes + bytes, this.#total ?? Number.POSITIVE_INFINITY)
    this.#tell('moving')
  }

  end(result: TransferResult): void {
    this.#tell('ended', result)
  }

  [Symbol.dispose](): void {
    this.#call.signal?.removeEventListener('abort', this.#onAbort)
    this.#controller.abort()
  }

  async #wait(turn: number): Promise<void> {
    for (;;) {
      if (turn !== this.#turn) return
      // While content moves, what looks after files there answers though what moves them hangs.
      const last = this.#phase === 'moving' && !this.#isMover ? this.#last : Math.max(this.#last, this.#heard?.() ?? 0)
      const left = last + STALL_MS - this.#clock.monotonic()
      if (left <= 0) break
      try {
        await this.#clock.sleep(left, { signal: this.signal, unref: true })
      } catch {
        return
      }
    }
    this.#stalled = new TransferError('E_COPY_STALLED', `${this.#name} took and said nothing for ${STALL_MS / 1000} s`, {
      suggestions: [
        'Look whether its disk answers (a network file system that hangs), then ask again: what came is kept',
        'Look whether it gives two sessions on a connection: connection.sessions, or MaxSessions of its sshd',
      ],
    })
    this.#controller.abort(this.#stalled)
  }

  #tell(phase: TransferPhase, result?: TransferResult): void {
    const now = this.#clock.monotonic()
    const { onProgress } = this.#call
    const isNew = phase !== this.#phase
    this.#phase = phase
    if (onProgress === undefined || (!isNew && now - this.#told < TELL_MS)) return
    this.#told = now
    onProgress({ index: this.#index, phase, bytes: this.#bytes, total: this.#total, ...(result === undefined ? {} : { result }) })
  }
}

/** The pace of all hosts, seen from one. */
class SharedPace extends Pace {
  readonly #shared: Pace
  readonly #touch: () => void

  constructor(shared: Pace, touch: () => void) {
    super(shared.bytesPerSecond)
    this.#shared = shared
    this.#touch = touch
  }

  override async take(bytes: number, signal?: AbortSignal): Promise<void> {
    await this.#shared.take(bytes, signal)
    this.#touch()
  }
}
