/** The agent of one relay is killed at a random moment: what the others lose by it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { makeRandom } from '../../drill/shared.mjs'
import { limitRow, median } from '../measure.mjs'
import { AGENT, digestOf, startLab } from './kit.mjs'

const HOSTS = 8

/** @param {{ repeat: number, log: (line: string) => void, megabytes?: number, seed: number }} options */
export async function measureKilled({ repeat, log, megabytes = 100, seed }) {
  const random = makeRandom(seed)
  const bytes = megabytes * 1e6
  const lab = await startLab(HOSTS, { rate: '200mbit', bytes: (HOSTS + 1) * bytes })
  try {
    const path = await lab.file('image', bytes)
    const digest = await digestOf(path)
    const undisturbed = []
    const disturbed = []
    for (let round = 0; round < repeat; round++) {
      await lab.clean()
      undisturbed.push((await lab.copy(path, 'chain')).seconds)
      await lab.verify(digest, 'image')
      await lab.clean()
      const victim = lab.hosts[Math.floor(random() * HOSTS)]
      const share = 0.1 + 0.8 * random()
      const copying = lab.copy(path, 'chain', { failures: 1 })
      copying.catch(() => {})
      await begun(lab)
      await sleep(share * median(undisturbed) * 1000)
      const killed = lab.bed.killProcesses(victim.name, AGENT)
      const { seconds, results } = await copying
      const failed = lab.hosts.filter((_, index) => results[index].outcome !== 'done')
      if (killed.length !== 1 || failed.some(({ name }) => name !== victim.name)) {
        throw new Error(`not the agent that was killed: ${JSON.stringify({ killed, results })}`)
      }
      await lab.verify(
        digest,
        'image',
        lab.hosts.filter((host) => !failed.includes(host)),
      )
      disturbed.push(seconds)
      log(
        `round ${round + 1}/${repeat}: ${victim.name} killed after ${Math.round(100 * share)} %: ${seconds.toFixed(2)} s, undisturbed ${undisturbed.at(-1).toFixed(2)} s`,
      )
    }
    const limit = 1.5 * median(undisturbed) + 3
    return [
      limitRow({
        what: `${megabytes} MB to ${HOSTS} hosts, one killed (undisturbed ${median(undisturbed).toFixed(2)}, seed ${seed}): the slowest`,
        ours: Math.max(...disturbed),
        better: 'lower',
        goal: Number(limit.toFixed(2)),
        unit: 's',
      }),
    ]
  } finally {
    await lab.stop()
  }
}

/** Waits until every host has an agent. */
async function begun(lab) {
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(20)) {
    if (lab.hosts.every(({ name }) => lab.bed.processes(name).some(({ command }) => AGENT.test(command)))) return
  }
  throw new Error('the agents do not start')
}
