import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { ProcessError } from '../../errors.js'
import { makeDeferred } from '../../util/async.js'
import { FrameReader, FrameWriter, type RunnerFrame } from './frames.js'
import { type RequestWriter, requestsFor } from './requests.js'
import { RUNNER_PROTOCOL, type RunnerProgram } from './runner-program.js'

/** Seconds that the runner gives its children when we are gone. */
const LAST_GRACE_SECONDS = 5

export interface LinkEvents {
  readonly onFrame: (frame: RunnerFrame) => void
  /** The runner ended, or answered nonsense and was ended. Called once. */
  readonly onLoss: (reason: string) => void
}

/** One runner and the two pipes to it. Requests of one turn of the event loop are one write. */
export class HelperLink {
  readonly ready: Promise<void>
  readonly requests: RequestWriter
  readonly #child: ChildProcessByStdio<Socket, Socket, null>
  readonly #out = new FrameWriter()
  readonly #inherited: Readonly<Record<string, string | undefined>> = { ...process.env }
  readonly #ready = makeDeferred<void>()
  readonly #events: LinkEvents
  #flushing = false
  #changes: [string, string | undefined][] | undefined
  #holds = 0
  #lost = false
  /** A folder of the shell runner's own. */
  directory = ''

  constructor(program: RunnerProgram, events: LinkEvents) {
    this.#events = events
    this.requests = requestsFor(program.kind)
    this.ready = this.#ready.promise
    this.ready.catch(() => {})
    // Its own session: the terminal's Ctrl-C is for us. Its standard error is ours: it has nothing to say there.
    this.#child = spawn(program.command[0], [...program.command.slice(1), '0', String(LAST_GRACE_SECONDS)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    }) as unknown as ChildProcessByStdio<Socket, Socket, null>
    const reader = new FrameReader((frame) => this.#take(frame))
    this.#child.once('error', (error) => this.#lose(`it did not start: ${error.message}`))
    this.#child.once('exit', (code, signal) => this.#afterExit(`it ended with ${signal ?? `exit code ${code}`}`))
    if (this.#child.pid === undefined) return
    this.#child.stdin.on('error', () => {})
    this.#child.stdout.on('error', () => {})
    this.#child.stdout.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk)
      } catch (error) {
        this.#child.kill('SIGKILL')
        this.#lose(`it answered nonsense: ${(error as Error).message}`)
      }
    })
    this.unref()
  }

  get lost(): boolean {
    return this.#lost
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Requests are written to this and leave together. */
  send(write: (out: FrameWriter) => void): void {
    if (this.#lost) return
    write(this.#out)
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      this.#changes = undefined
      if (!this.#lost) this.#child.stdin.write(this.#out.take())
    })
  }

  /** What changed in our environment since the runner inherited it. */
  environmentChanges(): readonly [string, string | undefined][] {
    if (this.#changes === undefined) {
      const now = { ...process.env }
      const changes: [string, string | undefined][] = []
      for (const name of Object.keys(now)) if (now[name] !== this.#inherited[name]) changes.push([name, now[name]])
      for (const name of Object.keys(this.#inherited)) if (now[name] === undefined) changes.push([name, undefined])
      this.#changes = changes
      // Asked again in the next turn, also when nothing is sent in this one.
      if (!this.#flushing) setImmediate(() => (this.#changes = undefined))
    }
    return this.#changes
  }

  /** Reads no more until the promise resolves. */
  pauseUntil(ready: Promise<void>): void {
    this.#holds += 1
    this.#child.stdout.pause()
    void ready.then(() => {
      this.#holds -= 1
      if (this.#holds === 0 && !this.#lost) this.#child.stdout.resume()
    })
  }

  /** While something runs, the program must not end by itself. */
  ref(): void {
    if (this.#child.pid === undefined) return
    this.#child.ref()
    this.#child.stdin.ref()
    this.#child.stdout.ref()
  }

  unref(): void {
    if (this.#child.pid === undefined) return
    this.#child.unref()
    this.#child.stdin.unref()
    this.#child.stdout.unref()
  }

  /** Lets the runner end what it started, and itself. */
  async close(): Promise<void> {
    if (this.#lost) return
    const gone = new Promise<void>((resolve) => this.#child.once('close', () => resolve()))
    this.ref()
    this.#child.stdin.end(this.#out.take())
    await gone
  }

  #take(frame: RunnerFrame): void {
    if (frame.type !== 'H') {
      this.#events.onFrame(frame)
      return
    }
    const [version, , , directory] = frame.payload.toString('utf8').split(' ')
    if (Number(version) === RUNNER_PROTOCOL) {
      this.directory = directory ?? ''
      this.#ready.resolve()
    } else {
      this.#child.kill('SIGKILL')
      this.#lose(`it speaks version ${version} of the protocol`)
    }
  }

  /** What it said before its end is read first. */
  #afterExit(reason: string): void {
    const finish = (): void => this.#lose(reason)
    if (this.#child.stdout.readableEnded || this.#child.stdout.destroyed) finish()
    else {
      this.#child.stdout.once('close', finish)
      // A child that holds the pipe must not keep the loss secret.
      setTimeout(finish, 200)
    }
  }

  #lose(reason: string): void {
    if (this.#lost) return
    this.#lost = true
    this.#child.stdin?.destroy()
    this.#child.stdout?.destroy()
    this.#ready.reject(new ProcessError('E_HELPER', `The helper that starts processes is gone: ${reason}`))
    this.#events.onLoss(reason)
  }
}
