import { setTimeout as pause } from 'node:timers/promises'
import type { RunningProcess } from '../ports/process-backend.js'
import { isAborted } from '../util/async.js'
import type { Started } from './command.js'
import { isShortage, type SpawnWindow } from './spawn-window.js'
import { endedProcess } from './supervised-process.js'

/** How long a shortage is waited out when no process of ours could end it; doubled from 20 ms on. */
const SHORTAGE_PATIENCE_MS = 10_000
/**
 * Waits for a place, tries to start, and waits again when the system is short of something. The place is given back by whoever
 * supervises the process, at its end.
 */
export async function startInWindow(
  window: SpawnWindow,
  signal: AbortSignal | undefined,
  tryToStart: () => Promise<Started>,
): Promise<RunningProcess> {
  let held = false
  for (let patience = 0; ; ) {
    if (isAborted(signal)) {
      if (held) window.leave()
      return endedProcess('canceled')
    }
    const place = held || window.enter(signal)
    if (place !== true && !(await place)) return endedProcess('canceled')
    const started = await tryToStart()
    if ('running' in started) return started.running
    if (!isShortage(started.code)) {
      window.leave()
      return endedProcess(started.unreachable === true ? 'unreachable' : 'not-started', started.error)
    }
    held = await window.shrink(signal)
    if (held || isAborted(signal)) continue
    if (patience >= SHORTAGE_PATIENCE_MS) return endedProcess('not-started', started.error)
    const wait = Math.max(20, patience)
    patience += wait
    await pause(wait)
  }
}
