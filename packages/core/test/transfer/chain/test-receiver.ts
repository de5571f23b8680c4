import { createHash, createHmac, randomBytes } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { frameTag, HEADER_BYTES } from '../../../src/transfer/chain/source.js'

export interface ReceiverOptions {
  readonly key: Buffer
  readonly total: number
  /** Bytes that are there already. */
  readonly have?: Buffer
  /** Changes what it says or takes, to be a liar. */
  readonly greeting?: string
  readonly proof?: Buffer
  readonly asks?: number
  /** Stops reading there, without closing. */
  readonly stopsAt?: number
  readonly closesAt?: number
}

/** The receiving end of a link as the reference says it, in the least code: what comes is checked and kept. */
export class TestReceiver implements AsyncDisposable {
  content: Buffer
  epoch: number | undefined
  /** What was wrong with a client or a frame. */
  wrong: string | undefined
  sizes: number[] = []
  #server!: Server
  readonly #sockets = new Set<Socket>()
  readonly #options: ReceiverOptions

  private constructor(options: ReceiverOptions) {
    this.#options = options
    this.content = options.have ?? Buffer.alloc(0)
  }

  static async start(options: ReceiverOptions): Promise<TestReceiver> {
    const receiver = new TestReceiver(options)
    receiver.#server = createServer((socket) => {
      receiver.#sockets.add(socket)
      socket.on('error', () => undefined)
      void receiver.#serve(socket).catch((error: unknown) => {
        receiver.wrong ??= String(error)
        socket.destroy()
      })
    })
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve))
    return receiver
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port
  }

  async #serve(socket: Socket): Promise<void> {
    const { key, total, greeting = 'CC1\n', stopsAt, closesAt } = this.#options
    const input = socket[Symbol.asyncIterator]()
    let bytes = Buffer.alloc(0)
    const take = async (count: number): Promise<Buffer> => {
      while (bytes.length < count) {
        const next = await input.next()
        if (next.done === true) throw new Error('the sender has closed')
        bytes = Buffer.concat([bytes, next.value as Buffer])
      }
      const taken = bytes.subarray(0, count)
      bytes = bytes.subarray(count)
      return taken
    }
    const nonce = randomBytes(16)
    socket.write(Buffer.concat([Buffer.from(greeting), nonce]))
    const said = await take(52)
    const nonces = Buffer.concat([nonce, said.subarray(0, 20)])
    const sign = (who: string): Buffer => createHmac('sha256', key).update(who).update(nonces).digest()
    if (!sign('client').equals(said.subarray(20))) throw new Error('an uninvited client')
    this.epoch = said.readUInt32BE(16)
    const asks = Buffer.alloc(8)
    asks.writeBigUInt64BE(BigInt(this.#options.asks ?? this.content.length))
    socket.write(Buffer.concat([this.#options.proof ?? sign('server'), asks]))
    while (this.content.length < total) {
      if (this.content.length >= (stopsAt ?? total)) return
      if (this.content.length >= (closesAt ?? total)) return void socket.destroy()
      const header = await take(HEADER_BYTES)
      const length = header.readUInt32BE(0)
      const content = await take(length)
      const all = Buffer.concat([this.content, content])
      if (Number(header.readBigUInt64BE(4)) !== this.content.length) throw new Error('a frame of another offset')
      const tag = frameTag(key, this.content.length, length, createHash('sha256').update(all).digest())
      if (!tag.equals(header.subarray(12))) throw new Error(`a frame that does not fit at ${this.content.length}`)
      this.sizes.push(length)
      this.content = all
    }
    const last = await input.next()
    if (last.done !== true) throw new Error('more than everything')
    socket.end()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
