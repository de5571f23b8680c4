import type { Space } from '../model/space.js'
import { mapSpace } from './space-mapping.js'
import type { SweepState } from './sweep-state.js'

/** What another definition of the sweep changes: `+` added, `=` kept, `-` removed. */
export interface SpaceDifference<T> {
  readonly added: number
  readonly kept: number
  readonly removed: number
  /** Removed items that are done, skipped or have failed: what is known of them is kept as orphaned. */
  readonly orphaned: number
  /** True when the journal's sweep was changed. */
  readonly applied: boolean
  addedItems(): Iterable<T>
  removedItems(): Iterable<T>
}

export function describeDifference<T>(state: SweepState<T>, to: Space<T>, applied: boolean): SpaceDifference<T> {
  const { present } = state
  const from = present?.space
  if (from === to) return { added: 0, kept: to.size, removed: 0, orphaned: 0, applied, addedItems: () => [], removedItems: () => [] }
  const map = from === undefined ? new Int32Array(0) : mapSpace(from, to)
  let kept = 0
  let orphaned = 0
  for (let index = 0; index < map.length; index++) {
    if (map[index]! >= 0) kept++
    else if (present!.states[index]! > 1) orphaned++
  }
  return {
    added: to.size - kept,
    kept,
    removed: map.length - kept,
    orphaned,
    applied,
    *addedItems() {
      const isKept = new Uint8Array(to.size)
      for (const target of map) if (target >= 0) isKept[target] = 1
      for (let index = 0; index < isKept.length; index++) if (isKept[index] === 0) yield to.at(index)
    },
    *removedItems() {
      for (let index = 0; index < map.length; index++) if (map[index]! < 0) yield from!.at(index)
    },
  }
}
