/** What a large file costs in memory, here and on the hosts, next to a small one. */
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { limitRow, plainRow } from '../measure.mjs'
import { AGENT, digestOf, startLab } from './kit.mjs'

const HOSTS = 2
const SIZES_MB = [200, 2000]

/** @param {{ log: (line: string) => void, megabytes?: number }} options */
export async function measureMemory({ log, megabytes }) {
  const rows = []
  const sizes = megabytes === undefined ? SIZES_MB : [megabytes]
  const lab = await startLab(HOSTS, { bytes: HOSTS * Math.max(...sizes) * 1e6 })
  try {
    for (const size of sizes) {
      const path = join(lab.folder, 'holes')
      writeFileSync(path, 'begin')
      truncateSync(path, size * 1e6)
      const digest = await digestOf(path)
      for (const via of size === Math.min(...sizes) ? ['chain', 'sftp', 'scp', 'rsync'] : ['chain', 'sftp']) {
        await lab.clean()
        const peaks = new Map()
        const timer = setInterval(() => sample(lab, peaks), 100)
        const { peakMiB, seconds } = await lab.copy(path, via).finally(() => clearInterval(timer))
        await lab.verify(digest, 'holes')
        const agents = Math.max(...peaks.values()) / 1024
        log(`${size} MB via ${via}: ${seconds.toFixed(1)} s, here ${peakMiB.toFixed(0)} MiB, agents ${agents.toFixed(0)} MiB`)
        const title = `${size} MB to ${HOSTS} hosts via ${via}: resident at most`
        if (size < Math.max(...sizes)) {
          rows.push(plainRow({ what: `${title}, here`, ours: peakMiB, unit: 'MiB' }))
          rows.push(plainRow({ what: `${title}, agents`, ours: agents, unit: 'MiB' }))
        } else {
          rows.push(limitRow({ what: `${title}, here`, ours: peakMiB, better: 'lower', goal: 150, unit: 'MiB' }))
          rows.push(limitRow({ what: `${title}, agents`, ours: agents, better: 'lower', goal: 150, unit: 'MiB' }))
        }
      }
    }
    return rows
  } finally {
    await lab.stop()
  }
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
