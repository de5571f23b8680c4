#!/usr/bin/env node
/**
 * A real SLURM on this one machine, for tests, benches and drills, and for people:
 *
 *     node test/testbed/slurm.mjs up [--nodes 4] [--cpus 4] [--memory 1000] [--accounting dbd] [--min-job-age 300] [--dir D]
 *     . D/env.sh; sbatch --wrap 'srun hostname' -N 2; squeue
 *     node test/testbed/slurm.mjs down D
 *
 * No systemd, no root, no folder but its own: munged, slurmctld and one slurmd per node, with `accounting` slurmdbd and a MariaDB.
 * Nodes are `n1` to `nN`, each with as many processors as it is told; with `hosts` they are the hosts of an isolated ssh bed.
 * Partitions are `main` (default) and `short` (10 minutes). Jobs start within about a second, the tick of slurmctld.
 */
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir, uptime, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Daemon, downWithStarter, findProgram, isPortFree, killAll, lastLines, waitUntil } from './bed.mjs'
import { searchPath } from './network.mjs'
import { findProcesses, processesWith } from './proc.mjs'
import { ACCOUNTING_PROGRAMS, startAccounting } from './slurm-accounting.mjs'
import {
  COUNTED,
  clientConf,
  MARK,
  parseCalls,
  renderCommand,
  renderEnv,
  renderSlurmConf,
  socketOfMunge,
  UNCOUNTED,
} from './slurm-config.mjs'

/**
 * @typedef {object} SlurmOptions
 * @property {number} [nodes] default 4
 * @property {number} [cpus] of each node; default 4
 * @property {number} [memoryMiB] of each node; default 1000
 * @property {'none' | 'dbd'} [accounting] default none: sacct says that it is disabled
 * @property {number} [minJobAge] seconds that an ended job stays visible; default 300
 * @property {number} [maxArraySize] default 10001
 * @property {number} [messageTimeout] seconds that commands wait for a controller that is silent; default 3
 * @property {string} [directory] new or empty; default: a new one below the temporary directory. Removed at the end.
 * @property {string} [clusterName] default bed
 * @property {readonly string[]} [partitions] further lines `PartitionName=…`
 * @property {readonly string[]} [config] further lines for slurm.conf; they win over those of the bed
 * @property {import('./ssh-hosts.mjs').SshHosts} [hosts] made with `netns`: the nodes are these hosts, as many as `nodes` says
 * @property {readonly (readonly string[])[]} [limits] arguments of sacctmgr, such as `['modify', 'qos', 'normal', 'set', 'MaxSubmitJobsPerUser=5']`
 * @property {string} [enforce] AccountingStorageEnforce; this user gets an account `bed` then
 * @property {boolean} [outlive] the bed stays when this program ends; `down` ends it
 *
 * @typedef {object} Answer
 * @property {number | undefined} exitCode undefined when the time was over
 * @property {string} stdout
 * @property {string} stderr
 *
 * @typedef {object} SlurmBed
 * @property {string} directory
 * @property {string} conf of the daemons and of jobs
 * @property {Readonly<Record<string, string>>} env SLURM_CONF and PATH: what a process needs to talk to this bed
 * @property {readonly string[]} nodes
 * @property {string} cluster
 * @property {(argv: readonly string[], options?: { timeoutMs?: number, cwd?: string, input?: string, env?: Record<string, string> }) => Promise<Answer>} run
 * a command of SLURM is not counted here; any other sees `env`; cwd: default the directory of the bed
 * @property {() => Promise<void>} stopController it saves its state and ends
 * @property {() => Promise<void>} killController
 * @property {() => () => void} freezeController connections are taken and never answered, until what it returns is called
 * @property {() => Promise<void>} startController it answers
 * @property {() => () => void} freezeAccounting
 * @property {() => Promise<void>} stopAccounting
 * @property {() => Promise<void>} startAccounting
 * @property {() => Promise<void>} stopMunge
 * @property {() => Promise<void>} startMunge
 * @property {(name: string, options?: { onlyDaemon?: boolean }) => Promise<void>} killNode the power is off: its jobs end too, unless onlyDaemon
 * @property {(name: string) => Promise<void>} startNode it is idle, or has jobs
 * @property {(name: string) => Promise<void>} downNode scontrol sets it down; startNode or itself brings it back
 * @property {(since?: number) => Record<string, number>} calls by command, all when since (Date.now()) is left out
 * @property {(since?: number) => { atMs: number, command: string, args: string }[]} callList oldest first
 * @property {(folder: string) => void} offerCommands in another folder too, such as the `bin` of an ssh host
 * @property {() => string} logs the last lines of all logs
 * @property {() => Promise<void>} stop with all jobs
 */

/** A path of a unix socket has at most 107 bytes. */
const LONGEST_DIRECTORY = 80
const BLOCK = 100

/**
 * Why there can be no SLURM here, to be put in brackets behind the title of what is skipped; undefined when there can.
 *
 * @param {{ accounting?: 'none' | 'dbd' }} [options]
 * @returns {string | undefined}
 */
export function slurmUnavailable({ accounting = 'none' } = {}) {
  if (process.platform !== 'linux') return 'needs Linux'
  const programs = ['slurmctld', 'slurmd', 'slurmstepd', 'munged', ...COUNTED, ...(accounting === 'dbd' ? ACCOUNTING_PROGRAMS : [])]
  const missing = programs.filter((name) => realProgram(name) === undefined)
  return missing.length === 0 ? undefined : `needs ${missing.join(', ')}`
}

/** @param {{ accounting?: 'none' | 'dbd' }} [options] */
export const isSlurmThere = (options) => slurmUnavailable(options) === undefined

/** Debian has a second build that takes the plain names when it is installed, and cannot run jobs on several nodes. */
const realProgram = (name) => findProgram(`${name}-wlm`) ?? findProgram(name)

/**
 * @param {SlurmOptions} [options]
 * @returns {Promise<SlurmBed & AsyncDisposable>} all nodes are idle
 */
export async function startSlurm(options = {}) {
  const reason = slurmUnavailable(options)
  if (reason !== undefined)
    throw new Error(`no SLURM test bed: ${reason} (Debian: slurm-wlm munge, with accounting also slurmdbd mariadb-server-core)`)
  if (options.hosts !== undefined && !options.hosts.isIsolated) throw new Error('the hosts of a SLURM bed need `netns`')
  if (options.directory !== undefined) mkdirSync(options.directory, { recursive: true })
  const directory = realpathSync(options.directory ?? mkdtempSync(join(tmpdir().length > 40 ? '/tmp' : tmpdir(), 'cahier-slurm-')))
  if (/[\s'"\\%,]/.test(directory)) throw new Error(`no blanks, quotes, commas or percent signs in the directory, please: ${directory}`)
  if (directory.length > LONGEST_DIRECTORY) throw new Error(`the directory of a SLURM bed is too long for its sockets: ${directory}`)
  if (existsSync(join(directory, 'bed.json'))) throw new Error(`there is a bed in ${directory} already`)
  const bed = new Bed(directory, options)
  try {
    await bed.start()
  } catch (error) {
    await bed.stop()
    throw error
  }
  return bed
}

/** Ends the bed of this directory with all its jobs, and removes it. @param {string} directory */
export async function stopSlurm(directory) {
  const file = join(directory, 'bed.json')
  if (!existsSync(file)) return
  const { claim } = JSON.parse(readFileSync(file, 'utf8'))
  // First the daemons, so that nothing new is started; a job says in its environment which bed it is of.
  await killAll(() => processesWith(`${MARK}=${directory}/`))
  await killAll(() => jobsOf(directory))
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  if (claim !== undefined) rmSync(claim, { force: true })
}

/** Processes of jobs; whoever only talks to the bed is none. @param {string} directory @param {string} [node] */
function jobsOf(directory, node) {
  const wanted = node === undefined ? /(^|\0)SLURM(D_NODENAME|_JOB_ID)=/ : new RegExp(`(^|\\0)SLURMD_NODENAME=${node}(\\0|$)`)
  return [...findProcesses(`SLURM_CONF=${directory}/`)].filter(([, text]) => wanted.test(text)).map(([pid]) => pid)
}

/** Takes a block of free ports below those of outgoing connections; whoever is first has it. @param {string} directory */
async function claimPorts(directory, count) {
  const blocks = 10_000 / BLOCK
  const first = Math.floor(Math.random() * blocks)
  for (let attempt = 0; attempt < blocks; attempt++) {
    const port = 10_000 + ((first + attempt) % blocks) * BLOCK
    const claim = join(tmpdir(), `cahier-slurm-port-${port}`)
    if (!takeClaim(claim, directory)) continue
    const ports = [0, 1, 2, ...Array.from({ length: count }, (_, index) => 10 + index)].map((offset) => port + offset)
    const areFree = await Promise.all(ports.map((each) => isPortFree(each)))
    if (!areFree.includes(false)) return { port, claim }
    rmSync(claim, { force: true })
  }
  throw new Error('no free ports for the SLURM test bed')
}

/** The claim of a bed that is gone counts no more. It is there with its content or not at all: one that is empty would be of no bed. */
function takeClaim(claim, directory) {
  const own = `${claim}.${process.pid}`
  writeFileSync(own, directory)
  try {
    if (existsSync(claim) && !existsSync(join(readFileSync(claim, 'utf8'), 'bed.json'))) rmSync(claim, { force: true })
    linkSync(own, claim)
    return true
  } catch {
    return false
  } finally {
    rmSync(own, { force: true })
  }
}

/** When the machine was started. Whoever stood still between the two looks at the time looks again. */
function bootedAt() {
  for (;;) {
    const before = uptime()
    const now = Date.now()
    if (uptime() - before < 0.05) return now - before * 1000
  }
}

/** @implements {SlurmBed} */
class Bed {
  #options
  #settings
  #release
  #munge
  #controller
  #accounting
  /** @type {Map<string, Daemon>} */
  #slurmds = new Map()

  constructor(directory, options) {
    const { nodes = 4, hosts } = options
    this.#options = options
    this.directory = directory
    this.conf = join(directory, 'slurm.conf')
    this.cluster = options.clusterName ?? 'bed'
    this.env = { SLURM_CONF: clientConf(directory), PATH: `${join(directory, 'bin')}:${process.env.PATH ?? '/usr/bin:/bin'}` }
    const chosen = Array.from({ length: nodes }, (_, index) => {
      const host = hosts?.hosts[index]
      if (hosts !== undefined && host === undefined) throw new Error(`a bed of ${nodes} nodes needs as many hosts`)
      return host === undefined
        ? { name: `n${index + 1}`, hostname: 'localhost', address: '127.0.0.1' }
        : { name: host.name, hostname: host.name, address: host.address }
    })
    this.nodes = chosen.map(({ name }) => name)
    this.#settings = {
      directory,
      user: userInfo().username,
      clusterName: this.cluster,
      address: hosts?.gateway ?? '127.0.0.1',
      port: 0,
      nodes: chosen,
      cpus: options.cpus ?? 4,
      memoryMiB: options.memoryMiB ?? 1000,
      hasAccounting: options.accounting === 'dbd',
      ...(options.enforce === undefined ? {} : { enforce: options.enforce }),
      minJobAge: options.minJobAge ?? 300,
      maxArraySize: options.maxArraySize ?? 10_001,
      messageTimeout: options.messageTimeout ?? 3,
      partitions: options.partitions ?? [],
      config: options.config ?? [],
    }
  }

  async start() {
    const { directory, nodes } = this
    writeFileSync(join(directory, 'bed.json'), '{}')
    if (this.#options.outlive !== true) this.#release = downWithStarter(fileURLToPath(import.meta.url), directory)
    const { port, claim } = await claimPorts(directory, nodes.length)
    writeFileSync(join(directory, 'bed.json'), JSON.stringify({ claim, nodes }))
    this.#settings.port = port
    this.#writeFiles()
    await this.startMunge()
    if (this.#settings.hasAccounting)
      this.#accounting = await startAccounting(this.#settings, (name) => this.#envOf(name), this.run.bind(this), this.#options.limits ?? [])
    await this.startController()
    for (const name of nodes) this.#slurmd(name).start()
    await this.#nodesReach(nodes, /^idle$/)
  }

  #writeFiles() {
    const { directory } = this
    // munged wants a way to its socket for everybody.
    chmodSync(directory, 0o711)
    for (const folder of ['munge', 'ctld', 'spool', 'log', 'run', 'sbin', 'bin']) mkdirSync(join(directory, folder), { mode: 0o755 })
    for (const name of this.nodes) mkdirSync(join(directory, 'spool', name))
    writeFileSync(join(directory, 'munge/key'), randomBytes(1024), { mode: 0o600 })
    writeFileSync(join(directory, 'calls.log'), '')
    chmodSync(join(directory, 'calls.log'), 0o666)
    // The programs look at the name that they run under.
    for (const name of ['slurmctld', 'slurmd', 'slurmstepd']) symlinkSync(realpathSync(realProgram(name)), join(directory, 'sbin', name))
    this.offerCommands(join(directory, 'bin'))
    writeFileSync(this.conf, renderSlurmConf(this.#settings))
    writeFileSync(clientConf(directory), renderSlurmConf(this.#settings, { isClient: true }))
    writeFileSync(join(directory, 'env.sh'), renderEnv(this))
  }

  offerCommands(folder) {
    for (const name of [...COUNTED, ...UNCOUNTED]) {
      const program = findProgram(name)
      if (program !== undefined) writeFileSync(join(folder, name), renderCommand(this.directory, name, program), { mode: 0o755 })
    }
  }

  #envOf(name) {
    return { PATH: searchPath, SLURM_CONF: this.conf, [MARK]: `${this.directory}/${name}` }
  }

  #daemon(name, command, enter = []) {
    return new Daemon(name, command, { log: join(this.directory, 'log', `${name}.log`), env: this.#envOf(name), enter })
  }

  #slurmd(name) {
    let daemon = this.#slurmds.get(name)
    if (daemon === undefined) {
      if (!this.nodes.includes(name)) throw new Error(`there is no node ${name}`)
      const sbin = join(this.directory, 'sbin')
      const command = [join(sbin, 'slurmd'), '-D', '-d', join(sbin, 'slurmstepd'), '-f', this.conf, '-N', name]
      daemon = this.#daemon(`slurmd-${name}`, command, this.#options.hosts?.enter(name))
      this.#slurmds.set(name, daemon)
    }
    return daemon
  }

  run([command, ...args], { timeoutMs = 60_000, cwd = this.directory, input, env } = {}) {
    const program = COUNTED.includes(command) || UNCOUNTED.includes(command) ? (findProgram(command) ?? command) : command
    return new Promise((resolve) => {
      const child = execFile(
        program,
        args,
        {
          encoding: 'utf8',
          timeout: timeoutMs,
          killSignal: 'SIGKILL',
          maxBuffer: 1 << 28,
          env: { ...process.env, ...this.env, ...env },
          cwd,
        },
        (error, stdout, stderr) => {
          if (error === null) return resolve({ exitCode: 0, stdout, stderr })
          const exitCode = typeof error.code === 'number' ? error.code : undefined
          resolve({ exitCode, stdout, stderr: stderr || (exitCode === undefined ? error.message : '') })
        },
      )
      child.stdin?.on('error', () => {})
      child.stdin?.end(input ?? '')
    })
  }

  async startMunge() {
    const { directory } = this
    const folder = join(directory, 'munge')
    this.#munge ??= this.#daemon('munged', [
      /** @type {string} */ (findProgram('munged')),
      '--foreground',
      // Its wishes about the folders above become warnings.
      '--force',
      `--key-file=${folder}/key`,
      `--socket=${socketOfMunge(directory)}`,
      `--pid-file=${directory}/run/munged.pid`,
      `--seed-file=${folder}/seed`,
      '--num-threads=4',
    ])
    this.#munge.start()
    await this.#munge.ready(() => existsSync(socketOfMunge(directory)))
  }

  async stopMunge() {
    await this.#munge.end('SIGTERM')
  }

  async startController() {
    this.#controller ??= this.#daemon('slurmctld', [join(this.directory, 'sbin/slurmctld'), '-D', '-f', this.conf])
    this.#controller.start()
    await this.#controller.ready(async () => (await this.run(['scontrol', 'ping'])).exitCode === 0)
  }

  async stopController() {
    await this.#controller.end('SIGTERM')
  }

  async killController() {
    await this.#controller.end('SIGKILL')
  }

  freezeController() {
    return this.#controller.freeze()
  }

  #dbd() {
    if (this.#accounting === undefined) throw new Error('this bed has no accounting')
    return this.#accounting
  }

  freezeAccounting() {
    return this.#dbd().slurmdbd.freeze()
  }

  async stopAccounting() {
    await this.#dbd().slurmdbd.end('SIGTERM')
  }

  async startAccounting() {
    await this.#dbd().start()
  }

  async killNode(name, { onlyDaemon = false } = {}) {
    await this.#slurmd(name).end('SIGKILL')
    if (onlyDaemon) return
    await killAll(() => processesWith(`${MARK}=${this.directory}/slurmd-${name}\0`))
    await killAll(() => jobsOf(this.directory, name))
  }

  async startNode(name) {
    this.#slurmd(name).start()
    await this.#nodesReach([name], /^(idle|mix|alloc|comp)$/)
  }

  async downNode(name) {
    let said = ''
    const isDown = async () => {
      const { exitCode, stderr } = await this.run(['scontrol', 'update', `nodename=${name}`, 'state=down', 'reason=test'])
      said = stderr
      return exitCode === 0
    }
    // A controller that is busy does not answer in time.
    await waitUntil(isDown, { what: `scontrol sets ${name} down`, timeoutMs: 30_000, log: () => said })
  }

  async #nodesReach(names, state) {
    const holds = async () => {
      for (const name of names) {
        const daemon = this.#slurmd(name)
        if (!daemon.isAlive) throw new Error(`the slurmd of ${name} ended\n${lastLines(daemon.log)}`)
      }
      const { stdout } = await this.run(['sinfo', '-h', '-N', '-o', '%N %t', '-n', names.join(',')])
      const states = new Map(
        stdout
          .trim()
          .split('\n')
          .map((line) => line.split(' ')),
      )
      return names.every((name) => state.test(states.get(name) ?? ''))
    }
    await waitUntil(holds, { what: `${names.join(', ')} ready`, timeoutMs: 60_000, log: () => this.logs() })
  }

  callList(since = 0) {
    return parseCalls(readFileSync(join(this.directory, 'calls.log'), 'utf8'), bootedAt()).filter(({ atMs }) => atMs >= since)
  }

  calls(since) {
    const counts = Object.fromEntries(COUNTED.map((name) => [name, 0]))
    for (const { command } of this.callList(since)) counts[command]++
    return counts
  }

  logs() {
    const names = ['munged', 'mariadbd', 'slurmdbd', 'slurmctld', ...this.nodes.map((name) => `slurmd-${name}`)]
    return names
      .map((name) => lastLines(join(this.directory, 'log', `${name}.log`)))
      .filter(Boolean)
      .join('\n')
  }

  async stop() {
    await stopSlurm(this.directory)
    await this.#release?.()
    this.#release = undefined
  }

  [Symbol.asyncDispose]() {
    return this.stop()
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      dir: { type: 'string' },
      nodes: { type: 'string' },
      cpus: { type: 'string' },
      memory: { type: 'string' },
      accounting: { type: 'string' },
      'min-job-age': { type: 'string' },
    },
  })
  const [verb, argument] = positionals
  const directory = argument ?? values.dir
  if (verb === 'down' && directory !== undefined) return stopSlurm(realpathSync(directory))
  if (verb === 'up') {
    const number = (key, name) => (values[name] === undefined ? {} : { [key]: Number(values[name]) })
    const bed = await startSlurm({
      outlive: true,
      ...number('nodes', 'nodes'),
      ...number('cpus', 'cpus'),
      ...number('memoryMiB', 'memory'),
      ...number('minJobAge', 'min-job-age'),
      ...(values.accounting === 'dbd' ? { accounting: 'dbd' } : {}),
      ...(directory === undefined ? {} : { directory }),
    })
    process.stdout.write(`${join(bed.directory, 'env.sh')}\n`)
    process.exit()
  }
  process.stderr.write(
    'usage: slurm.mjs up [--nodes N] [--cpus N] [--memory MIB] [--accounting dbd] [--min-job-age S] [--dir D]\n       slurm.mjs down D\n',
  )
  process.exitCode = 2
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main()
