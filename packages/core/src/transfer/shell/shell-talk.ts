import { randomBytes } from 'node:crypto'
import type { ErrorCode } from '../../error-codes.js'
import { ProcessError, TransferError } from '../../errors.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { isAborted, makeDeferred } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { ShellSession, shellWord } from './shell-session.js'

/** Files that one command is asked for: with names of 255 bytes it holds on every system. */
export const PER_COMMAND = 200

export interface ShellAnswer {
  /** Standard output and standard error together, one character per byte. */
  readonly text: string
  readonly exitCode: number
}

interface Waiting {
  readonly resolve: (answer: ShellAnswer) => void
  readonly reject: (error: Error) => void
}

/**
 * A POSIX shell on a host that is asked one thing after the other. Questions are sent without waiting for answers, so that many cost no
 * more time than one.
 *
 * @remarks The text of a question stands in one `eval`, so that what it sets and where it goes stays for the next one.
 */
export class ShellTalk implements AsyncDisposable {
  /** For messages. */
  readonly host: string
  /** Resolves when the shell has ended: with the reason, unless that was our wish. */
  readonly ended: Promise<Error | undefined>
  readonly #ended = makeDeferred<Error | undefined>()
  readonly #signal: AbortSignal | undefined
  readonly #mark: string
  readonly #session: ShellSession
  readonly #waiting: Waiting[] = []
  #text = '\n'
  #from = 0
  #over: Error | undefined
  #isEnding = false
  #writing: Promise<void> = Promise.resolve()

  private constructor(host: string, mark: string, session: ShellSession, signal: AbortSignal | undefined) {
    this.host = host
    this.#mark = mark
    this.#session = session
    this.#signal = signal
    this.ended = this.#ended.promise
  }

  /** @throws ProcessError of the connection, `E_ABORTED`, `E_HOST_PROTOCOL` when no POSIX shell is there */
  static async start(pooled: PooledConnection, signal?: AbortSignal): Promise<ShellTalk> {
    const mark = randomBytes(12).toString('hex')
    const early: Buffer[] = []
    let onData = (chunk: Buffer): void => void early.push(chunk)
    const program = `k=${mark} n='
' p=
set -f
while IFS= read -r l; do case $l in "$k") eval "$p" 2>&1 </dev/null; printf '\\n%s %s\\n' "$k" "$?"; p= ;; *) p=$p$l$n ;; esac; done`
    const session = await ShellSession.start(pooled, program, (chunk) => onData(chunk), { signal })
    const talk = new ShellTalk(pooled.connection.target.name, mark, session, signal)
    onData = (chunk) => talk.#receive(chunk)
    for (const chunk of early) talk.#receive(chunk)
    void session.closed.then(({ lost, exitCode }) => {
      const said = session.stderr === '' ? `exit code ${exitCode ?? 'unknown'}` : session.stderr.slice(0, 500)
      talk.#end(lost ?? new TransferError('E_COPY_LOST', `The shell on ${talk.host} ended in the middle of its work: ${said}`))
    })
    return talk
  }

  /** @param text - one character per byte. @throws ProcessError when the connection is lost, `E_ABORTED` */
  ask(text: ByteName): Promise<ShellAnswer> {
    return new Promise<ShellAnswer>((resolve, reject) => {
      if (this.#over !== undefined) {
        reject(this.#over)
        return
      }
      this.#waiting.push({ resolve, reject })
      const data = Buffer.from(`${text}\n${this.#mark}\n`, 'latin1')
      // When nobody reads it, the end of the session says why.
      this.#writing = this.#writing.then(() => this.#session.write(data)).catch(() => {})
    })
  }

  /** One question for every so many. */
  async askInBatches<T>(
    items: readonly T[],
    render: (batch: readonly T[]) => ByteName,
    size = PER_COMMAND,
  ): Promise<readonly (readonly [readonly T[], ShellAnswer])[]> {
    const asked: Promise<readonly [readonly T[], ShellAnswer]>[] = []
    for (let at = 0; at < items.length; at += size) {
      const batch = items.slice(at, at + size)
      asked.push(this.ask(render(batch)).then((answer) => [batch, answer] as const))
    }
    const answers = await Promise.allSettled(asked)
    return answers.map((one) => {
      if (one.status === 'rejected') throw one.reason
      return one.value
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnding = true
    this.#session.end()
    this.#session.close()
    await this.#session.closed
  }

  #receive(chunk: Buffer): void {
    this.#text += chunk.toString('latin1')
    for (;;) {
      const start = this.#text.indexOf(`\n${this.#mark} `, this.#from)
      const end = start < 0 ? -1 : this.#text.indexOf('\n', start + 1)
      if (end < 0) {
        this.#from = Math.max(0, this.#text.length - this.#mark.length - 8)
        return
      }
      const answer = { text: this.#text.slice(1, start), exitCode: Number(this.#text.slice(start + this.#mark.length + 2, end)) }
      this.#text = this.#text.slice(end)
      this.#from = 0
      this.#waiting.shift()?.resolve(answer)
    }
  }

  #end(error: Error): void {
    this.#over = isAborted(this.#signal) ? new ProcessError('E_ABORTED', `The copy with ${this.host} was given up`) : error
    for (const { reject } of this.#waiting.splice(0)) reject(this.#over)
    this.#ended.resolve(this.#isEnding ? undefined : this.#over)
  }
}

/** A name in the directory where the shell is, as one word: never an option. */
export function here(name: ByteName): ByteName {
  return shellWord(`./${name}`)
}

/** What a program of the system said in English about a file that could not be written. */
export function shellFault(text: string): { readonly code: ErrorCode; readonly message: string } {
  const line = text.trim().split('\n').at(-1) ?? ''
  const message = Buffer.from(line, 'latin1').toString('utf8').slice(0, 500) || 'nobody said why'
  if (/No space left|quota exceeded|File too large/i.test(text)) return { code: 'E_TARGET_FULL', message }
  if (/Permission denied|Read-only file system|not permitted/i.test(text)) return { code: 'E_TARGET_DENIED', message }
  if (/Is a directory|Not a directory|File exists|not empty/i.test(text)) return { code: 'E_TARGET_KIND', message }
  return { code: 'E_TRANSFER', message }
}
