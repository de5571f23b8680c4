import type { JobSpec } from '../../model/job.js'

/**
 * The version of what follows. `hello` and `retire` keep their form for ever, so that a daemon of any version can be asked to
 * make place for a newer one.
 */
export const PROTOCOL = 2

export interface DaemonSettings {
  readonly cores?: number | undefined
  readonly memoryMiB?: number | undefined
  readonly idleMs?: number | undefined
  readonly retentionMs?: number | undefined
}

/** One job of an answer to `observe`. Short names: there may be thousands. */
export interface ObservedJob {
  readonly i: string
  /** Its tag: the number alone may be another job's, when a queue was removed and begun anew. Absent for a whole array. */
  readonly t?: string
  readonly s: 'pending' | 'running' | 'ending' | 'ended' | 'not-visible'
  readonly reason?: string
  readonly exitCode?: number
  readonly signal?: string
  readonly end?: NonNullable<JobEnd['end']>
  readonly startedAt?: number
  readonly endedAt?: number
}

/** One job of an answer to `list`, with what people call it. */
export interface QueuedJob extends ObservedJob {
  readonly t: string
  readonly name: string
}

export interface JobEnd {
  readonly end?: 'completed' | 'failed' | 'timed-out' | 'canceled' | 'node-failed' | 'upstream-failed'
  readonly exitCode?: number
  readonly signal?: string
  readonly reason?: string
  readonly startedAt?: number
  readonly endedAt: number
}

export type SubmitAnswer =
  | { readonly id: string }
  | { readonly outcome: 'invalid' | 'rejected'; readonly code: string; readonly message: string }

export interface Requests {
  readonly hello: {
    readonly ask: { readonly protocol: number; readonly settings: DaemonSettings; readonly environment: Record<string, string> }
    readonly answer: { readonly protocol: number; readonly pid: number; readonly epoch: string }
  }
  /** Asks the daemon to end. Jobs go on, and the next daemon has them. */
  readonly retire: { readonly ask: object; readonly answer: object }
  /** Ends all jobs at once, then the daemon. */
  readonly shutdown: { readonly ask: object; readonly answer: object }
  readonly submit: { readonly ask: { readonly jobs: readonly JobSpec[] }; readonly answer: { readonly jobs: readonly SubmitAnswer[] } }
  readonly find: { readonly ask: { readonly tags: readonly string[] }; readonly answer: { readonly found: Record<string, string> } }
  /** Tells of `ids`, and of every job that changed after `since`; `whole` is false when that is too long ago to be known. -1: of `ids` only. */
  readonly observe: {
    readonly ask: { readonly ids: readonly string[]; readonly since: number }
    readonly answer: { readonly seq: number; readonly whole: boolean; readonly jobs: readonly ObservedJob[] }
  }
  readonly cancel: {
    readonly ask: { readonly jobs: readonly { readonly id: string; readonly tag: string }[] }
    readonly answer: { readonly outcomes: readonly ('requested' | 'ended' | 'not-known')[] }
  }
  /** Every job that is still visible, oldest first. */
  readonly list: { readonly ask: object; readonly answer: { readonly jobs: readonly QueuedJob[] } }
  /** Answered when something changed after `since`. */
  readonly changed: { readonly ask: { readonly since: number }; readonly answer: { readonly seq: number } }
}

export type Operation = keyof Requests
export type Ask<O extends Operation> = Requests[O]['ask']
export type Answer<O extends Operation> = Requests[O]['answer']

export interface RequestLine {
  readonly n: number
  readonly op: string
  readonly ask: unknown
}
export type AnswerLine =
  | { readonly n: number; readonly answer: unknown }
  | { readonly n: number; readonly error: { readonly code: string; readonly message: string } }

/** Cuts a stream of bytes into lines; a character may lie across two chunks, a line across many. */
export class LineReader {
  readonly #onLine: (line: string) => void
  #parts: Buffer[] = []

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  push(chunk: Buffer): void {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const piece = chunk.subarray(from, end)
      from = end + 1
      if (this.#parts.length === 0) {
        this.#onLine(piece.toString('utf8'))
      } else {
        const line = Buffer.concat([...this.#parts, piece]).toString('utf8')
        this.#parts = []
        this.#onLine(line)
      }
    }
    if (from < chunk.length) this.#parts.push(chunk.subarray(from))
  }
}
