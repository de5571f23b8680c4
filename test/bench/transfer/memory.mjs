/** What a large file, and what many small ones cost in memory, here and on the hosts: every way to copy, both directions. */
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { makeRandom } from '../../drill/shared.mjs'
import { limitRow, plainRow } from '../measure.mjs'
import { AGENT, digestOf, digestOfSmall, makeSmallFiles, startLab, TARGET } from './kit.mjs'

const HOSTS = 2
const FILES = 10_000
const MEGABYTES = 2000
const LIMIT_MIB = 150
const PUT = ['chain', 'sftp', 'scp', 'rsync']
const GET = ['sftp', 'scp', 'rsync']

/** @param {{ log: (line: string) => void, megabytes?: number, seed: number }} options */
export async function measureMemory({ log, megabytes = MEGABYTES, seed }) {
  const rows = []
  const lab = await startLab(HOSTS, { bytes: HOSTS * Math.max(megabytes * 1e6, 2 * FILES * 8192) })
  try {
    const large = join(lab.folder, 'holes')
    writeFileSync(large, 'begin')
    truncateSync(large, megabytes * 1e6)
    const small = join(lab.folder, 'small')
    makeSmallFiles(small, FILES, makeRandom(seed))
    const sources = [
      { path: large, title: `${megabytes} MB`, digest: await digestOf(large), digestAt: digestOf },
      { path: small, title: `${FILES} files`, digest: digestOfSmall(small), digestAt: async (path) => digestOfSmall(path) },
    ]
    for (const source of sources) {
      for (const via of PUT) rows.push(...(await measure(lab, source, { verb: 'put', via, log })))
      // What they give back is what they got.
      for (const via of GET) rows.push(...(await measure(lab, source, { verb: 'get', via, log })))
    }
    return rows
  } finally {
    await lab.stop()
  }
}

async function measure(lab, { path, title, digest, digestAt }, { verb, via, log }) {
  const name = basename(path)
  const back = join(lab.folder, 'back')
  rmSync(back, { recursive: true, force: true })
  if (verb === 'put') await lab.clean()
  const peaks = new Map()
  const timer = setInterval(() => sample(lab, peaks), 100)
  const how = verb === 'put' ? {} : { verb, to: `${back}/{{host}}` }
  const copied = await lab.copy(verb === 'put' ? path : `${TARGET}/${name}`, via, how).finally(() => clearInterval(timer))
  const places = verb === 'put' ? lab.hosts.map(({ home }) => join(home, TARGET)) : lab.addresses.map((address) => join(back, address))
  for (const place of places) if ((await digestAt(join(place, name))) !== digest) throw new Error(`${verb} via ${via}: ${place} is wrong`)
  const agents = Math.max(...peaks.values()) / 1024
  const { seconds, peakMiB, cpuSeconds } = copied
  log(
    `${verb} ${title} via ${via}: ${seconds.toFixed(1)} s (${cpuSeconds.toFixed(1)} s of processor here), here ${peakMiB.toFixed(0)} MiB, agents ${agents.toFixed(0)} MiB`,
  )
  const what = `${verb} ${title}, ${HOSTS} hosts, ${via}: resident at most`
  return [
    limitRow({ what: `${what}, here`, ours: peakMiB, better: 'lower', goal: LIMIT_MIB, unit: 'MiB' }),
    plainRow({ what: `${what}, agents`, ours: agents, unit: 'MiB' }),
  ]
}

/** The kernel keeps the peak of each; the last look before its end is what counts. */
function sample({ bed, hosts }, peaks) {
  for (const { name } of hosts) {
    for (const { pid, command } of bed.processes(name)) {
      if (!AGENT.test(command)) continue
      try {
        const peak = /^VmHWM:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
        peaks.set(pid, Math.max(peaks.get(pid) ?? 0, Number(peak ?? 0)))
      } catch {
        // It has ended.
      }
    }
  }
}
