import type { WorkItem } from '../model/combination.js'
import type { Space } from '../model/space.js'

/** What an edited campaign would change: counts and some examples. */
export interface SpaceDifference {
  readonly added: number
  readonly kept: number
  readonly removed: number
  readonly examplesAdded: readonly WorkItem[]
  readonly examplesRemoved: readonly WorkItem[]
}

/** Compares two sets of work items. Linear in their sizes, unless the definitions are the same. */
export function compareItems(before: Space<WorkItem>, after: Space<WorkItem>, examples = 5): SpaceDifference {
  const examplesAdded: WorkItem[] = []
  const examplesRemoved: WorkItem[] = []
  let kept = 0
  for (const item of after) {
    if (before.indexOf(item) >= 0) kept += 1
    else if (examplesAdded.length < examples) examplesAdded.push(item)
  }
  if (kept < before.size) {
    for (const item of before) {
      if (examplesRemoved.length >= examples) break
      if (after.indexOf(item) < 0) examplesRemoved.push(item)
    }
  }
  return { added: after.size - kept, kept, removed: before.size - kept, examplesAdded, examplesRemoved }
}
