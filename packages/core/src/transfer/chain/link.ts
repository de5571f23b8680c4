import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { messageOf } from '../../errors.js'
import { isAborted } from '../../util/async.js'
import type { Pace } from '../pace.js'
import type { LinkFault } from './plan-terms.js'
import type { ChainSource } from './source.js'
import type { Wire } from './wire.js'

const GREETING = Buffer.from('CC1\n', 'latin1')
const NONCE_BYTES = 16
const PROOF_BYTES = 32
/** That a login shell may print before a program says anything. */
const MOST_NOISE = 64 << 10
/** With a limit, so many times a second something is sent. */
const PACED_TIMES = 10

export interface LinkOptions {
  readonly epoch: number
  readonly key: Buffer
  readonly source: ChainSource
  readonly pace: Pace
  readonly signal: AbortSignal
  /** Both have shown that they know the key; the other side has so many bytes. */
  onUp(offset: number): void
  /** So far the stream was handed to the system. */
  onSent(offset: number): void
}

/** How a link of this machine ended; undefined when everything was sent. */
export type LinkEnd = { readonly fault: LinkFault; readonly detail: string } | undefined

/** Greets the host at the other end of the wire and sends it the stream from where it wants it. Never rejects. */
export async function sendOver(wire: Wire, options: LinkOptions): Promise<LinkEnd> {
  const onAbort = (): void => wire.destroy()
  options.signal.addEventListener('abort', onAbort, { once: true })
  if (isAborted(options.signal)) onAbort()
  let isUp = false
  try {
    const input = new Input(wire)
    const offset = await shakeHands(wire, input, options)
    isUp = true
    options.onUp(offset)
    await sendFrom(wire, offset, options)
    wire.end()
    const reason = await wire.closed
    return reason === undefined ? undefined : { fault: 'closed', detail: reason }
  } catch (error) {
    wire.destroy()
    const reason = await wire.closed
    if (error instanceof Denied) return { fault: 'denied', detail: error.message }
    return { fault: isUp ? 'closed' : 'refused', detail: reason ?? messageOf(error) }
  } finally {
    options.signal.removeEventListener('abort', onAbort)
  }
}

class Denied extends Error {}

/** @returns how much of the stream the other side has */
async function shakeHands(wire: Wire, input: Input, { epoch, key, source }: LinkOptions): Promise<number> {
  if (wire.isProgram) await input.skipTo(GREETING, MOST_NOISE)
  const greeting = await input.take(GREETING.length + NONCE_BYTES)
  if (!greeting.subarray(0, GREETING.length).equals(GREETING)) throw new Denied('something else answers there')
  const number = Buffer.alloc(4)
  number.writeUInt32BE(epoch)
  const nonce = randomBytes(NONCE_BYTES)
  const nonces = Buffer.concat([greeting.subarray(GREETING.length), nonce, number])
  await wire.write([nonce, number, createHmac('sha256', key).update('client').update(nonces).digest()])
  const answer = await input.take(PROOF_BYTES + 8)
  const proof = createHmac('sha256', key).update('server').update(nonces).digest()
  if (!timingSafeEqual(proof, answer.subarray(0, PROOF_BYTES))) throw new Denied('who answers there does not know the key')
  const have = Number(answer.readBigUInt64BE(PROOF_BYTES))
  if (have > source.total || (have < source.total && have % source.chunk !== 0)) throw new Denied(`it asks for byte ${have}`)
  return have
}

async function sendFrom(wire: Wire, offset: number, { source, pace, signal, onSent }: LinkOptions): Promise<void> {
  const { bytesPerSecond } = pace
  const most = bytesPerSecond === undefined ? undefined : bytesPerSecond / PACED_TIMES
  // One piece waits while the one before it is taken, so that there is always something to send.
  let before: Promise<void> = Promise.resolve()
  for (let at = offset; at < source.total; ) {
    const frames = await source.frames(at, most)
    try {
      await pace.take(frames.bytes, signal)
      await before
    } catch (error) {
      frames.release()
      throw error
    }
    at += frames.bytes
    onSent(at)
    before = wire.write(frames.buffers).finally(frames.release)
    before.catch(() => undefined)
  }
  await before
}

/** Bytes of the other side, as many as are wanted at a time. What comes after the handshake is thrown away. */
class Input {
  #bytes = Buffer.alloc(0)
  /** Takes what it wants of what is there; false when that is not all there. */
  #wanted: { take(): boolean; readonly reject: (error: Error) => void } | undefined
  #ended: Error | undefined

  constructor(wire: Wire) {
    wire.listen((data) => {
      if (this.#bytes.length < 1024) this.#bytes = Buffer.concat([this.#bytes, data])
      this.#serve()
    })
    void wire.closed.then((reason) => {
      this.#ended = new Error(reason ?? 'the connection was closed before both sides knew each other')
      this.#wanted?.reject(this.#ended)
    })
  }

  take(count: number): Promise<Buffer> {
    return this.#want((resolve) => {
      if (this.#bytes.length < count) return false
      resolve(this.#bytes.subarray(0, count))
      this.#bytes = this.#bytes.subarray(count)
      return true
    })
  }

  /** Throws away what comes before the mark. @throws Denied when that is more than `most` */
  skipTo(mark: Buffer, most: number): Promise<void> {
    let skipped = 0
    return this.#want((resolve, reject) => {
      const at = this.#bytes.indexOf(mark)
      // It may have come in part.
      const noise = at >= 0 ? at : Math.max(0, this.#bytes.length - mark.length + 1)
      skipped += noise
      this.#bytes = this.#bytes.subarray(noise)
      if (skipped > most) reject(new Denied('it says much, and is no link'))
      else if (at >= 0) resolve()
      return skipped > most || at >= 0
    })
  }

  #want<T>(take: (resolve: (value: T) => void, reject: (error: Error) => void) => boolean): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#wanted = { take: () => take(resolve, reject), reject }
      this.#serve()
      if (this.#wanted !== undefined && this.#ended !== undefined) reject(this.#ended)
    })
  }

  #serve(): void {
    const wanted = this.#wanted
    if (wanted?.take() === true) this.#wanted = undefined
  }
}
