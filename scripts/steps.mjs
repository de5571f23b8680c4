/** What the scripts of this repository share: programs, the installation of dependencies, steps with names and times. */
import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const cahier = join(root, 'packages/cli/bin/run.js')

/** The path of a tool that the dependencies brought. @param {string} name */
export const tool = (name) => join(root, 'node_modules/.bin', name)

/**
 * The npm that started this script, else the one of PATH: inside npm scripts `node_modules/.bin` comes first in PATH and holds
 * another npm.
 *
 * @param {readonly string[]} args
 * @returns {[string, ...string[]]}
 */
export function npm(...args) {
  const started = process.env.npm_execpath
  return started !== undefined && /\.[cm]?js$/.test(started) ? [process.execPath, started, ...args] : ['npm', ...args]
}

/**
 * Runs a program in the root folder with our output as its output.
 *
 * @param {readonly string[]} command
 * @param {{ env?: Record<string, string>, cwd?: string, keepOutput?: boolean, log?: number }} [options] keepOutput: what it writes to
 * stdout is returned instead; log: an open file for all that it writes, and what it leaves behind cannot keep us waiting for more
 * @returns {Promise<{ ok: boolean, detail: string, output: string }>}
 */
export function run([program, ...args], { env = {}, cwd = root, keepOutput = false, log } = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, NX_DAEMON: 'false', ...env },
      stdio: log === undefined ? ['inherit', keepOutput ? 'pipe' : 'inherit', 'inherit'] : ['ignore', log, log],
    })
    let output = ''
    child.stdout?.on('data', (chunk) => (output += chunk))
    child.on('error', (error) => resolve({ ok: false, detail: error.message, output }))
    child.on('close', (code, signal) =>
      resolve({ ok: code === 0, detail: signal === null ? `exit code ${code}` : `ended by ${signal}`, output }),
    )
  })
}

/** Ends with a sentence when this Node is too old. */
export function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  process.stderr.write(`Cahier needs Node 20.19 or newer; this is ${process.version}. Get it from https://nodejs.org\n`)
  process.exit(1)
}

/** Why `npm ci` is needed, or undefined: what the lock file asks for is compared with what npm says that it installed. */
export function whyInstall() {
  const read = (file) => JSON.parse(readFileSync(join(root, file), 'utf8')).packages
  let installed
  try {
    installed = read('node_modules/.package-lock.json')
  } catch {
    return 'nothing is installed yet'
  }
  for (const [path, wanted] of Object.entries(read('package-lock.json'))) {
    if (!path.includes('node_modules/') || wanted.optional === true) continue
    if (installed[path]?.version !== wanted.version) return `${path} is not at ${wanted.version ?? 'its place'}`
  }
  return undefined
}

/** Installs exactly what the lock file says, when that is not there already. */
export async function install() {
  const why = whyInstall()
  if (why === undefined) return { ok: true, detail: 'up to date', output: '' }
  process.stdout.write(`installing: ${why}\n`)
  return run(npm('ci', '--no-fund', '--no-audit'))
}

/** Programs of the system that tests use, and the Debian packages that they need. Without one, its tests are skipped and say so. */
const SYSTEM_PROGRAMS = {
  sshd: 'openssh-server',
  ssh: 'openssh-client',
  ip: 'iproute2',
  tcsh: 'tcsh',
  fish: 'fish',
  zsh: 'zsh',
  busybox: 'busybox',
  rsync: 'rsync',
  taktuk: 'taktuk',
  clush: 'clustershell',
  nc: 'netcat-openbsd',
  slurmctld: 'slurm-wlm',
  munged: 'munge',
  slurmdbd: 'slurmdbd',
  mariadbd: 'mariadb-server-core',
  mpirun: 'openmpi-bin',
  // The compiler behind it is only recommended there.
  mpicc: 'libopenmpi-dev gcc libc6-dev',
  python3: 'python3-minimal',
}

/** Installs the programs of {@link SYSTEM_PROGRAMS} that are missing, when root on a Debian; else says which they are. */
export async function installSystemPrograms() {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  const isMissing = (name) => !folders.some((folder) => existsSync(join(folder, name)))
  const names = Object.keys(SYSTEM_PROGRAMS).filter(isMissing)
  if (names.length === 0) return { ok: true, detail: 'all there', output: '' }
  const packages = names.flatMap((name) => SYSTEM_PROGRAMS[name].split(' '))
  const canInstall = process.getuid?.() === 0 && folders.some((folder) => existsSync(join(folder, 'apt-get')))
  if (!canInstall) {
    process.stdout.write(
      `missing: ${names.join(', ')} (Debian: apt-get install ${packages.join(' ')}); the tests that need them are skipped\n`,
    )
    return { ok: true, detail: 'some are missing', output: '' }
  }
  process.stdout.write(`installing: ${packages.join(' ')}\n`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await run(['apt-get', '-qq', 'update'], { env, keepOutput: true })
  const options = ['-qq', '-y', '-o', 'Dpkg::Use-Pty=0', '--no-install-recommends']
  const result = await run(['apt-get', 'install', ...options, ...packages], { env, keepOutput: true })
  if (!result.ok) process.stdout.write(`${result.output.slice(-2000)}\ncould not be installed; the tests that need them are skipped\n`)
  return { ...result, ok: true }
}

/** Compiles every package and does what follows a compilation. */
export async function build() {
  const compiled = await run([process.execPath, join(root, 'node_modules/typescript/bin/tsc'), '-b'])
  return compiled.ok ? run([process.execPath, join(root, 'scripts/after-build.mjs')]) : compiled
}

/** @param {number} ms */
export function seconds(ms) {
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}
