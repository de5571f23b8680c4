/** The accounting of a SLURM bed: its own MariaDB, slurmdbd, and what sacctmgr is told before the controller starts. */
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Daemon, findProgram, lastLines } from './bed.mjs'
import { portsOf, renderSlurmdbdConf } from './slurm-config.mjs'

/** Programs without which there is no accounting. */
export const ACCOUNTING_PROGRAMS = ['slurmdbd', 'mariadbd', 'mariadb-install-db']

/**
 * @param {import('./slurm-config.mjs').Settings} settings
 * @param {(name: string) => Record<string, string>} envOf of a daemon
 * @param {(argv: readonly string[]) => Promise<{ exitCode: number, stdout: string, stderr: string }>} run
 * @param {readonly (readonly string[])[]} limits arguments of sacctmgr
 * @returns {Promise<{ slurmdbd: Daemon, start: () => Promise<void> }>} slurmdbd answers
 */
export async function startAccounting(settings, envOf, run, limits) {
  const { directory } = settings
  const program = (name) => /** @type {string} */ (findProgram(name))
  const logOf = (name) => join(directory, 'log', `${name}.log`)
  const isRoot = process.getuid?.() === 0
  const data = join(directory, 'sql')
  mkdirSync(data)
  const asRoot = isRoot ? ['--user=root'] : []
  const install = ['--no-defaults', `--datadir=${data}`, ...asRoot, '--auth-root-authentication-method=normal', '--skip-test-db']
  await complete([program('mariadb-install-db'), ...install, '--skip-name-resolve'], logOf('mariadb-install'), envOf('database'))

  const statements = join(directory, 'run/init.sql')
  writeFileSync(
    statements,
    `create database if not exists slurm_acct_db;
create user if not exists 'slurm'@'127.0.0.1' identified by 'slurm';
grant all on slurm_acct_db.* to 'slurm'@'127.0.0.1';
`,
  )
  const database = new Daemon(
    'mariadbd',
    [
      program('mariadbd'),
      '--no-defaults',
      ...asRoot,
      `--datadir=${data}`,
      `--socket=${directory}/run/sql.sock`,
      `--pid-file=${directory}/run/mariadbd.pid`,
      `--port=${portsOf(settings.port).database}`,
      '--bind-address=127.0.0.1',
      '--skip-name-resolve',
      `--init-file=${statements}`,
      // Nothing here has to survive the machine.
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-flush-method=nosync',
      '--innodb-doublewrite=0',
      '--innodb-buffer-pool-size=64M',
      '--innodb-lock-wait-timeout=900',
      '--performance-schema=off',
    ],
    { log: logOf('mariadbd'), env: envOf('database') },
  )
  database.start()
  await database.ready(() => readFileSync(database.log, 'utf8').includes('ready for connections'), 60_000)

  // slurmdbd refuses any other mode, and looks for the file beside slurm.conf.
  writeFileSync(join(directory, 'slurmdbd.conf'), renderSlurmdbdConf(settings), { mode: 0o600 })
  const slurmdbd = new Daemon('slurmdbd', [program('slurmdbd'), '-D'], { log: logOf('slurmdbd'), env: envOf('slurmdbd') })
  const start = async (attempts = 5) => {
    slurmdbd.start()
    try {
      await slurmdbd.ready(async () => (await run(['sacctmgr', '-n', '-i', 'show', 'cluster'])).exitCode === 0, 60_000)
    } catch (error) {
      // It gives up at once when the database is still busy with what the one before it had begun.
      if (slurmdbd.isAlive || attempts === 1) throw error
      await sleep(500)
      await start(attempts - 1)
    }
  }
  await start()
  const tell = [['add', 'cluster', settings.clusterName]]
  if (settings.enforce !== undefined)
    tell.push(['add', 'account', 'bed', `cluster=${settings.clusterName}`], ['add', 'user', settings.user, 'account=bed'])
  for (const args of [...tell, ...limits]) {
    const { exitCode, stdout, stderr } = await run(['sacctmgr', '-i', ...args])
    // What is there already is no reason to stop.
    if (exitCode !== 0 && !/already exists|Nothing (new )?added/.test(stdout + stderr))
      throw new Error(`sacctmgr ${args.join(' ')}: exit code ${exitCode}: ${stdout}${stderr}`)
  }
  return { slurmdbd, start: () => start() }
}

/** Runs a program to its end. @param {readonly string[]} command @param {string} log @param {Record<string, string>} env */
async function complete([program, ...args], log, env) {
  const output = openSync(log, 'a')
  const child = spawn(program, args, { stdio: ['ignore', output, output], cwd: '/', env })
  closeSync(output)
  const exitCode = await new Promise((resolve) => {
    child.once('error', () => resolve(undefined))
    child.once('exit', resolve)
  })
  if (exitCode !== 0) throw new Error(`${basename(program)} failed (exit code ${exitCode})\n${lastLines(log)}`)
}
