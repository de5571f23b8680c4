import { scanProcesses, selectTree, sendSignal } from './process-tree.js'
import type { ProcessControls } from './supervised-process.js'

/** The tree of a process of this machine, whoever started it. */
export function localTree(
  pid: number,
  marker: string,
  signalGroup: (signal: NodeJS.Signals) => void,
): Pick<ProcessControls, 'signalTree' | 'living'> {
  const members = async (leaderEnded: boolean) => {
    const entries = await scanProcesses()
    // Once the leader is reaped its number may belong to a stranger, and so may the group.
    const reused = leaderEnded && entries.some((entry) => entry.pid === pid)
    return selectTree(entries, reused ? -1 : pid, marker)
  }
  return {
    signalTree: async (signal, leaderEnded, only) => {
      if (only !== undefined) {
        for (const other of only) sendSignal(other, signal)
        return
      }
      // Who left the group is looked up first: once a parent is dead, the link to its children is lost.
      const before = members(leaderEnded)
      if (!leaderEnded) signalGroup(signal)
      for (const entry of await before) {
        if (leaderEnded || (entry.group !== pid && entry.pid !== pid)) sendSignal(entry.pid, signal)
      }
    },
    living: async (leaderEnded) => (await members(leaderEnded)).map((entry) => entry.pid),
  }
}
