import { constants } from 'node:os'

/** Where a number has two names (SIGABRT and SIGIOT), the common one stands first. */
const NAMES = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name as NodeJS.Signals]),
)

/** The name of a signal of this machine; `undefined` for a number that has none. */
export function signalName(number: number): NodeJS.Signals | undefined {
  return NAMES.get(number)
}
