import { spawnSync } from 'node:child_process'
import { thisProcess } from '../../src/util/process-identity.js'

export interface LockCase {
  readonly title: string
  readonly line: string
  /** How long ago it was renewed last. */
  readonly ageS: number
  readonly isHeld: boolean
}

const OTHER_BOOT = '00000000-0000-4000-8000-000000000000'
/** More than any holder lets pass, and more than those who know minutes only wait for. */
const OLD_S = 250

/** Locks of others, and who still has the folder, as docs/reference/chain.md says. */
export function lockCases(): readonly LockCase[] {
  const { host, boot, space } = thisProcess()
  const known = (word: string): string => (word === '' ? '-' : word)
  const gone = spawnSync('true').pid
  const line = (words: Partial<Record<'host' | 'boot' | 'pid' | 'start' | 'space', string | number>>): string => {
    const all = { host, boot: known(boot), pid: process.ppid, start: '-', space: known(space), ...words }
    return `${all.host} ${all.boot} ${all.pid} ${all.start} ${all.space} - 123abc\n`
  }
  const young = 0
  return [
    { title: 'a process that lives here, whatever its age', line: line({}), ageS: OLD_S, isHeld: true },
    { title: 'a process that has ended here', line: line({ pid: gone, start: 1 }), ageS: young, isHeld: false },
    { title: 'one that had the number of another here', line: line({ start: 1 }), ageS: young, isHeld: false },
    { title: 'a host of this name with another boot', line: line({ boot: OTHER_BOOT, pid: gone }), ageS: young, isHeld: true },
    { title: 'a host of this name with another boot, long ago', line: line({ boot: OTHER_BOOT }), ageS: OLD_S, isHeld: false },
    { title: 'a container with the name of this host', line: line({ space: 'pid:[1]', pid: gone }), ageS: young, isHeld: true },
    { title: 'a container with the name of this host, long ago', line: line({ space: 'pid:[1]' }), ageS: OLD_S, isHeld: false },
    { title: 'another host', line: line({ host: 'elsewhere', boot: OTHER_BOOT }), ageS: young, isHeld: true },
    { title: 'another host on the same kernel', line: line({ host: 'elsewhere', pid: gone, start: 1 }), ageS: young, isHeld: true },
    { title: 'another host, long ago', line: line({ host: 'elsewhere', boot: OTHER_BOOT }), ageS: OLD_S, isHeld: false },
    { title: 'somebody who is writing it', line: '', ageS: young, isHeld: true },
    { title: 'somebody who has never written it', line: '', ageS: OLD_S, isHeld: false },
    { title: 'something else', line: 'theirs\n', ageS: OLD_S, isHeld: false },
  ]
}
