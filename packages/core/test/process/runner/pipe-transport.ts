import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { bootstrapRelay, bootstrapRunner, makeToken } from '../../../src/process/runner/bootstrap.js'
import { RunnerClient, type RunnerClientOptions, type RunnerLoss } from '../../../src/process/runner/runner-client.js'
import type { RunnerTransport, TransportListener } from '../../../src/process/runner/transport.js'

/** A command line, as a login shell would get it, over pipes that can be cut after so many bytes in one direction. */
export class PipeTransport implements RunnerTransport {
  readonly #child: ChildProcessWithoutNullStreams
  #listener: TransportListener | undefined
  #ended = false
  #toRead: number
  #toWrite: number
  #stderr = ''

  constructor(command: string, cut: { readonly afterRead?: number; readonly afterWritten?: number } = {}, shell = '/bin/sh') {
    this.#toRead = cut.afterRead ?? Number.POSITIVE_INFINITY
    this.#toWrite = cut.afterWritten ?? Number.POSITIVE_INFINITY
    this.#child = spawn(shell, ['-c', command], { stdio: 'pipe', detached: true })
    this.#child.stdin.on('error', () => {})
    this.#child.stderr.on('data', (chunk) => (this.#stderr += chunk))
    this.#child.stdout.on('data', (chunk: Buffer) => {
      if (this.#ended) return
      const part = chunk.subarray(0, this.#toRead)
      this.#toRead -= part.length
      this.#listener?.onData(part)
      if (this.#toRead === 0) this.cut()
    })
    this.#child.once('close', (code) => this.#end(`it ended with exit code ${code}`, code ?? undefined))
  }

  get pid(): number {
    return this.#child.pid as number
  }

  listen(listener: TransportListener): void {
    this.#listener = listener
  }

  write(data: Uint8Array): void {
    if (this.#ended) return
    const part = data.subarray(0, this.#toWrite)
    this.#toWrite -= part.length
    this.#child.stdin.write(part)
    if (this.#toWrite === 0) setImmediate(() => this.cut())
  }

  /** As when the network goes away: both directions end, and nobody says why. */
  cut(): void {
    this.close()
    this.#listener?.onEnd({ reason: 'it was cut', stderr: '' })
  }

  pause(): void {
    this.#child.stdout.pause()
  }

  resume(): void {
    this.#child.stdout.resume()
  }

  ref(): void {}
  unref(): void {}

  end(): void {
    this.#child.stdin.end()
  }

  close(): void {
    this.#ended = true
    // What was written has left, as it would have over a network.
    this.#child.stdin.end()
    this.#child.stdout.destroy()
    this.#child.stderr.destroy()
  }

  #end(reason: string, exitCode: number | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#listener?.onEnd({ reason, stderr: this.#stderr.trim(), exitCode })
  }
}

type Cut = ConstructorParameters<typeof PipeTransport>[1]

export interface Lab {
  readonly client: RunnerClient
  readonly transport: PipeTransport
  readonly losses: RunnerLoss[]
}

/** A runner as on a host: brought there by its bootstrap. */
export function openRunner(
  options: { readonly leaseSeconds?: number; readonly graceSeconds?: number; readonly cut?: Cut; readonly before?: string } = {},
  more: Partial<RunnerClientOptions> = {},
): Lab {
  const { leaseSeconds = 60, graceSeconds = 1, cut, before = '' } = options
  const token = makeToken()
  const { command, input } = bootstrapRunner('perl', token, leaseSeconds, graceSeconds)
  const transport = new PipeTransport(`${before}${command}`, cut)
  const losses: RunnerLoss[] = []
  const client = new RunnerClient({
    transport,
    kind: 'perl',
    token,
    leaseMs: leaseSeconds * 1000,
    host: 'there',
    onLost: (loss) => losses.push(loss),
    ...more,
  })
  transport.write(input)
  return { client, transport, losses }
}

/** A relay to the runner of this client. */
export async function relayTo(client: RunnerClient, cut?: Cut): Promise<PipeTransport> {
  const { pid, directory } = await client.ready
  return new PipeTransport(bootstrapRelay('perl', pid, directory), cut)
}
