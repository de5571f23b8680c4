/** How soon an end is known, and what is asked of the site meanwhile: on the site itself, and from elsewhere over ssh. */
import { join } from 'node:path'
import { sshHostsUnavailable, startSshHosts } from '../../testbed/ssh-hosts.mjs'
import { limitRow } from '../measure.mjs'
import { campaign, onBed, statusCalls } from './beds.mjs'

const JOBS = 48
/** Its last line is the time of its end, by the clock of this machine. */
const COMMAND = 'sleep {{ n | modulo: 5 | plus: 1 }}; date +%s.%N'
const FLOOR_S = 30
const SHORT_FLOOR_S = 3

/** Jobs of a few seconds, while the queue may be asked every half minute: what is known is known from the jobs themselves. */
export async function measureEnds({ log }) {
  const rows = []
  for (const [where, measure] of [
    ['here', onSite],
    ['over ssh', overSsh],
  ]) {
    const { known, allowed, asked, seconds } = await measure(FLOOR_S, JOBS)
    const worst = Math.max(...known)
    log(
      `${where}: ${JOBS} jobs in ${seconds.toFixed(1)} s, known after ${worst.toFixed(2)} s at most; ${asked} status calls, ${allowed} allowed`,
    )
    rows.push(
      limitRow({ what: `an end is known, ${where}`, ours: worst, better: 'lower', goal: 2, unit: 's' }),
      limitRow({ what: `more status calls for it, ${where}`, ours: Math.max(0, asked - allowed), better: 'lower', goal: 0, unit: 'calls' }),
    )
  }
  return rows
}

/** A longer campaign over ssh with a short interval. */
export async function measureCalls({ log }) {
  const { logins, allowed, asked, seconds } = await overSsh(SHORT_FLOOR_S, 4 * JOBS)
  log(`${4 * JOBS} jobs over ssh in ${seconds.toFixed(1)} s: ${logins} logins, ${asked} status calls, ${allowed} allowed`)
  return [
    limitRow({ what: 'logins per host', ours: logins, better: 'lower', goal: 1, unit: 'logins' }),
    limitRow({ what: 'status calls beyond one per interval', ours: Math.max(0, asked - allowed), better: 'lower', goal: 0, unit: 'calls' }),
  ]
}

const rhythm = (floor) => ({ pollInterval: `${floor}s`, pollIntervalMax: `${floor}s` })

function onSite(floor, jobs) {
  return onBed({ cpus: 16, memoryMiB: 4000 }, async (bed, directory) => {
    const figures = await campaign(bed, { directory, jobs, command: COMMAND, site: { options: rhythm(floor) } })
    return { ...figures, ...callsOf(bed, figures, floor) }
  })
}

async function overSsh(floor, jobs) {
  const reason = sshHostsUnavailable()
  if (reason !== undefined) throw new Error(`there can be no ssh hosts here: ${reason}`)
  const hosts = await startSshHosts(1)
  try {
    const [host] = hosts.hosts
    return await onBed({ cpus: 16, memoryMiB: 4000 }, async (bed, directory) => {
      bed.offerCommands(join(host.directory, 'bin'))
      const site = {
        host: 'h1',
        connection: { sshConfig: hosts.sshConfig },
        workDirectory: join(directory, 'there'),
        options: rhythm(floor),
      }
      const figures = await campaign(bed, { directory, jobs, command: COMMAND, site })
      return { ...figures, ...callsOf(bed, figures, floor), logins: hosts.logins() }
    })
  } finally {
    await hosts.stop()
  }
}

/** One question when it begins, and one per interval. */
function callsOf(bed, { seconds }, floor) {
  return { asked: statusCalls(bed).length, allowed: 1 + Math.floor(seconds / floor) }
}
