import { createConnection, type Socket } from 'node:net'
import { type CampaignError, messageOf, SchedulerError } from '../../errors.js'
import { startTimer } from '../../util/async.js'
import { type Answer, type AnswerLine, type Ask, LineReader, type Operation } from './protocol.js'

/** The connection ended before an answer came: the question may have been taken or not. */
export class ConnectionLost extends Error {}

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined
  /** Absent: as long as it takes. */
  readonly timeoutMs?: number | undefined
}

interface Pending {
  readonly settle: (line: AnswerLine | Error) => void
}

/** One connection to a daemon. It keeps the program alive only while an answer is awaited. */
export class DaemonConnection {
  readonly #socket: Socket
  readonly #pending = new Map<number, Pending>()
  #next = 1
  #lost: ConnectionLost | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    const lines = new LineReader((line) => {
      const answer = JSON.parse(line) as AnswerLine
      this.#pending.get(answer.n)?.settle(answer)
    })
    socket.on('data', (chunk: Buffer) => lines.push(chunk))
    const lose = (error?: Error): void => {
      this.#lost ??= new ConnectionLost(`the local scheduler's daemon hung up${error === undefined ? '' : ` (${error.message})`}`)
      for (const { settle } of [...this.#pending.values()]) settle(this.#lost)
      socket.destroy()
    }
    socket.on('error', lose)
    socket.on('close', () => lose())
    socket.unref()
  }

  /** Rejects with the system's error (`ENOENT`, `ECONNREFUSED`) when nobody listens. */
  static open(path: string): Promise<DaemonConnection> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path)
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new DaemonConnection(socket))
      })
    })
  }

  get isLost(): boolean {
    return this.#lost !== undefined
  }

  /**
   * Asks.
   *
   * @throws ConnectionLost when the daemon hung up; SchedulerError `E_SCHEDULER_SILENT` when it did not answer in time, `E_ABORTED` when
   * the signal was aborted first. After each of them the question may still be taken.
   */
  request<O extends Operation>(op: O, ask: Ask<O>, { signal, timeoutMs }: RequestOptions = {}): Promise<Answer<O>> {
    if (this.#lost !== undefined) return Promise.reject(this.#lost)
    const n = this.#next++
    return new Promise((resolve, reject) => {
      const cancelTimer =
        timeoutMs === undefined
          ? undefined
          : startTimer(timeoutMs, () => settle(silent(`it did not answer "${op}" within ${timeoutMs} ms`)))
      const onAbort = (): void => settle(aborted(op, signal?.reason))
      const settle = (line: AnswerLine | Error): void => {
        if (!this.#pending.delete(n)) return
        cancelTimer?.()
        signal?.removeEventListener('abort', onAbort)
        if (this.#pending.size === 0) this.#socket.unref()
        if (line instanceof Error) reject(line)
        else if ('error' in line) reject(silent(line.error.message))
        else resolve(line.answer as Answer<O>)
      }
      this.#pending.set(n, { settle })
      this.#socket.ref()
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#socket.write(`${JSON.stringify({ n, op, ask })}\n`)
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}

export function silent(why: string, cause?: unknown): SchedulerError {
  return new SchedulerError('E_SCHEDULER_SILENT', `the local scheduler does not answer: ${why}`, {
    suggestions: ['Try again: jobs that it accepted are not lost, and those that run go on'],
    ...(cause === undefined ? {} : { data: { cause: messageOf(cause) }, cause }),
  })
}

export function aborted(what: string, reason: unknown): CampaignError {
  return new SchedulerError('E_ABORTED', `the question "${what}" to the local scheduler was given up`, { cause: reason })
}
