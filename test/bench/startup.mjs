import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { interleave, ratioRow } from './measure.mjs'

export const what = 'time to start cahier, against node alone'

const cahier = fileURLToPath(new URL('../../packages/cli/bin/run.js', import.meta.url))

/** The goal is for --version; the others are shown so that a change for the worse is seen. */
const SIDES = {
  version: { args: ['--version'], goal: 3 },
  help: { args: ['--help'], goal: 10 },
  'run --help': { args: ['run', '--help'], goal: 10 },
  status: { args: ['status', 'run'], goal: 20 },
}

/** One job that does nothing: `status` reads the journal of a real run. */
const CAMPAIGN = 'name: startup\nfactors: { x: [1] }\njob: { command: ["true"] }\n'

export default async function ({ repeat, log }) {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-startup-'))
  const env = {
    ...process.env,
    NO_COLOR: '1',
    XDG_STATE_HOME: folder,
    CAHIER_DATA_DIR: join(folder, 'data'),
    CAHIER_CACHE_DIR: join(folder, 'cache'),
  }
  const start = (args) => () =>
    new Promise((resolve, reject) => {
      const child = spawn(process.execPath, args, { cwd: folder, env, stdio: 'ignore' })
      child.once('error', reject)
      child.once('exit', () => resolve(undefined))
    })
  writeFileSync(join(folder, 'campaign.yaml'), CAMPAIGN)
  writeFileSync(join(folder, 'cahier.config.yaml'), 'sites: { here: { options: { idleMs: 1000 } } }\ndefaultSite: here\n')
  try {
    await start([cahier, 'run', '--dir', 'run'])()
    const sides = Object.fromEntries(Object.entries(SIDES).map(([name, { args }]) => [name, start([cahier, ...args])]))
    const medians = await interleave(Math.max(15, repeat), { node: start(['-e', '0']), ...sides }, log)
    return {
      rows: Object.entries(SIDES).map(([name, { args, goal }]) =>
        ratioRow({ what: `cahier ${args.join(' ')} (ms)`, ours: medians[name], peer: medians.node, better: 'lower', goal }),
      ),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
