import { ProcessError } from '../../errors.js'
import { type Deferred, makeDeferred, settlesWithin } from '../../util/async.js'
import { FrameReader, FrameWriter, type RunnerFrame } from './frames.js'
import { type Hello, HelloReader } from './hello.js'
import { type RequestWriter, requestsFor } from './requests.js'
import { RUNNER_PROTOCOL, type RunnerKind } from './runner-program.js'
import type { RunnerTransport, TransportEnd } from './transport.js'

/** What was taken in is acknowledged, and what was sent is asked about, at least every so many bytes. */
const ACKNOWLEDGE_BYTES = 262_144
/** Signs of life that are asked for in the time of a lease. */
const BEATS = 4
/** The runner ends what it started before it ends itself. */
const CLOSE_MS = 15_000
/** A runner that has not answered for so long is not waited for once everything is to end. */
const NOBODY_MS = 5_000
/** Of what was said instead of a hello, in the message. */
const NOISE_SHOWN = 300

/** What the runner said in its hello; what a relay needs to find it again. */
export interface RunnerPlace {
  readonly pid: number
  readonly directory: string
}

export interface RunnerLoss extends TransportEnd {
  /**
   * `runner`: there never was a hello, or it was of another version, or nonsense came: this runner cannot be had there, try the next
   * kind. `link`: it spoke before; `resume` may take it up again.
   */
  readonly what: 'runner' | 'link'
}

export interface LinkOptions {
  readonly transport: RunnerTransport
  readonly kind: RunnerKind
  /** As given to the runner at its start; see `makeToken`. */
  readonly token: string
  /** As given to the runner; 0: it ends with its transport, and nothing can be resumed. */
  readonly leaseMs: number
  /** For messages; absent for this machine. */
  readonly host?: string
}

export interface LinkEvents {
  readonly onFrame: (frame: RunnerFrame) => void
  /** Called once for each transport that ended, or was given up because nonsense came over it. */
  readonly onLost: (loss: RunnerLoss) => void
}

/**
 * The two streams of bytes between us and a runner, over one transport after the other. Requests of one turn of the event loop are
 * one write. With a lease, requests are kept until the runner has taken them.
 */
export class RunnerLink {
  /** Rejects with ProcessError `E_RUNNER` (`E_HELPER` without a host) when there is no hello. */
  readonly ready: Promise<RunnerPlace>
  readonly requests: RequestWriter
  readonly #options: LinkOptions
  readonly #events: LinkEvents
  readonly #ready = makeDeferred<RunnerPlace>()
  readonly #out = new FrameWriter()
  readonly #reader: FrameReader
  #transport: RunnerTransport
  /** `cut`: without a transport, for as long as the lease lasts. */
  #state: 'opening' | 'open' | 'cut' | 'over' = 'opening'
  #place: RunnerPlace | undefined
  #onEnd: (() => void) | undefined
  /** A try to go on that nobody has answered. */
  #resuming: Deferred<void> | undefined
  #flushing = false
  #pingWanted = false
  /** Since when a sign of life is waited for. */
  #askedAt: number | undefined
  #referenced = false
  #holds = 0
  #received = 0
  #acknowledged = 0
  #sent = 0
  #kept: Buffer[] = []
  #keptBytes = 0
  /** How much had been sent with each ping that is not answered. */
  #pings: number[] = []
  #heartbeat: NodeJS.Timeout | undefined
  /** Beats since something came. */
  #unanswered = 0

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options
    this.#events = events
    this.#transport = options.transport
    this.requests = requestsFor(options.kind)
    this.ready = this.#ready.promise
    this.ready.catch(() => {})
    this.#reader = new FrameReader(options.token, (frame) => this.#take(frame))
    this.#listen(
      options.transport,
      (hello, rest) => {
        this.#place = { pid: hello.pid, directory: hello.directory }
        this.#open()
        this.#ready.resolve(this.#place)
        this.#read(rest)
      },
      (end, noise) => this.#fail(end, noise),
    )
  }

  /** Nothing can be asked any more. */
  get lost(): boolean {
    return this.#state === 'over'
  }

  /** Nothing is read now, and there may be something to read. */
  get held(): boolean {
    return this.#state === 'cut' || (this.#state === 'open' && this.#holds > 0)
  }

  /** Requests are written to this and leave together; while the link is cut they wait. */
  send(write: (out: FrameWriter) => void): void {
    if (this.#state === 'over') return
    write(this.#out)
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  /** Asks for a sign of life, which `silentMs` then waits for. */
  probe(): void {
    if (this.#options.leaseMs === 0) return
    this.#askedAt ??= performance.now()
    this.#pingWanted = true
    this.send(() => {})
  }

  /** For how long a sign of life that `probe` asked for has not come. */
  get silentMs(): number {
    return this.#askedAt === undefined || this.#holds > 0 ? 0 : performance.now() - this.#askedAt
  }

  /** No more is asked about a command. What has come is acknowledged with it, so that a runner without commands keeps nothing. */
  forget(id: number): void {
    this.send((out) => {
      if (this.#options.leaseMs > 0) this.#acknowledge(out)
      this.requests.forget(out, id)
    })
  }

  /** Reads no more until the promise resolves. */
  pauseUntil(ready: Promise<void>): void {
    this.#holds += 1
    if (this.#state === 'open') this.#transport.pause()
    void ready.then(() => {
      this.#holds -= 1
      if (this.#askedAt !== undefined) this.#askedAt = performance.now()
      if (this.#holds === 0 && this.#state === 'open') this.#transport.resume()
    })
  }

  /** While something runs, the program must not end by itself. */
  ref(): void {
    this.#referenced = true
    if (this.#state !== 'over') this.#transport.ref()
  }

  unref(): void {
    this.#referenced = false
    if (this.#state !== 'over') this.#transport.unref()
  }

  /**
   * Goes on over a transport to a relay.
   *
   * @throws ProcessError `E_RUNNER` when the runner is not found there; another transport may be tried
   */
  async resume(transport: RunnerTransport): Promise<void> {
    if (this.#state === 'over' || this.#place === undefined) throw this.#error('it was given up before')
    // What was tried before is over, too.
    this.#cut()
    this.#resuming?.reject(this.#error('another try was made meanwhile'))
    const found = makeDeferred<void>()
    this.#resuming = found
    this.#transport = transport
    this.#listen(
      transport,
      (hello, rest) => {
        if (hello.pid !== this.#place?.pid || !this.#dropTaken(hello.received)) {
          transport.close()
          found.reject(this.#error('it is another one, or does not remember what it was asked'))
          return
        }
        this.#open()
        for (const bytes of this.#kept) transport.write(bytes)
        found.resolve()
        this.#read(rest)
      },
      (end, noise) => {
        if (this.#state === 'open') this.#fail(end, noise)
        else found.reject(this.#error(explain(end, noise)))
      },
    )
    const first = new FrameWriter()
    this.requests.acknowledge(first, this.#received)
    transport.write(first.take())
    this.#acknowledged = this.#received
    try {
      await found.promise
    } finally {
      if (this.#resuming === found) this.#resuming = undefined
    }
  }

  /** Gives up for ever. */
  giveUp(): void {
    if (this.#state === 'over') return
    clearInterval(this.#heartbeat)
    this.#state = 'over'
    this.#transport.close()
    this.#kept = []
    const error = this.#error('it was given up')
    this.#ready.reject(error)
    this.#resuming?.reject(error)
  }

  /** Lets the runner end what it started, and itself; `patient`: and waits for that. */
  async close({ patient }: { readonly patient: boolean }): Promise<void> {
    // Nobody is there who could end anything: its lease does.
    if (this.#state !== 'open' || this.silentMs >= NOBODY_MS) {
      this.giveUp()
      return
    }
    const gone = new Promise<void>((resolve) => {
      this.#onEnd = resolve
    })
    this.ref()
    this.requests.quit(this.#out)
    this.#flush()
    this.#transport.end()
    if (patient) await settlesWithin(gone, CLOSE_MS)
    this.giveUp()
  }

  #open(): void {
    this.#state = 'open'
    if (this.#referenced) this.#transport.ref()
    if (this.#holds > 0) this.#transport.pause()
    const { leaseMs } = this.#options
    if (leaseMs === 0) return
    this.#unanswered = 0
    this.#heartbeat = setInterval(() => {
      if (this.#holds > 0) this.#unanswered = 0
      else if (this.#unanswered >= BEATS) {
        // A runner that was stopped, or hangs: its channel would stay open for ever.
        this.#transport.close()
        this.#fail({ reason: `it has said nothing for ${leaseMs / 1000} s`, stderr: '' }, '')
        return
      }
      this.#unanswered += 1
      this.#pingWanted = true
      this.send((out) => this.#acknowledge(out))
    }, leaseMs / BEATS)
    this.#heartbeat.unref()
  }

  /** Lets go of the transport. */
  #cut(): void {
    clearInterval(this.#heartbeat)
    if (this.#state === 'opening' || this.#state === 'open' || this.#resuming !== undefined) {
      this.#state = 'cut'
      this.#transport.close()
    }
  }

  #listen(
    transport: RunnerTransport,
    onHello: (hello: Hello, rest: Buffer) => void,
    onEnd: (end: TransportEnd, noise: string) => void,
  ): void {
    const hellos = new HelloReader(this.#options.token)
    let greeted = false
    let ended = false
    const finish = (end: TransportEnd): void => {
      if (ended || transport !== this.#transport) return
      ended = true
      onEnd(end, greeted ? '' : hellos.noise)
    }
    transport.listen({
      onData: (chunk) => {
        if (ended || transport !== this.#transport) return
        try {
          if (greeted) {
            this.#read(chunk)
            return
          }
          const found = hellos.push(chunk)
          if (found === undefined) return
          if (found.hello.version !== RUNNER_PROTOCOL) throw new Error(`it speaks version ${found.hello.version} of the protocol`)
          greeted = true
          onHello(found.hello, found.rest)
        } catch (error) {
          transport.close()
          if (greeted) this.#fail({ reason: `it answered nonsense: ${(error as Error).message}`, stderr: '' }, '', 'runner')
          else finish({ reason: (error as Error).message, stderr: '' })
          ended = true
        }
      },
      onEnd: finish,
    })
  }

  /** @throws Error when what came is no frame */
  #read(bytes: Buffer): void {
    if (bytes.length === 0 || this.#state !== 'open') return
    this.#received += bytes.length
    this.#askedAt = undefined
    this.#unanswered = 0
    this.#reader.push(bytes)
    if (this.#options.leaseMs > 0 && this.#received - this.#acknowledged >= ACKNOWLEDGE_BYTES) this.send((out) => this.#acknowledge(out))
  }

  #take(frame: RunnerFrame): void {
    if (frame.type !== 'P') this.#events.onFrame(frame)
    else this.#dropTaken(this.#pings.shift() ?? 0)
  }

  #acknowledge(out: FrameWriter): void {
    if (this.#received === this.#acknowledged) return
    this.#acknowledged = this.#received
    this.requests.acknowledge(out, this.#received)
  }

  #flush(): void {
    if (this.#state === 'over') return
    const keeps = this.#options.leaseMs > 0
    if (keeps && (this.#pingWanted || this.#sent - (this.#pings.at(-1) ?? 0) >= ACKNOWLEDGE_BYTES)) {
      this.#pingWanted = false
      this.requests.ping(this.#out)
      this.#pings.push(this.#sent + this.#out.used)
    }
    if (this.#out.empty) return
    const bytes = this.#out.take()
    this.#sent += bytes.length
    if (keeps) {
      this.#kept.push(bytes)
      this.#keptBytes += bytes.length
    }
    if (this.#state === 'open') this.#transport.write(bytes)
  }

  /** Requests up to here were taken. False when they are not kept any more, or were never sent. */
  #dropTaken(offset: number): boolean {
    let surplus = offset - (this.#sent - this.#keptBytes)
    if (!(offset <= this.#sent)) return false
    if (surplus < 0) return this.#state === 'open'
    while (surplus > 0) {
      const first = this.#kept.shift() as Buffer
      const dropped = Math.min(surplus, first.length)
      if (dropped < first.length) this.#kept.unshift(first.subarray(dropped))
      this.#keptBytes -= dropped
      surplus -= dropped
    }
    return true
  }

  #fail(end: TransportEnd, noise: string, what: RunnerLoss['what'] = this.#state === 'open' ? 'link' : 'runner'): void {
    if (this.#state === 'over' || this.#state === 'cut') return
    const spoke = this.#state === 'open'
    clearInterval(this.#heartbeat)
    this.#state = what === 'link' && this.#options.leaseMs > 0 ? 'cut' : 'over'
    const reason = explain(end, noise)
    if (!spoke) this.#ready.reject(this.#error(reason))
    this.#onEnd?.()
    this.#events.onLost({ ...end, reason, what })
  }

  #error(reason: string): ProcessError {
    const { host } = this.#options
    return host === undefined
      ? new ProcessError('E_HELPER', `The helper that starts processes is gone: ${reason}`)
      : new ProcessError('E_RUNNER', `The runner on ${host} is not there: ${reason}`)
  }
}

function explain(end: TransportEnd, noise: string): string {
  const said = [end.stderr, noise].filter((text) => text !== '').join('\n')
  return said === '' ? end.reason : `${end.reason}; it said: ${JSON.stringify(said.slice(0, NOISE_SHOWN))}`
}
