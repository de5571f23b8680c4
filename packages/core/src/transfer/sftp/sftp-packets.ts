import type { ByteName } from '../../util/byte-names.js'

/**
 * Numbers of packets. @source draft-ietf-secsh-filexfer-02 section 3
 */
export const PACKET = {
  init: 1,
  version: 2,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
  extended: 200,
  extendedReply: 201,
} as const

/** Longer answers are not asked for by us: a server that sends one is none, or is not in step any more. */
export const MOST_PACKET = 1 << 20
const ANSWERS = new Set<number>([
  PACKET.version,
  PACKET.status,
  PACKET.handle,
  PACKET.data,
  PACKET.name,
  PACKET.attrs,
  PACKET.extendedReply,
])

export interface SftpPacket {
  readonly type: number
  /** What follows the type. */
  readonly body: Buffer
}

/** What an answer that cannot be is answered with. */
export class SftpNonsense extends Error {}

/** Cuts the stream of a server into packets, wherever it was cut on its way. */
export class SftpParser {
  #kept: Buffer[] = []
  #bytes = 0
  /** Of the packet that is awaited, with its length field; 0 when that is not known. */
  #wanted = 0

  /** @throws SftpNonsense for a packet that no server sends: its length, or a type that is no answer */
  push(chunk: Buffer): SftpPacket[] {
    this.#kept.push(chunk)
    this.#bytes += chunk.length
    const packets: SftpPacket[] = []
    for (;;) {
      if (this.#wanted === 0) {
        if (this.#bytes < 5) break
        const head = this.#joined(5)
        const length = head.readUInt32BE(0)
        if (length < 1 || length > MOST_PACKET) throw new SftpNonsense(`a packet of ${length} bytes was announced`)
        if (!ANSWERS.has(head[4] ?? 0)) throw new SftpNonsense(`packets of type ${head[4]} are no answers`)
        this.#wanted = 4 + length
      }
      if (this.#bytes < this.#wanted) break
      const all = this.#joined(this.#wanted)
      packets.push({ type: all[4] ?? 0, body: all.subarray(5, this.#wanted) })
      const rest = all.subarray(this.#wanted)
      this.#kept[0] = rest
      if (rest.length === 0) this.#kept.shift()
      this.#bytes -= this.#wanted
      this.#wanted = 0
    }
    return packets
  }

  /** The first piece, made long enough; it may be longer. */
  #joined(bytes: number): Buffer {
    const [first] = this.#kept
    if (first !== undefined && first.length >= bytes) return first
    const all = Buffer.concat(this.#kept)
    this.#kept = [all]
    return all
  }
}

/** Attributes, as far as version 3 has them. Times are seconds. */
export interface SftpAttributes {
  readonly size?: number | undefined
  readonly uid?: number | undefined
  readonly gid?: number | undefined
  /** With the type of the file, as `st_mode`. */
  readonly mode?: number | undefined
  readonly atime?: number | undefined
  readonly mtime?: number | undefined
}

const HAS_SIZE = 1
const HAS_OWNER = 2
const HAS_MODE = 4
const HAS_TIMES = 8
const HAS_MORE = 0x8000_0000

/** Reads the fields of an answer, one after the other. @throws SftpNonsense when one is not whole */
export class SftpFields {
  readonly #body: Buffer
  #at = 0

  constructor(body: Buffer) {
    this.#body = body
  }

  get left(): number {
    return this.#body.length - this.#at
  }

  number(): number {
    return this.#take(4).readUInt32BE(0)
  }

  big(): bigint {
    return this.#take(8).readBigUInt64BE(0)
  }

  long(): number {
    const value = Number(this.big())
    if (!Number.isSafeInteger(value)) throw new SftpNonsense('a number is too large')
    return value
  }

  /** Not a copy. */
  bytes(): Buffer {
    return this.#take(this.number())
  }

  name(): ByteName {
    return this.bytes().toString('latin1')
  }

  attributes(): SftpAttributes {
    const flags = this.number()
    const size = flags & HAS_SIZE ? this.long() : undefined
    const [uid, gid] = flags & HAS_OWNER ? [this.number(), this.number()] : []
    const mode = flags & HAS_MODE ? this.number() : undefined
    const [atime, mtime] = flags & HAS_TIMES ? [this.number(), this.number()] : []
    if (flags & HAS_MORE) for (let count = this.number(); count > 0; count -= 1) void [this.bytes(), this.bytes()]
    return { size, uid, gid, mode, atime, mtime }
  }

  #take(bytes: number): Buffer {
    if (bytes > this.left) throw new SftpNonsense('an answer ends in the middle of a field')
    this.#at += bytes
    return this.#body.subarray(this.#at - bytes, this.#at)
  }
}

export type SftpField = number | bigint | ByteName | Uint8Array | { readonly attributes: SftpAttributes }

/**
 * A request: numbers of 32 bits, big ones of 64, texts and bytes with their length in front.
 *
 * @param id - undefined for the first packet, which has none
 * @param behind - so many bytes follow as the last field, which whoever asks sends behind this; undefined for none
 */
export function makeRequest(type: number, id: number | undefined, fields: readonly SftpField[], behind?: number): Buffer {
  const head = id === undefined ? 5 : 9
  const size = fields.reduce<number>((sum, field) => sum + sizeOf(field), head) + (behind === undefined ? 0 : 4)
  const packet = Buffer.allocUnsafe(size)
  packet.writeUInt32BE(size - 4 + (behind ?? 0))
  packet[4] = type
  if (id !== undefined) packet.writeUInt32BE(id, 5)
  let at = head
  for (const field of fields) at = writeField(packet, at, field)
  if (behind !== undefined) packet.writeUInt32BE(behind, at)
  return packet
}

function sizeOf(field: SftpField): number {
  if (typeof field === 'number') return 4
  if (typeof field === 'bigint') return 8
  if (typeof field === 'string' || field instanceof Uint8Array) return 4 + field.length
  const { size, mode, mtime } = field.attributes
  return (
    4 + (size === undefined ? 0 : 8) + (hasOwner(field.attributes) ? 8 : 0) + (mode === undefined ? 0 : 4) + (mtime === undefined ? 0 : 8)
  )
}

/** @returns where the next one begins */
function writeField(packet: Buffer, at: number, field: SftpField): number {
  if (typeof field === 'number') return packet.writeUInt32BE(field >>> 0, at)
  if (typeof field === 'bigint') return packet.writeBigUInt64BE(field, at)
  if (typeof field === 'string') return packet.writeUInt32BE(field.length, at) + packet.write(field, at + 4, 'latin1')
  if (!(field instanceof Uint8Array)) return writeAttributes(packet, at, field.attributes)
  packet.set(field, packet.writeUInt32BE(field.length, at))
  return at + 4 + field.length
}

function writeAttributes(packet: Buffer, start: number, attributes: SftpAttributes): number {
  const { size, uid = 0, gid = 0, mode, atime, mtime } = attributes
  let flags = 0
  let at = start + 4
  if (size !== undefined) {
    flags |= HAS_SIZE
    at = packet.writeBigUInt64BE(BigInt(size), at)
  }
  if (hasOwner(attributes)) {
    flags |= HAS_OWNER
    at = packet.writeUInt32BE(gid, packet.writeUInt32BE(uid, at))
  }
  if (mode !== undefined) {
    flags |= HAS_MODE
    at = packet.writeUInt32BE(mode >>> 0, at)
  }
  if (mtime !== undefined) {
    flags |= HAS_TIMES
    at = packet.writeUInt32BE(mtime >>> 0, packet.writeUInt32BE((atime ?? mtime) >>> 0, at))
  }
  packet.writeUInt32BE(flags, start)
  return at
}

function hasOwner({ uid, gid }: SftpAttributes): boolean {
  return uid !== undefined && gid !== undefined
}
