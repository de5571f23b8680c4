/**
 * Compares one host name with many hashed names of known_hosts files: `|1|salt|hash` with hash = HMAC-SHA1(key: salt, data: name).
 *
 * A file of 3,000 hashed lines and 1,000 hosts make three million comparisons. Node's `createHmac` takes about 3 us for each; half of the
 * work depends on the salt alone, and done once per line, with the rest in plain arithmetic, a comparison takes about 0.5 us.
 */
export class HashedNames {
  /** Inner and outer state after the salt: ten words per line. */
  #salted = new Int32Array(0)
  /** Five words per line. */
  #hashes = new Int32Array(0)
  #count = 0

  get count(): number {
    return this.#count
  }

  /**
   * @param salt - 20 bytes
   * @param hash - 20 bytes
   */
  add(salt: Uint8Array, hash: Uint8Array): void {
    if (this.#count * 10 === this.#salted.length) {
      this.#salted = grown(this.#salted, 10)
      this.#hashes = grown(this.#hashes, 5)
    }
    for (const [at, pad] of [
      [0, 0x36],
      [5, 0x5c],
    ] as const) {
      BLOCK.fill(0)
      for (let index = 0; index < 64; index += 1) putByte(index, (salt[index] ?? 0) ^ pad)
      START.forEach((word, index) => {
        STATE[index] = word
      })
      compress()
      this.#salted.set(STATE, this.#count * 10 + at)
    }
    const view = new DataView(hash.buffer, hash.byteOffset, 20)
    for (let word = 0; word < 5; word += 1) this.#hashes[this.#count * 5 + word] = view.getInt32(word * 4)
    this.#count += 1
  }

  /** The numbers of the lines, in the order in which they were added, whose hash is that of `name`. */
  find(name: string): number[] {
    const blocks = padded(Buffer.from(name))
    const found: number[] = []
    for (let line = 0; line < this.#count; line += 1) {
      for (let word = 0; word < 5; word += 1) STATE[word] = this.#salted[line * 10 + word]!
      for (const block of blocks) {
        BLOCK.set(block)
        compress()
      }
      BLOCK.fill(0)
      for (let word = 0; word < 5; word += 1) {
        BLOCK[word] = STATE[word]!
        STATE[word] = this.#salted[line * 10 + 5 + word]!
      }
      // the salt's block and 20 bytes: 672 bits
      BLOCK[5] = 0x80000000 | 0
      BLOCK[15] = 672
      compress()
      let same = true
      for (let word = 0; word < 5 && same; word += 1) same = STATE[word] === this.#hashes[line * 5 + word]
      if (same) found.push(line)
    }
    return found
  }
}

const START = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]
/** Scratch space: everything here is synchronous. */
const STATE = new Int32Array(5)
const BLOCK = new Int32Array(80)

function grown(words: Int32Array<ArrayBuffer>, step: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(words.length * 2, 64 * step))
  larger.set(words)
  return larger
}

function putByte(index: number, byte: number): void {
  BLOCK[index >> 2]! |= byte << (24 - (index & 3) * 8)
}

/** The blocks of SHA-1 after a first one of 64 bytes. */
function padded(data: Uint8Array): Int32Array[] {
  const bytes = Buffer.alloc(Math.ceil((data.length + 9) / 64) * 64)
  bytes.set(data)
  bytes[data.length] = 0x80
  bytes.writeUInt32BE((64 + data.length) * 8, bytes.length - 4)
  return Array.from({ length: bytes.length / 64 }, (_, block) =>
    Int32Array.from({ length: 16 }, (_word, word) => bytes.readInt32BE(block * 64 + word * 4)),
  )
}

/** One round of SHA-1 (FIPS 180-4, 6.1.2) of the first sixteen words of BLOCK into STATE. */
function compress(): void {
  for (let t = 16; t < 80; t += 1) {
    const word = BLOCK[t - 3]! ^ BLOCK[t - 8]! ^ BLOCK[t - 14]! ^ BLOCK[t - 16]!
    BLOCK[t] = (word << 1) | (word >>> 31)
  }
  let a = STATE[0]!
  let b = STATE[1]!
  let c = STATE[2]!
  let d = STATE[3]!
  let e = STATE[4]!
  for (let t = 0; t < 80; t += 1) {
    let mixed: number
    if (t < 20) mixed = ((b & c) | (~b & d)) + 0x5a827999
    else if (t < 40) mixed = (b ^ c ^ d) + 0x6ed9eba1
    else if (t < 60) mixed = ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
    else mixed = (b ^ c ^ d) + 0xca62c1d6
    const next = (((a << 5) | (a >>> 27)) + mixed + e + BLOCK[t]!) | 0
    e = d
    d = c
    c = (b << 30) | (b >>> 2)
    b = a
    a = next
  }
  STATE[0] = (STATE[0]! + a) | 0
  STATE[1] = (STATE[1]! + b) | 0
  STATE[2] = (STATE[2]! + c) | 0
  STATE[3] = (STATE[3]! + d) | 0
  STATE[4] = (STATE[4]! + e) | 0
}
