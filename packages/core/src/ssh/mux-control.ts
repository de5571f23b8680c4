import { statSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { type Deferred, makeDeferred } from '../util/async.js'

const MSG_HELLO = 0x0000_0001
const C_ALIVE_CHECK = 0x1000_0004
const C_TERMINATE = 0x1000_0005
const S_ALIVE = 0x8000_0005
const VERSION = 4

/**
 * A control connection to a multiplexing master of ssh. As long as it is open a master with ControlPersist does not end for want of
 * sessions, and its end tells that the master is gone: without asking, and also when this program dies.
 *
 * @source PROTOCOL.mux of OpenSSH 9.2: packets of a length and a type, 32 bits each, big endian
 */
export class MuxControl {
  readonly #socket: Socket
  /** Of the master. */
  readonly pid: number
  /** Resolves when the master went away, or we did. */
  readonly closed: Promise<void>
  readonly #alive: Deferred<boolean>[] = []
  #requests = 0

  private constructor(socket: Socket, pid: number, rest: Buffer) {
    this.#socket = socket
    this.pid = pid
    const closed = makeDeferred<void>()
    this.closed = closed.promise
    let got = rest
    socket.on('data', (chunk) => {
      got = Buffer.concat([got, chunk])
      for (let packet = takePacket(got); packet !== undefined; packet = takePacket(got)) {
        got = got.subarray(packet.size)
        if (packet.type === S_ALIVE) this.#alive.shift()?.resolve(true)
      }
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const waiting of this.#alive.splice(0)) waiting.resolve(false)
      closed.resolve()
    })
    if (socket.destroyed) closed.resolve()
  }

  /**
   * @param timeoutMs - a master that does not answer within it counts as none
   * @returns undefined when no master of ours listens there
   */
  static async open(path: string, timeoutMs = 3000): Promise<MuxControl | undefined> {
    // Where there is nothing, as almost always, no socket is made. In a shared folder anybody can wait for our commands.
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined || found.uid !== process.getuid?.()) return undefined
    return new Promise((resolve) => {
      const socket = createConnection(path)
      let got = Buffer.alloc(0)
      let greeted = false
      let isGiven = false
      const give = (control?: MuxControl): void => {
        if (isGiven) return
        isGiven = true
        clearTimeout(timer)
        if (control === undefined) socket.destroy()
        resolve(control)
      }
      // What came while this program itself stood still is read first.
      const timer = setTimeout(() => setImmediate(give), timeoutMs)
      socket.on('error', () => give())
      socket.on('close', () => give())
      socket.on('data', function read(chunk: Buffer) {
        got = Buffer.concat([got, chunk])
        for (let packet = takePacket(got); packet !== undefined; packet = takePacket(got)) {
          got = got.subarray(packet.size)
          if (packet.type === MSG_HELLO && !greeted) {
            greeted = true
            if (packet.body[0] !== VERSION) return give()
            socket.write(Buffer.concat([makePacket(MSG_HELLO, VERSION), makePacket(C_ALIVE_CHECK, 0)]))
          } else if (packet.type === S_ALIVE) {
            socket.removeAllListeners()
            return give(new MuxControl(socket, packet.body[1] ?? 0, got))
          } else return give()
        }
      })
    })
  }

  /** True when a master answers at this path. */
  static async isLive(path: string): Promise<boolean> {
    const control = await MuxControl.open(path)
    control?.close()
    return control !== undefined
  }

  /** Asks the master whether it lives: false when it is gone, or says nothing for so long. */
  async isAlive(timeoutMs = 10_000): Promise<boolean> {
    if (this.#socket.destroyed) return false
    const answer = makeDeferred<boolean>()
    this.#alive.push(answer)
    this.#socket.write(makePacket(C_ALIVE_CHECK, ++this.#requests))
    const timer = setTimeout(() => setImmediate(answer.resolve, false), timeoutMs)
    try {
      return await answer.promise
    } finally {
      clearTimeout(timer)
    }
  }

  /** Asks the master to end, with all its sessions. */
  terminate(): void {
    if (!this.#socket.destroyed) this.#socket.write(makePacket(C_TERMINATE, ++this.#requests))
  }

  close(): void {
    this.#socket.destroy()
  }

  ref(): void {
    this.#socket.ref()
  }

  unref(): void {
    this.#socket.unref()
  }
}

function makePacket(type: number, value: number): Buffer {
  const packet = Buffer.alloc(12)
  packet.writeUInt32BE(8, 0)
  packet.writeUInt32BE(type, 4)
  packet.writeUInt32BE(value, 8)
  return packet
}

/** The first whole packet: its type, the numbers after it, its size with the length. */
function takePacket(got: Buffer): { readonly type: number; readonly body: number[]; readonly size: number } | undefined {
  if (got.length < 8) return undefined
  const length = got.readUInt32BE(0)
  if (got.length < 4 + length) return undefined
  const body: number[] = []
  for (let at = 8; at + 4 <= 4 + length; at += 4) body.push(got.readUInt32BE(at))
  return { type: got.readUInt32BE(4), body, size: 4 + length }
}
