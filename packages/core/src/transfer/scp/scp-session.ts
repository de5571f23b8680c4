import { ProcessError, TransferError } from '../../errors.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { isAborted } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { ShellSession } from '../shell/shell-session.js'
import { type ScpAnswer, takeScpAnswer } from './scp-answers.js'

/** Beyond it the other side is made to wait. */
const MOST_KEPT = 1 << 20

/** The scp program of a host at the other end of a session. */
export class ScpSession {
  readonly #place: string
  readonly #signal: AbortSignal
  readonly #session: ShellSession
  #kept: Buffer[] = []
  #bytes = 0
  #over: Error | undefined
  #wake: (() => void) | undefined

  private constructor(place: string, signal: AbortSignal, session: ShellSession) {
    this.#place = place
    this.#signal = signal
    this.#session = session
  }

  /**
   * @param words - options and names, one character per byte, quoted
   * @throws TransferError `E_NOT_SUPPORTED` when there is no scp, ProcessError of the connection
   */
  static async start(pooled: PooledConnection, words: ByteName, signal: AbortSignal): Promise<ScpSession> {
    const early: Buffer[] = []
    let onData = (chunk: Buffer): void => void early.push(chunk)
    const program = `command -v scp >/dev/null 2>&1 || exit 127\nexec scp ${words}`
    const shell = await ShellSession.start(pooled, program, (chunk) => onData(chunk), { signal })
    const session = new ScpSession(pooled.connection.target.name, signal, shell)
    onData = (chunk) => session.#receive(chunk)
    for (const chunk of early) session.#receive(chunk)
    void shell.closed.then(({ exitCode, lost }) => {
      session.#over ??= isAborted(signal) ? session.#givenUp() : (lost ?? session.#explainEnd(exitCode))
      session.#wake?.()
    })
    return session
  }

  /** What it says next. @param name - the file that it says it about */
  async answer(name: ByteName): Promise<ScpAnswer> {
    for (;;) {
      const [first, second] = this.#kept
      let found: ReturnType<typeof takeScpAnswer>
      try {
        found = first === undefined ? undefined : takeScpAnswer(first, name)
      } catch (error) {
        throw this.#nonsense((error as Error).message)
      }
      if (found !== undefined) {
        this.#drop(found.size)
        return found.answer
      }
      if (first !== undefined && second !== undefined) this.#kept.splice(0, 2, Buffer.concat([first, second]))
      else await this.#more()
    }
  }

  /** So many bytes of content, in pieces as they come. */
  async content(size: number, take: (piece: Buffer) => void | Promise<void>): Promise<void> {
    for (let left = size; left > 0; ) {
      const [first] = this.#kept
      if (first === undefined) {
        await this.#more()
        continue
      }
      const piece = first.subarray(0, left)
      this.#drop(piece.length)
      left -= piece.length
      await take(piece)
    }
  }

  async write(data: Uint8Array): Promise<void> {
    try {
      await this.#session.write(data)
    } catch (error) {
      // Its end says why.
      await this.#session.closed
      throw this.#over ?? error
    }
  }

  close(): void {
    this.#session.close()
  }

  #receive(chunk: Buffer): void {
    this.#kept.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > MOST_KEPT) this.#session.pause()
    this.#wake?.()
  }

  #drop(bytes: number): void {
    const rest = this.#kept[0]?.subarray(bytes)
    if (rest === undefined || rest.length === 0) this.#kept.shift()
    else this.#kept[0] = rest
    const wasFull = this.#bytes > MOST_KEPT
    this.#bytes -= bytes
    if (wasFull && this.#bytes <= MOST_KEPT) this.#session.resume()
  }

  async #more(): Promise<void> {
    const before = this.#bytes
    while (this.#bytes === before) {
      if (isAborted(this.#signal)) throw this.#givenUp()
      if (this.#over !== undefined) throw this.#over
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  #givenUp(): ProcessError {
    return new ProcessError('E_ABORTED', `The copy with ${this.#place} was given up`)
  }

  #explainEnd(exitCode: number | undefined): TransferError {
    if (exitCode === 127) {
      return new TransferError('E_NOT_SUPPORTED', `${this.#place} has no scp`, {
        suggestions: ['Install the OpenSSH client there, or take another way to copy: via sftp, rsync or chain'],
      })
    }
    const said = this.#session.stderr === '' ? `exit code ${exitCode ?? 'unknown'}` : this.#session.stderr
    return new TransferError('E_TRANSFER', `scp on ${this.#place} ended in the middle of its work: ${said.slice(0, 500)}`)
  }

  #nonsense(why: string): ProcessError {
    this.close()
    return new ProcessError('E_HOST_PROTOCOL', `What answers as scp on ${this.#place} does not speak the protocol: ${why}`)
  }
}
