import type { Connection } from '../model/connection.js'
import type { RunnerKind } from './runner/runner-program.js'

/** What drives commands on a host: a runner, or a channel for each of them. */
export type Drive = RunnerKind | 'none'

/**
 * What to try on a host, in this order, until one works.
 *
 * @param worked - what worked there before
 * @returns at least one; a runner that was asked for by name is not replaced by another
 */
export function drivesToTry(choice: Connection['runner'], worked?: Drive): readonly Drive[] {
  if (choice === 'raw') return ['none']
  if (choice !== 'auto') return [choice]
  const all: readonly Drive[] = ['perl', 'sh', 'none']
  return worked === undefined ? all : [worked, ...all.filter((drive) => drive !== worked)]
}

/** What waiting and trying again will not change: whoever runs there is given up. */
export function isFinalFailure(code: string): boolean {
  return code.startsWith('E_LOGIN_') || code.startsWith('E_HOST_KEY_') || code === 'E_SSH_CONFIG' || code === 'E_ABORTED'
}

const FIRST_PAUSE_MS = 200
const LONGEST_PAUSE_MS = 5_000

/** Before a lost connection is tried again: exponential, at least half, the rest at random. @param tries - made so far, at least 1 */
export function pauseBeforeReconnect(tries: number, random: number): number {
  const full = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1))
  return full / 2 + (random * full) / 2
}
