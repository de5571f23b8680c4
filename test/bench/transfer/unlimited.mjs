/** Through 4 hosts without any limit but the processors: against a bare chain of nc and tee, which checks nothing. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { interleave, plainRow, ratioRow } from '../measure.mjs'
import { digestOf, startLab, TARGET } from './kit.mjs'

const HOSTS = 4
const PORT = 7000

/** @param {{ repeat: number, log: (line: string) => void, megabytes?: number }} options */
export async function measureUnlimited({ repeat, log, megabytes = 1000 }) {
  const bytes = megabytes * 1e6
  const lab = await startLab(HOSTS, { bytes: (HOSTS + 1) * bytes })
  try {
    const path = await lab.file('image', bytes)
    const digest = await digestOf(path)
    const checked = (action) => async () => {
      await lab.prepare()
      const seconds = await action()
      await lab.verify(digest, 'image')
      return megabytes / seconds
    }
    // The programs of the other chain stand, too, when its time begins.
    const rates = await interleave(
      repeat,
      {
        chain: checked(async () => (await lab.copy(path, 'chain', { isWarm: true })).seconds),
        'chain, cold': checked(async () => (await lab.copy(path, 'chain')).seconds),
        nc: checked(() => netcatChain(lab, path)),
      },
      log,
    )
    const title = `${megabytes} MB through ${HOSTS} hosts`
    return [
      ratioRow({
        what: `${title}: MB/s, logged in before, against nc | tee | nc`,
        ours: rates.chain,
        peer: rates.nc,
        better: 'higher',
        goal: 0.6,
      }),
      plainRow({ what: `${title}: logins included, against nc | tee | nc`, ours: rates['chain, cold'], peer: rates.nc, unit: 'MB/s' }),
    ]
  } finally {
    await lab.stop()
  }
}

/** @returns {Promise<number>} seconds from the first byte until the last host is through */
async function netcatChain({ bed, hosts }, path) {
  const children = []
  try {
    for (const [index, host] of [...hosts.entries()].reverse()) {
      const file = join(host.home, TARGET, 'image')
      const next = hosts[index + 1]
      const script = next === undefined ? `nc -l ${PORT} >${file}` : `nc -l ${PORT} | tee ${file} | nc -N ${next.address} ${PORT}`
      const enter = bed.enter(host.name)
      children.push(spawn(enter[0], [...enter.slice(1), 'sh', '-c', script], { stdio: 'ignore' }))
      await listening(enter[2])
    }
    const ends = children.map((child) => once(child, 'exit'))
    const start = performance.now()
    const source = createReadStream(path)
    await once(source, 'open')
    const sender = spawn('nc', ['-N', hosts[0].address, `${PORT}`], { stdio: [source.fd, 'ignore', 'inherit'] })
    await once(sender, 'exit')
    source.destroy()
    for (const [code] of await Promise.all(ends)) if (code !== 0) throw new Error(`a chain of nc ended with ${code}`)
    return (performance.now() - start) / 1000
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
}

/** Waits until somebody listens in the network of this process. */
async function listening(pid) {
  const wanted = new RegExp(`:${PORT.toString(16).toUpperCase().padStart(4, '0')} \\S+ 0A `)
  for (const until = Date.now() + 10_000; Date.now() < until; await sleep(10)) {
    if (['tcp', 'tcp6'].some((table) => wanted.test(readFileSync(`/proc/${pid}/net/${table}`, 'latin1')))) return
  }
  throw new Error('nc does not listen')
}
