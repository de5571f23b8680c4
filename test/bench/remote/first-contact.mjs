/** Many hosts, never seen before, one short command on each: our program against those that people use for this. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startSshHosts } from '../../testbed/ssh-hosts.mjs'
import { interleave, median, ratioRow, round3 } from '../measure.mjs'
import { costOf } from './programs.mjs'

const HOSTS = 200
const WIDTH = 64
const cahier = fileURLToPath(new URL('../../../packages/cli/bin/run.js', import.meta.url))

/** @param {{ repeat: number, log: (line: string) => void, peers: readonly string[] }} options */
export async function measureFirstContact({ repeat, log, peers }) {
  const bed = await startSshHosts(HOSTS)
  try {
    // One pattern for all hosts: a configuration with a block per host would cost each program something else.
    const config = bed.plainConfig
    const addresses = bed.hosts.map(({ address }) => address)
    const list = addresses.join(',')
    const file = join(bed.directory, 'hosts')
    writeFileSync(file, `${addresses.join('\n')}\n`)
    const exec = [process.execPath, cahier, 'exec', '-w', list, '--fanout', String(WIDTH), '--ssh-config', config]
    const commands = {
      cahier: { command: [...exec, '--', 'echo', 'here'] },
      // What the runner costs at a first contact where all servers share the cores of this machine.
      'cahier without runner': { command: [...exec, '--runner', 'none', '--', 'echo', 'here'] },
      pdsh: {
        command: ['pdsh', '-R', 'ssh', '-f', String(WIDTH), '-w', list, 'echo here'],
        env: { PDSH_SSH_ARGS_APPEND: `-F ${config}` },
      },
      clush: { command: ['clush', '-f', String(WIDTH), '-o', `-F ${config}`, '-w', list, 'echo here'] },
      taktuk: {
        command: ['taktuk', '-s', '-d', '-1', '-w', String(WIDTH), '-c', `ssh -F ${config}`]
          .concat(['-o', 'output="$host: $line\\n"', '-o', 'status', '-f', file])
          .concat(['broadcast', 'exec', '[', 'echo here; true', ']']),
      },
    }
    const names = ['cahier', 'cahier without runner', ...peers]
    const cpu = Object.fromEntries(names.map((name) => [name, []]))
    const lost = Object.fromEntries(names.map((name) => [name, 0]))
    const logins = []
    const sides = Object.fromEntries(
      names.map((name) => [
        name,
        async () => {
          const before = bed.logins()
          const { stdout, stderr, wallMs, cpuMs, code } = await costOf(commands[name].command, { env: commands[name].env })
          const answered = addresses.filter((address) => stdout.includes(`${address}: here\n`)).length
          lost[name] += HOSTS - answered
          if (answered < HOSTS) log(`${name}: ${answered} of ${HOSTS} answered (exit code ${code}): ${stderr.slice(-300)}`)
          if (name === 'cahier') logins.push(bed.logins() - before)
          cpu[name].push(cpuMs)
          return wallMs
        },
      ]),
    )
    const wall = await interleave(repeat, sides, log)
    const cost = Object.fromEntries(names.map((name) => [name, median(cpu[name])]))
    log(
      `client CPU per host: ${names.map((name) => `${name} ${round3(cost[name] / HOSTS)} ms`).join(', ')}; answers lost: ${JSON.stringify(lost)}`,
    )
    log(`logins of cahier per round: ${logins.join(', ')}`)
    const title = `${HOSTS} hosts, first contact, ${WIDTH} wide`
    /** Speed that loses answers is none. */
    const compare = (text, figures, name, goal, own = 'cahier') => {
      const row = ratioRow({ what: `${title}: ${text}`, ours: figures[own], peer: figures[name], better: 'lower', goal })
      return { ...row, met: row.met && lost[own] === 0 }
    }
    const rows = peers.flatMap((name) => [
      compare(`wall ms, ${name}${lost[name] > 0 ? ` (which lost ${lost[name]})` : ''}`, wall, name, 0.8),
      compare(`client CPU ms, ${name}`, cost, name, 0.5),
      compare(`without runner: wall ms, ${name}`, wall, name, 0.8, 'cahier without runner'),
    ])
    const missing = ['pdsh', 'clush', 'taktuk'].filter((name) => !peers.includes(name))
    for (const name of missing)
      rows.push({ what: `${title}: ${name} is not installed`, ours: wall.cahier, peer: null, ratio: null, goal: '-', met: false })
    return [...rows, { what: `${title}: answers lost`, ours: lost.cahier, peer: null, ratio: null, goal: '0', met: lost.cahier === 0 }]
  } finally {
    await bed.stop()
  }
}
