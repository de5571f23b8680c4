/** Many short commands on a host: through one login, by a loop of the shell there, by one ssh for each. */
import { spawn } from 'node:child_process'
import { startSshHosts } from '../../testbed/ssh-hosts.mjs'
import { interleave, limitRow, ratioRow } from '../measure.mjs'
import { openRemotes, repeatAtOnce, runOn } from './api.mjs'

const AT_ONCE = 64
/** One ssh for each is so slow that fewer are enough. */
const SINGLE = 160
const SINGLE_AT_ONCE = 8

/** @param {{ repeat: number, log: (line: string) => void }} options */
export async function measureOneLogin({ repeat, log }) {
  return [...(await measure(1, 2000, repeat, log)), ...(await measure(8, 500, repeat, log))]
}

async function measure(hostCount, commands, repeat, log) {
  const bed = await startSshHosts(hostCount)
  const addresses = bed.hosts.map(({ address }) => address)
  const remotes = openRemotes(addresses, { sshConfig: bed.plainConfig })
  const total = hostCount * commands
  const rate = async (count, action) => {
    const start = performance.now()
    await action()
    return count / ((performance.now() - start) / 1000)
  }
  const loop = `i=0; while [ $i -lt ${commands} ]; do /bin/true || exit 1; i=$((i+1)); done`
  let ours = 0
  try {
    const sides = {
      cahier: async () => {
        const before = bed.logins()
        const figure = await rate(total, () =>
          Promise.all(remotes.backends.map((backend) => repeatAtOnce(commands, AT_ONCE, () => runOn(backend, { command: ['/bin/true'] })))),
        )
        ours += bed.logins() - before
        return figure
      },
      loop: () => rate(total, () => Promise.all(addresses.map((address) => ssh(bed, address, `exec sh -c '${loop}'`)))),
      'ssh each': () =>
        rate(SINGLE, () => repeatAtOnce(SINGLE, SINGLE_AT_ONCE, (index) => ssh(bed, addresses[index % hostCount], '/bin/true'))),
    }
    const medians = await interleave(repeat, sides, log)
    const title = hostCount === 1 ? `${commands} commands on one host` : `${hostCount} hosts, ${commands} commands each`
    return [
      ratioRow({
        what: `${title}: per second, against a shell loop there`,
        ours: medians.cahier,
        peer: medians.loop,
        better: 'higher',
        goal: 0.5,
      }),
      ratioRow({
        what: `${title}: per second, against one ssh each, ${SINGLE_AT_ONCE} wide`,
        ours: medians.cahier,
        peer: medians['ssh each'],
        better: 'higher',
        goal: 20,
      }),
      limitRow({
        what: `${title}: logins per host in the log of sshd, all rounds`,
        ours: ours / hostCount,
        better: 'lower',
        goal: 1,
        unit: 'logins',
      }),
    ]
  } finally {
    await remotes.close()
    await bed.stop()
  }
}

function ssh(bed, address, command) {
  return new Promise((resolve, reject) => {
    const child = spawn('ssh', ['-F', bed.plainConfig, address, command], { stdio: ['ignore', 'ignore', 'inherit'] })
    child.on('error', reject)
    child.on('close', (code) => (code === 0 ? resolve() : reject(new Error(`ssh ${address} ended with ${code}`))))
  })
}
