import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import type { RunnerProgram } from './runner-program.js'
import type { RunnerTransport, TransportListener } from './transport.js'

/** Seconds that the runner gives what it started when we are gone. */
const LAST_GRACE_SECONDS = 5
/** After the end of the runner: a child that holds its pipe must not keep the end secret. */
const HELD_PIPE_MS = 200

/** A runner on this machine, over two pipes. */
export class LocalTransport implements RunnerTransport {
  readonly #child: ChildProcessByStdio<Socket, Socket, null>
  #closed = false

  /** @param leaseSeconds - 0: it ends with its standard input */
  constructor(program: RunnerProgram, token: string, leaseSeconds = 0) {
    const [command, ...words] = program.command
    // Its own session: the terminal's Ctrl-C is for us. Its standard error is ours: it has nothing to say there.
    this.#child = spawn(command, [...words, token, String(leaseSeconds), String(LAST_GRACE_SECONDS)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      detached: true,
    }) as unknown as ChildProcessByStdio<Socket, Socket, null>
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  listen(listener: TransportListener): void {
    const end = (reason: string, exitCode?: number): void => {
      if (this.#closed) return
      this.#closed = true
      this.#child.stdin?.destroy()
      this.#child.stdout?.destroy()
      listener.onEnd({ reason, stderr: '', exitCode })
    }
    this.#child.once('error', (error) => end(`it did not start: ${error.message}`))
    this.#child.once('exit', (code, signal) => {
      const finish = (): void => end(`it ended with ${signal ?? `exit code ${code}`}`, code ?? undefined)
      // What it said before its end is read first.
      if (this.#child.stdout.readableEnded || this.#child.stdout.destroyed) finish()
      else {
        this.#child.stdout.once('close', finish)
        setTimeout(finish, HELD_PIPE_MS)
      }
    })
    if (this.#child.pid === undefined) return
    this.#child.stdin.on('error', () => {})
    this.#child.stdout.on('error', () => {})
    this.#child.stdout.on('data', (chunk: Buffer) => {
      if (!this.#closed) listener.onData(chunk)
    })
    this.unref()
  }

  write(data: Uint8Array): void {
    if (!this.#closed && this.#child.pid !== undefined) this.#child.stdin.write(data)
  }

  pause(): void {
    this.#child.stdout?.pause()
  }

  resume(): void {
    if (!this.#closed) this.#child.stdout?.resume()
  }

  ref(): void {
    this.#each('ref')
  }

  unref(): void {
    this.#each('unref')
  }

  end(): void {
    if (!this.#closed && this.#child.pid !== undefined) this.#child.stdin.end()
  }

  close(): void {
    this.#closed = true
    this.#child.kill('SIGKILL')
    this.#child.stdin?.destroy()
    this.#child.stdout?.destroy()
  }

  #each(what: 'ref' | 'unref'): void {
    if (this.#child.pid === undefined) return
    this.#child[what]()
    this.#child.stdin[what]()
    this.#child.stdout[what]()
  }
}
