import { ConfigError } from '../errors.js'

/**
 * The growing positions that a filter kept, in whichever of two forms is shorter: `runs` alternates how many are left out
 * and how many kept (10 kept, 3 left out, 5 kept: `[0, 10, 3, 5]`); `bits` is base64 of one bit per position, the lowest first.
 */
export type KeptPositions = { readonly runs: readonly number[] } | { readonly bits: string }

export function encodeKept(kept: Uint32Array): KeptPositions {
  const runs: number[] = []
  // About three characters for a run of a ragged set, one for six bits.
  const most = Math.max(64, (kept.at(-1) ?? 0) / 18)
  let expected = -1
  for (const position of kept) {
    if (position === expected) runs[runs.length - 1]!++
    else runs.push(position - Math.max(expected, 0), 1)
    expected = position + 1
    if (runs.length > most) return { bits: encodeBits(kept) }
  }
  return { runs }
}

/** The inverse of {@link encodeKept}. Throws ConfigError `E_ARGUMENT` when a position is not below `size`. */
export function decodeKept(kept: KeptPositions, size: number): Uint32Array {
  const positions = 'bits' in kept ? decodeBits(kept.bits) : decodeRuns(kept.runs, size)
  if ((positions.at(-1) ?? -1) >= size) throw unreadable()
  return positions
}

function decodeRuns(runs: readonly number[], size: number): Uint32Array {
  const total = runs.reduce((sum, length) => sum + length, 0)
  if (!Array.isArray(runs) || runs.length % 2 !== 0 || !runs.every((length) => Number.isInteger(length) && length >= 0) || total > size) {
    throw unreadable()
  }
  const positions = new Uint32Array(runs.reduce((sum, length, at) => sum + (at % 2) * length, 0))
  let position = 0
  let count = 0
  for (let at = 0; at < runs.length; at += 2) {
    position += runs[at]!
    for (let left = runs[at + 1]!; left > 0; left--) positions[count++] = position++
  }
  return positions
}

function encodeBits(kept: Uint32Array): string {
  const bytes = new Uint8Array(Math.floor((kept.at(-1) ?? 0) / 8) + 1)
  for (const position of kept) bytes[position >>> 3]! |= 1 << (position & 7)
  return Buffer.from(bytes).toString('base64')
}

function decodeBits(text: string): Uint32Array {
  const bytes = Buffer.from(text, 'base64')
  const positions: number[] = []
  for (let at = 0; at < bytes.length; at++) {
    for (let bit = 0; bit < 8; bit++) if (bytes[at]! & (1 << bit)) positions.push(at * 8 + bit)
  }
  return Uint32Array.from(positions)
}

function unreadable(): ConfigError {
  return new ConfigError('E_ARGUMENT', 'the kept positions of a space cannot be read')
}
