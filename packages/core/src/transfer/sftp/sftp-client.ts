import { isCampaignError, ProcessError, TransferError } from '../../errors.js'
import type { SshChannel } from '../../ssh/connection.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { type Deferred, isAborted, makeDeferred, startTimer } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { makeRequest, PACKET, type SftpAttributes, type SftpField, SftpFields, type SftpPacket, SftpParser } from './sftp-packets.js'

/** What a server answers when it did not do what was asked. `code` is the nearest code of the system. */
export class SftpFailure extends Error {
  /** `EFAILED` for what version 3 has no number for: no room, something there already, a directory that is not empty… */
  readonly code: 'ENOENT' | 'EACCES' | 'EINVAL' | 'ENOSYS' | 'EFAILED'

  constructor(code: SftpFailure['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** @source draft-ietf-secsh-filexfer-02 section 7; what OpenSSH answers for which errno: errno_to_portable of its sftp-server 9.2 */
const STATUS = { ok: 0, end: 1, noSuchFile: 2, denied: 3, failure: 4, badMessage: 5, unsupported: 8 }
const CODES: Readonly<Record<number, SftpFailure['code']>> = {
  [STATUS.noSuchFile]: 'ENOENT',
  [STATUS.denied]: 'EACCES',
  [STATUS.badMessage]: 'EINVAL',
  [STATUS.unsupported]: 'ENOSYS',
}

/** @source draft-ietf-secsh-filexfer-02 section 6.3 */
const FLAGS = { read: 1, write: 2, create: 8, empty: 16, exclusive: 32 }
export type SftpOpenFlag = keyof typeof FLAGS

export interface SftpName {
  readonly name: ByteName
  readonly attributes: SftpAttributes
}

/** Room of a file system, in bytes and files; what is free for us. */
export interface SftpRoom {
  readonly bytes: number
  readonly files: number
  readonly isReadOnly: boolean
}

/** Every server takes so much content in one request. */
const SAFE_CHUNK = 32_768
/** A larger chunk gains nothing. */
const MOST_CHUNK = 255 * 1024
/** Requests of one turn go together up to so many bytes: a packet of ssh holds no more. Longer content goes by itself. */
const TOGETHER_BYTES = 32_768
/** A server that does not answer the first packet within it is none. */
const HELLO_MS = 30_000

/**
 * The file transfer protocol of ssh, version 3, over a subsystem of the connection that exists.
 *
 * @remarks Why not that of ssh2: it works over a client of ssh2 only, and this one over either connector; and it reads names as UTF-8, so
 * that a file whose name is none cannot be asked for.
 * @source draft-ietf-secsh-filexfer-02; PROTOCOL of OpenSSH 9.2 for its extensions and the order of the arguments of symlink
 */
export class SftpClient implements AsyncDisposable {
  readonly #channel: SshChannel
  readonly #place: string
  readonly #parser = new SftpParser()
  readonly #waiting = new Map<number, Deferred<SftpPacket>>()
  readonly #hello = makeDeferred<SftpPacket>()
  readonly #extensions = new Map<string, string>()
  #requests = 0
  /** Requests that were made in this turn. */
  #unsent: Uint8Array[] = []
  #unsentBytes = 0
  #ended: Error | undefined
  #stderr = ''
  #readChunk = SAFE_CHUNK
  #writeChunk = SAFE_CHUNK
  #heard = performance.now()

  private constructor(channel: SshChannel, place: string) {
    this.#channel = channel
    this.#place = place
    this.#hello.promise.catch(() => {})
    channel.listen((stream, chunk) => {
      if (stream === 'stderr') this.#stderr = (this.#stderr + chunk.toString('utf8')).slice(-500)
      else this.#receive(chunk)
    })
    void channel.closed.then(({ lost }) => {
      const said = this.#stderr.trim() === '' ? '' : `: ${this.#stderr.trim()}`
      this.#end(lost ?? new ProcessError('E_CONNECTION_LOST', `The sftp server of ${place} ended in the middle of its work${said}`))
    })
  }

  /**
   * @throws TransferError `E_NOT_SUPPORTED` when the host has no sftp server that answers; ProcessError of the connection, `E_ABORTED`
   */
  static async start(pooled: PooledConnection, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<SftpClient> {
    const place = pooled.connection.target.name
    let channel: SshChannel
    try {
      channel = await pooled.subsystem('sftp', { signal })
    } catch (error) {
      throw isCampaignError(error) && error.code === 'E_NOT_SUPPORTED' ? noServer(place, error.message, error) : error
    }
    const client = new SftpClient(channel, place)
    const onAbort = (): void => client.#end(givenUp(place))
    signal?.addEventListener('abort', onAbort, { once: true })
    if (isAborted(signal)) onAbort()
    void channel.closed.then(() => signal?.removeEventListener('abort', onAbort))
    const cancel = startTimer(HELLO_MS, () => client.#end(noServer(place, `it said nothing for ${HELLO_MS / 1000} s`)))
    try {
      await client.#greet()
      return client
    } catch (error) {
      channel.close()
      const known = isCampaignError(error) && !(error.code === 'E_CONNECTION_LOST' && !pooled.lost)
      throw known ? error : noServer(place, client.#stderr.trim() === '' ? 'it ended at once' : client.#stderr.trim(), error)
    } finally {
      cancel()
    }
  }

  get isEnded(): boolean {
    return this.#ended !== undefined
  }

  /** Bytes of content of one request. */
  get readChunk(): number {
    return this.#readChunk
  }

  get writeChunk(): number {
    return this.#writeChunk
  }

  /** When the server last said anything, on the monotonic clock. */
  get heard(): number {
    return this.#heard
  }

  /** @param mode - for a file that is made */
  async open(path: ByteName, flags: readonly SftpOpenFlag[], mode?: number): Promise<Buffer> {
    const bits = flags.reduce((sum, flag) => sum | FLAGS[flag], 0)
    return this.#handle(await this.#ask(PACKET.open, [path, bits, { attributes: { mode } }]))
  }

  close(handle: Buffer): Promise<void> {
    return this.#status(PACKET.close, [handle])
  }

  /** @returns undefined at the end of the file; may be less than was asked for */
  async read(handle: Buffer, offset: number, length: number): Promise<Buffer | undefined> {
    const packet = await this.#ask(PACKET.read, [handle, BigInt(offset), length])
    if (packet.type === PACKET.status && statusOf(packet) === STATUS.end) return undefined
    const data = this.#expect(packet, PACKET.data).bytes()
    if (data.length > length) throw this.#nonsense(`${data.length} bytes came for the ${length} that were asked for`)
    return data
  }

  /** @param data - not to be changed before the answer is there */
  write(handle: Buffer, offset: number, data: Uint8Array): Promise<void> {
    if (data.length <= TOGETHER_BYTES) return this.#status(PACKET.write, [handle, BigInt(offset), data])
    return this.#status(PACKET.write, [handle, BigInt(offset)], data)
  }

  /** Of the thing itself, also when it is a link. */
  async lstat(path: ByteName): Promise<SftpAttributes> {
    return this.#expect(await this.#ask(PACKET.lstat, [path]), PACKET.attrs).attributes()
  }

  async stat(path: ByteName): Promise<SftpAttributes> {
    return this.#expect(await this.#ask(PACKET.stat, [path]), PACKET.attrs).attributes()
  }

  setstat(path: ByteName, attributes: SftpAttributes): Promise<void> {
    return this.#status(PACKET.setstat, [path, { attributes }])
  }

  fsetstat(handle: Buffer, attributes: SftpAttributes): Promise<void> {
    return this.#status(PACKET.fsetstat, [handle, { attributes }])
  }

  async opendir(path: ByteName): Promise<Buffer> {
    return this.#handle(await this.#ask(PACKET.opendir, [path]))
  }

  /** @returns undefined when there are no more */
  async readdir(handle: Buffer): Promise<SftpName[] | undefined> {
    const packet = await this.#ask(PACKET.readdir, [handle])
    if (packet.type === PACKET.status && statusOf(packet) === STATUS.end) return undefined
    return this.#names(packet)
  }

  /** All that is in a directory, but `.` and `..`. */
  async list(path: ByteName): Promise<SftpName[]> {
    const handle = await this.opendir(path)
    const all: SftpName[] = []
    try {
      for (let some = await this.readdir(handle); some !== undefined; some = await this.readdir(handle)) all.push(...some)
    } finally {
      await this.close(handle).catch(() => {})
    }
    return all.filter(({ name }) => name !== '.' && name !== '..')
  }

  remove(path: ByteName): Promise<void> {
    return this.#status(PACKET.remove, [path])
  }

  mkdir(path: ByteName, mode?: number): Promise<void> {
    return this.#status(PACKET.mkdir, [path, { attributes: { mode } }])
  }

  rmdir(path: ByteName): Promise<void> {
    return this.#status(PACKET.rmdir, [path])
  }

  /** Fails when something is there already. */
  move(from: ByteName, to: ByteName): Promise<void> {
    return this.#status(PACKET.rename, [from, to])
  }

  /** Takes the place of what is there, where the server can; else what is there is removed first. */
  async rename(from: ByteName, to: ByteName): Promise<void> {
    if (this.#extensions.has('posix-rename@openssh.com')) {
      return this.#status(PACKET.extended, ['posix-rename@openssh.com', from, to])
    }
    try {
      await this.#status(PACKET.rename, [from, to])
    } catch (error) {
      if (!(error instanceof SftpFailure) || error.code !== 'EFAILED') throw error
      await this.remove(to)
      await this.#status(PACKET.rename, [from, to])
    }
  }

  /** A link at `path` that leads to `target`. */
  symlink(target: ByteName, path: ByteName): Promise<void> {
    return this.#status(PACKET.symlink, [target, path])
  }

  async readlink(path: ByteName): Promise<ByteName> {
    return this.#oneName(await this.#ask(PACKET.readlink, [path]))
  }

  /** Absolute; of the directory where a session begins for `.`. */
  async realpath(path: ByteName): Promise<ByteName> {
    return this.#oneName(await this.#ask(PACKET.realpath, [path]))
  }

  /** Does nothing where the server cannot. */
  async fsync(handle: Buffer): Promise<void> {
    if (this.#extensions.has('fsync@openssh.com')) await this.#status(PACKET.extended, ['fsync@openssh.com', handle])
  }

  /** @returns undefined where the server cannot say */
  async room(path: ByteName): Promise<SftpRoom | undefined> {
    if (!this.#extensions.has('statvfs@openssh.com')) return undefined
    const fields = this.#expect(await this.#ask(PACKET.extended, ['statvfs@openssh.com', path]), PACKET.extendedReply)
    const big = (): number => Number(fields.big())
    const [, fragment = 0, , , available = 0, files = 0, , filesAvailable = 0, , flags = 0] = Array.from({ length: 10 }, big)
    // File systems without a number of files say that they have none.
    return {
      bytes: fragment * available,
      files: files === 0 ? Number.POSITIVE_INFINITY : filesAvailable,
      isReadOnly: flags % 2 === 1,
    }
  }

  /** Nothing is asked any more; what was is not done, or nobody knows. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(givenUp(this.#place))
  }

  async #greet(): Promise<void> {
    this.#send(makeRequest(PACKET.init, undefined, [3]))
    const fields = this.#expect(await this.#hello.promise, PACKET.version)
    const version = fields.number()
    if (version !== 3) throw noServer(this.#place, `it speaks version ${version} of the protocol, and we speak 3`)
    while (fields.left > 0) this.#extensions.set(fields.name(), fields.name())
    if (this.#extensions.has('limits@openssh.com')) {
      const limits = this.#expect(await this.#ask(PACKET.extended, ['limits@openssh.com']), PACKET.extendedReply)
      const chunk = (value: bigint): number => (value === 0n ? SAFE_CHUNK : Math.min(MOST_CHUNK, Math.max(1, Number(value))))
      limits.big()
      this.#readChunk = chunk(limits.big())
      this.#writeChunk = chunk(limits.big())
    }
  }

  #receive(chunk: Buffer): void {
    if (this.#ended !== undefined) return
    this.#heard = performance.now()
    try {
      for (const packet of this.#parser.push(chunk)) this.#dispatch(packet)
    } catch (error) {
      this.#end(this.#nonsense((error as Error).message, chunk))
    }
  }

  #dispatch(packet: SftpPacket): void {
    if (packet.type === PACKET.version) {
      this.#hello.resolve(packet)
      return
    }
    const id = packet.body.length < 4 ? -1 : packet.body.readUInt32BE(0)
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) throw new Error(`an answer to request ${id} came, which was not made`)
    this.#waiting.delete(id)
    waiting.resolve({ type: packet.type, body: packet.body.subarray(4) })
  }

  /** @param behind - the last field, when it is not to be copied */
  #ask(type: number, fields: readonly SftpField[], behind?: Uint8Array): Promise<SftpPacket> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    this.#requests = (this.#requests + 1) >>> 0
    const id = this.#requests
    const answer = makeDeferred<SftpPacket>()
    this.#waiting.set(id, answer)
    this.#send(makeRequest(type, id, fields, behind?.length))
    if (behind !== undefined) this.#send(behind)
    return answer.promise
  }

  /** What is asked in one turn goes together: each write is a packet of ssh of its own. */
  #send(bytes: Uint8Array): void {
    if (this.#unsentBytes + bytes.length > TOGETHER_BYTES) this.#flush()
    if (bytes.length > TOGETHER_BYTES) {
      this.#write(bytes)
      return
    }
    if (this.#unsentBytes === 0) setImmediate(() => this.#flush())
    this.#unsent.push(bytes)
    this.#unsentBytes += bytes.length
  }

  #flush(): void {
    const unsent = this.#unsent
    if (unsent.length === 0) return
    this.#unsent = []
    this.#unsentBytes = 0
    this.#write(Buffer.concat(unsent))
  }

  #write(bytes: Uint8Array): void {
    // When nobody reads it, the end of the channel says why.
    if (this.#ended === undefined) this.#channel.write(bytes).catch(() => {})
  }

  async #status(type: number, fields: readonly SftpField[], behind?: Uint8Array): Promise<void> {
    this.#expect(await this.#ask(type, fields, behind), PACKET.status)
  }

  #handle(packet: SftpPacket): Buffer {
    return Buffer.from(this.#expect(packet, PACKET.handle).bytes())
  }

  #names(packet: SftpPacket): SftpName[] {
    const fields = this.#expect(packet, PACKET.name)
    return Array.from({ length: Math.min(fields.number(), fields.left) }, () => {
      const name = fields.name()
      // What `ls -l` would show: for people.
      fields.bytes()
      return { name, attributes: fields.attributes() }
    })
  }

  #oneName(packet: SftpPacket): ByteName {
    const [first] = this.#names(packet)
    if (first === undefined) throw this.#nonsense('no name came')
    return first.name
  }

  /** @throws SftpFailure when it is a refusal, ProcessError when it is neither that nor what was asked for */
  #expect(packet: SftpPacket, type: number): SftpFields {
    if (packet.type === PACKET.status) {
      const fields = new SftpFields(packet.body)
      const status = fields.number()
      if (status !== STATUS.ok) {
        const text = fields.left >= 4 ? fields.bytes().toString('utf8') : ''
        throw new SftpFailure(CODES[status] ?? 'EFAILED', text === '' ? `status ${status}` : text)
      }
    }
    if (packet.type !== type) throw this.#nonsense(`an answer of type ${packet.type} came instead of ${type}`)
    return new SftpFields(packet.body)
  }

  #nonsense(why: string, chunk?: Buffer): ProcessError {
    const text = chunk === undefined ? '' : `: ${JSON.stringify(chunk.subarray(0, 80).toString('latin1'))}`
    return new ProcessError('E_HOST_PROTOCOL', `What answers as sftp server on ${this.#place} does not speak the protocol: ${why}${text}`, {
      suggestions: ['Look whether a start-up file of the login shell there prints something, which programs that copy files cannot bear'],
    })
  }

  #end(error: Error): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#channel.close()
    this.#hello.reject(error)
    for (const waiting of this.#waiting.values()) waiting.reject(error)
    this.#waiting.clear()
  }
}

function statusOf(packet: SftpPacket): number {
  return new SftpFields(packet.body).number()
}

function noServer(place: string, why: string, cause?: unknown): TransferError {
  return new TransferError('E_NOT_SUPPORTED', `${place} does not offer sftp: ${why}`, {
    suggestions: ['Take another way to copy: via scp, rsync or chain'],
    cause,
  })
}

function givenUp(place: string): ProcessError {
  return new ProcessError('E_ABORTED', `The copy with ${place} was given up`)
}
