/** Files to hosts of this machine, against what people use for that: both in the same run, every copy verified by SHA-256. */
import { loadavg } from 'node:os'
import { installSystemPrograms } from '../../scripts/steps.mjs'
import { sshHostsUnavailable } from '../testbed/ssh-hosts.mjs'
import { timeMs } from './measure.mjs'
import { measureCable } from './transfer/cable.mjs'
import { measureKilled } from './transfer/killed.mjs'
import { measureMemory } from './transfer/memory.mjs'
import { measureSingle } from './transfer/single.mjs'
import { measureSmall } from './transfer/small.mjs'
import { measureUnlimited } from './transfer/unlimited.mjs'

export const what = 'files to hosts: one cable, no limit, a relay that dies, small files, memory, one host'
export const rounds = 3

const PARTS = {
  cable: measureCable,
  unlimited: measureUnlimited,
  killed: measureKilled,
  small: measureSmall,
  memory: measureMemory,
  single: measureSingle,
}

/**
 * @param {{ repeat: number, log: (line: string) => void, parts?: string, megabytes?: number, seed?: number }} options
 * `parts`: names of {@link PARTS}, with commas between them; `megabytes`: what is copied, instead of what each part takes by itself
 */
export default async function ({ repeat, log, parts, megabytes, seed = Date.now() % 1_000_000 }) {
  const wanted = parts?.split(',') ?? Object.keys(PARTS)
  const unknown = wanted.filter((name) => !(name in PARTS))
  if (unknown.length > 0) throw new Error(`there is no part ${unknown.join(', ')}; known: ${Object.keys(PARTS).join(', ')}`)
  await installSystemPrograms()
  const reason = sshHostsUnavailable({ netns: true })
  if (reason !== undefined) throw new Error(`there can be no hosts with networks of their own here: ${reason}`)
  log(`seed ${seed}`)
  const rows = []
  for (const name of wanted) {
    log(`-- ${name} (load ${loadavg()[0].toFixed(1)})`)
    const elapsed = await timeMs(async () => {
      rows.push(...(await PARTS[name]({ repeat, log, megabytes, seed })))
    })
    log(`-- ${name}: ${(elapsed / 1000).toFixed(1)} s (load ${loadavg()[0].toFixed(1)})`)
  }
  return { rows }
}
