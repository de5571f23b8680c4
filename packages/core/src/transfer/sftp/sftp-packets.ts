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
 */
export function makeRequest(type: number, id: number | undefined, fields: readonly SftpField[]): Buffer {
  const parts: Uint8Array[] = id === undefined ? [] : [uint32(id)]
  for (const field of fields) {
    if (typeof field === 'number') parts.push(uint32(field))
    else if (typeof field === 'bigint') parts.push(uint64(field))
    else if (typeof field === 'string') parts.push(...withLength(Buffer.from(field, 'latin1')))
    else if (field instanceof Uint8Array) parts.push(...withLength(field))
    else parts.push(...attributeFields(field.attributes))
  }
  const length = parts.reduce((sum, part) => sum + part.length, 1)
  return Buffer.concat([uint32(length), Buffer.of(type), ...parts], 4 + length)
}

function attributeFields({ size, uid, gid, mode, atime, mtime }: SftpAttributes): Buffer[] {
  let flags = 0
  const parts: Buffer[] = []
  if (size !== undefined) {
    flags |= HAS_SIZE
    parts.push(uint64(BigInt(size)))
  }
  if (uid !== undefined && gid !== undefined) {
    flags |= HAS_OWNER
    parts.push(uint32(uid), uint32(gid))
  }
  if (mode !== undefined) {
    flags |= HAS_MODE
    parts.push(uint32(mode))
  }
  if (mtime !== undefined) {
    flags |= HAS_TIMES
    parts.push(uint32(atime ?? mtime), uint32(mtime))
  }
  return [uint32(flags), ...parts]
}

function withLength(bytes: Uint8Array): Uint8Array[] {
  return [uint32(bytes.length), bytes]
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

function uint64(value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}
