/** Positions in an event: one number, or growing ranges: `"0-15,20,31-40"`. */
export type IndexRanges = number | string

export function encodeIndexes(indexes: readonly number[]): IndexRanges {
  if (indexes.length === 1) return indexes[0]!
  const parts: string[] = []
  for (let i = 0; i < indexes.length; ) {
    const first = indexes[i]!
    let last = first
    for (i++; i < indexes.length && indexes[i] === last + 1; i++) last++
    parts.push(first === last ? `${first}` : `${first}-${last}`)
  }
  return parts.join(',')
}

/** The inverse of {@link encodeIndexes}; nothing for what is not in its form. */
export function decodeIndexes(ranges: unknown): readonly number[] {
  if (typeof ranges === 'number') return [ranges]
  if (typeof ranges !== 'string' || !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(ranges)) return []
  const indexes: number[] = []
  for (const part of ranges.split(',')) {
    const [first, last = first] = part.split('-').map(Number)
    for (let index = first!; index <= last!; index++) indexes.push(index)
  }
  return indexes
}
