/** Listens for the end that a user asks for, once and twice. */
export interface StopSignals extends Disposable {
  /** Aborted when it was asked for once. */
  readonly signal: AbortSignal
}

export const DETACH_TEXT =
  'Claiming nothing more; jobs go on. "cahier run" resumes, "cahier stop --cancel-jobs" ends them. Ctrl-C again leaves at once.'

/**
 * Turns Ctrl-C, a closed terminal and a polite kill into an aborted signal; a second one leaves at once.
 *
 * @param say - shows a line to the user; not called when the terminal is gone
 * @param what - the line, which says what happens now
 */
export function listenForStop(say: (text: string) => void, leave: () => void, what: string = DETACH_TEXT): StopSignals {
  const controller = new AbortController()
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      leave()
      return
    }
    if (name !== 'SIGHUP') say(what)
    controller.abort(new Error(`stopped by ${name}`))
  }
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const name of names) process.on(name, onSignal)
  return {
    signal: controller.signal,
    [Symbol.dispose]: () => {
      for (const name of names) process.off(name, onSignal)
    },
  }
}
