import type { ByteName } from './byte-names.js'

const BLOCK = 512
/** The largest size that eleven octal digits hold. */
const OCTAL_LIMIT = 8 ** 11

/** Two empty blocks, and as many as fill what tar reads at once. */
export const TAR_END = Buffer.alloc(20 * BLOCK)

/**
 * What stands before the bytes of a file in a tar archive.
 *
 * @param name - relative
 * @source tar(5), "GNU tar archives": an entry of type L holds a name of more than 100 bytes for the next one; a first bit of 1 in the
 * field of the size means a binary number
 */
export function tarHeader(name: ByteName, bytes: number, mode: number, mtime: number): Buffer {
  if (name.length <= 100) return header(name, bytes, mode, mtime, '0')
  const long = Buffer.from(`${name}\0`, 'latin1')
  return Buffer.concat([
    header('././@LongLink', long.length, 0o644, 0, 'L'),
    long,
    tarPadding(long.length),
    header(name.slice(0, 100), bytes, mode, mtime, '0'),
  ])
}

/** What stands after them. */
export function tarPadding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK)
}

function header(name: ByteName, bytes: number, mode: number, mtime: number, type: '0' | 'L'): Buffer {
  const block = Buffer.alloc(BLOCK)
  block.write(name, 0, 'latin1')
  block.write(octal(mode, 8), 100, 'latin1')
  block.write(octal(0, 8), 108, 'latin1')
  block.write(octal(0, 8), 116, 'latin1')
  if (bytes < OCTAL_LIMIT) block.write(octal(bytes, 12), 124, 'latin1')
  else {
    block[124] = 0x80
    block.writeBigUInt64BE(BigInt(bytes), 128)
  }
  block.write(octal(Math.floor(mtime / 1000), 12), 136, 'latin1')
  block.write('        ', 148, 'latin1')
  block.write(type, 156, 'latin1')
  block.write('ustar\0' + '00', 257, 'latin1')
  let sum = 0
  for (const byte of block) sum += byte
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`
}
