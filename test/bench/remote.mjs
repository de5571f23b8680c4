import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sshHostsUnavailable, startSshHosts } from '../testbed/ssh-hosts.mjs'
import { makeSshKey } from '../testbed/ssh-keys.mjs'
import { interleave, limitRow, median, ratioRow, timeMs } from './measure.mjs'
import { measureFirstContact } from './remote/first-contact.mjs'
import { measureOneLogin } from './remote/one-login.mjs'
import { installPeers, runPart } from './remote/programs.mjs'

export const what = 'commands on ssh hosts: first contact, many commands, many hosts, much output, much waiting'

const FLEET = 1000
const STREAM_BYTES = 300_000_000
const WAITING = 10_000

const PARTS = {
  'first contact': firstContact,
  'one login': measureOneLogin,
  fleet: measureFleet,
  stream: measureStream,
  waiting: measureWaiting,
}

/** CAHIER_BENCH_PARTS: names of {@link PARTS}, with commas between them, for a bench of some only. */
export default async function ({ repeat, log }) {
  const reason = sshHostsUnavailable()
  if (reason !== undefined) throw new Error(`there can be no ssh hosts here: ${reason}`)
  const wanted = process.env.CAHIER_BENCH_PARTS?.split(',') ?? Object.keys(PARTS)
  const rows = []
  for (const name of wanted) {
    log(`-- ${name}`)
    const elapsed = await timeMs(async () => {
      rows.push(...(await PARTS[name]({ repeat, log })))
    })
    log(`-- ${name}: ${(elapsed / 1000).toFixed(1)} s`)
  }
  return { rows }
}

function firstContact({ repeat, log }) {
  return measureFirstContact({ repeat, log, peers: installPeers(log) })
}

/** One process plays all hosts; what is behind each is real: a shell, the runner, the command. */
async function measureFleet({ log }) {
  const directory = mkdtempSync(join(tmpdir(), 'cahier-fleet-'))
  const [host, own] = [makeSshKey('fleet'), makeSshKey('own')]
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  const addresses = Array.from({ length: FLEET }, (_, index) => `127.1.${Math.floor(index / 250)}.${(index % 250) + 1}`)
  const file = (name, text, mode = 0o644) => {
    writeFileSync(join(directory, name), text, { mode })
    return join(directory, name)
  }
  const identity = file('id', own.privateKey, 0o600)
  file('id.pub', `${own.publicKey}\n`)
  const knownHosts = file('known_hosts', `[127.1.*]:${port} ${host.publicKey}\n`)
  const sshConfig = file(
    'ssh_config',
    `Host *\n  User ${userInfo().username}\n  Port ${port}\n  IdentityFile ${identity}\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile ${knownHosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n`,
  )
  const program = fileURLToPath(new URL('remote/fleet-servers.mjs', import.meta.url))
  const servers = spawn(process.execPath, [program, JSON.stringify({ addresses, hostKey: host.privateKey, port })], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    await Promise.race([
      once(servers.stdout, 'data'),
      once(servers, 'exit').then(() => Promise.reject(new Error('the servers of the fleet did not start'))),
    ])
    const rows = []
    for (const runner of ['perl', 'none']) {
      const { whole, again, failed, seconds, mibPerHost } = await runPart('fleet-client', { addresses, sshConfig, runner, lines: 2000 })
      log(`${FLEET} simulated hosts, runner ${runner}: ${whole} whole answers, then ${again}, ${failed} failed, ${seconds.toFixed(1)} s`)
      const title = `${FLEET} simulated hosts, ${runner === 'none' ? 'a channel per command' : `runner ${runner}`}`
      rows.push(
        limitRow({ what: `${title}: memory per host`, ours: mibPerHost, better: 'lower', goal: 1, unit: 'MiB' }),
        limitRow({
          what: `${title}: whole answers of ${2 * FLEET}`,
          ours: whole + again,
          better: 'higher',
          goal: 2 * FLEET,
          unit: 'answers',
        }),
      )
    }
    return rows
  } finally {
    servers.stdin.end()
    await Promise.race([once(servers, 'exit'), new Promise((resolve) => setTimeout(resolve, 5000))])
    servers.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  }
}

async function measureStream({ repeat, log }) {
  const bed = await startSshHosts(1)
  const [{ address }] = bed.hosts
  const peaks = []
  try {
    const medians = await interleave(
      repeat,
      {
        cahier: async () => {
          const { taken, seconds, peakMiB } = await runPart('stream', { address, sshConfig: bed.plainConfig, bytes: STREAM_BYTES })
          if (taken !== STREAM_BYTES) throw new Error(`${taken} of ${STREAM_BYTES} bytes came`)
          peaks.push(peakMiB)
          return STREAM_BYTES / 1e6 / seconds
        },
        ssh: async () => {
          const child = spawn('ssh', ['-F', bed.plainConfig, address, `head -c ${STREAM_BYTES} /dev/zero`], {
            stdio: ['ignore', 'pipe', 'inherit'],
          })
          let taken = 0
          // Our side has logged in before: what the login takes is not the throughput.
          let start = 0
          child.stdout.on('data', (chunk) => {
            if (taken === 0) start = performance.now()
            taken += chunk.length
          })
          await once(child, 'close')
          if (taken !== STREAM_BYTES) throw new Error(`ssh: ${taken} of ${STREAM_BYTES} bytes came`)
          return STREAM_BYTES / 1e6 / ((performance.now() - start) / 1000)
        },
      },
      log,
    )
    const title = `${STREAM_BYTES / 1e6} MB from one command`
    return [
      ratioRow({ what: `${title}: MB per second, against ssh`, ours: medians.cahier, peer: medians.ssh, better: 'higher', goal: 1 }),
      limitRow({ what: `${title}: resident at most`, ours: median(peaks), better: 'lower', goal: 150, unit: 'MiB' }),
    ]
  } finally {
    await bed.stop()
  }
}

async function measureWaiting({ log }) {
  // A host is given some hundreds of commands at a time; here all are to be running at once.
  const bed = await startSshHosts(WAITING / 250)
  try {
    const addresses = bed.hosts.map(({ address }) => address)
    const { running, threads, cpuMs, kibEach } = await runPart('waiting', { addresses, sshConfig: bed.plainConfig, count: WAITING })
    log(`${running} of ${WAITING} were running, ${kibEach.toFixed(1)} KiB each`)
    const title = `${WAITING} processes waiting`
    return [
      limitRow({ what: `${title}: running`, ours: running, better: 'higher', goal: WAITING, unit: 'processes' }),
      limitRow({ what: `${title}: more threads`, ours: threads, better: 'lower', goal: 0, unit: 'threads' }),
      limitRow({ what: `${title}: CPU time in 2 s`, ours: cpuMs, better: 'lower', goal: 20, unit: 'ms' }),
    ]
  } finally {
    await bed.stop()
  }
}
