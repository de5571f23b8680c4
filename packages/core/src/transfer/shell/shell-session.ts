import { randomBytes } from 'node:crypto'
import { ProcessError } from '../../errors.js'
import type { ChannelEnd, SshChannel } from '../../ssh/connection.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { isAborted, makeDeferred, startTimer } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { shellQuote } from '../../util/shell-quote.js'

/** Builtin `read` takes no byte more than its line, so what follows the program is for the program. The locale: bytes are bytes. */
const LOAD =
  'LC_ALL=C;export LC_ALL;n=$(echo;echo .);n=${n%.};p=;while IFS= read -r l;do case $l in "$1")break;;esac;p=$p$l$n;done;eval "$p"'

const MOST_STDERR = 2000
/** A server confirms that a session was let go only when its program has taken what was sent to it, and one that hangs never does. */
const LET_GO_MS = 2_000

/** A program for a POSIX shell on a host, past whatever its login shell is and says. */
export class ShellSession {
  /** Always resolves, after the last output was handed over; soon after it was let go, whatever the program there does. */
  readonly closed: Promise<ChannelEnd>
  readonly #channel: SshChannel
  readonly #letGo = makeDeferred<ChannelEnd>()
  #stderr = ''

  private constructor(channel: SshChannel) {
    this.#channel = channel
    this.closed = Promise.race([channel.closed, this.#letGo.promise])
  }

  /**
   * Starts it. The line for the login shell means the same to sh, csh and fish; the program itself comes over the standard input, so that
   * names in it may hold any bytes.
   *
   * @param program - one character per byte; what it writes before this is ours and not handed over
   * @param onData - its standard output
   * @throws ProcessError of the connection, `E_ABORTED`, `E_HOST_PROTOCOL` when no POSIX shell is there
   */
  static async start(
    pooled: PooledConnection,
    program: ByteName,
    onData: (chunk: Buffer) => void,
    { signal }: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<ShellSession> {
    const token = randomBytes(12).toString('hex')
    const channel = await pooled.exec(`exec /bin/sh -c '${LOAD}' cahier ${token}`, { signal })
    const session = new ShellSession(channel)
    const begun = makeDeferred<void>()
    const mark = Buffer.from(`\n${token}\n`)
    let before: Buffer | undefined = Buffer.alloc(0)
    channel.listen((stream, chunk) => {
      if (stream === 'stderr') {
        session.#stderr = (session.#stderr + chunk.toString('utf8')).slice(-MOST_STDERR)
        return
      }
      if (before === undefined) {
        onData(chunk)
        return
      }
      before = Buffer.concat([before, chunk])
      const at = before.indexOf(mark)
      if (at < 0) {
        before = before.subarray(Math.max(0, before.length - mark.length))
        return
      }
      const rest = before.subarray(at + mark.length)
      before = undefined
      begun.resolve()
      if (rest.length > 0) onData(rest)
    })
    const onAbort = (): void => {
      session.close()
      begun.reject(new ProcessError('E_ABORTED', `The copy with ${pooled.connection.target.name} was given up`))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    void channel.closed.then(({ lost, exitCode }) => {
      signal?.removeEventListener('abort', onAbort)
      const said = session.#stderr.trim() === '' ? '' : `: ${session.#stderr.trim().slice(0, 200)}`
      const message = `${pooled.connection.target.name} has no POSIX shell that does what it is told (exit code ${exitCode}${said})`
      begun.reject(lost ?? new ProcessError('E_HOST_PROTOCOL', message))
    })
    if (isAborted(signal)) onAbort()
    const text = `printf '\\n%s\\n' ${token}\n${program}\n${token}\n`
    // When nobody reads it, the end of the channel says why.
    channel.write(Buffer.from(text, 'latin1')).catch(() => {})
    await begun.promise
    return session
  }

  get stderr(): string {
    return this.#stderr.trim()
  }

  /** Resolves when there is room for more; rejects with ProcessError `E_STDIN` when nobody reads any more. */
  write(data: Uint8Array): Promise<void> {
    return this.#channel.write(data)
  }

  end(): void {
    this.#channel.end()
  }

  pause(): void {
    this.#channel.pause()
  }

  resume(): void {
    this.#channel.resume()
  }

  close(): void {
    this.#channel.close()
    const cancel = startTimer(LET_GO_MS, () => this.#letGo.resolve({ exitCode: undefined, signal: undefined, lost: undefined }))
    void this.#channel.closed.then(cancel)
  }
}

/** A name as one word of the program. */
export function shellWord(name: ByteName): string {
  return shellQuote(name)
}
