#!/usr/bin/env node
/**
 * Real ssh servers on this one machine: N `sshd` with own keys, for tests, benches and drills, and for people:
 *
 *     node test/testbed/ssh-hosts.mjs up 8 --dir D [--netns] [--rate 100mbit] [--max-startups 10:30:100] [--max-sessions 10]
 *     ssh -F D/ssh_config h3 hostname
 *     node test/testbed/ssh-hosts.mjs down D
 *
 * Without privileges the hosts are addresses 127.0.x.y on one port; processes, files and network are shared, only the home is not.
 * With `netns` (root) each has its own network, host name and process ids.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { downWithStarter, findProgram, freePorts, isExecutable, signal } from './bed.mjs'
import { addressIn, buildNetwork, claimNetwork, gatewayOf, namespaceName, removeNetwork, searchPath, setCable } from './network.mjs'
import { childrenOf, commandLine, descendantsOf, identify, isAlive, processesWith, stillAlive } from './proc.mjs'
import { MARK, renderEnter, renderKnownHost, renderSshdConfig, renderSshNames, renderSshOptions } from './ssh-host-files.mjs'
import { makeSshKey } from './ssh-keys.mjs'

/**
 * @typedef {import('./ssh-host-files.mjs').TestHost} TestHost
 * @typedef {import('./ssh-host-files.mjs').HostSettings} HostSettings
 *
 * @typedef {object} BedOptions
 * @property {string} [directory] new or empty; default: a new one below the temporary directory. Removed at the end.
 * @property {boolean} [netns] own network, host name and process ids per host; needs root
 * @property {Readonly<Record<string, HostSettings>>} [overrides] by host name
 * @property {boolean} [sharedHostKey] one host key for all
 * @property {boolean} [outlive] the hosts stay when this program ends; `down` ends them
 *
 * @typedef {object} SshHosts
 * @property {readonly TestHost[]} hosts `h1` to `hN`
 * @property {string} directory
 * @property {string} sshConfig for `ssh -F`: the hosts by name, and by address
 * @property {string} plainConfig the same with one pattern for all: the hosts by address only
 * @property {string} knownHosts
 * @property {string} identity private key that all hosts accept
 * @property {string} user
 * @property {boolean} isIsolated own network, host name and process ids per host
 * @property {string | undefined} gateway address under which isolated hosts reach this machine
 * @property {(name: string) => string[]} enter what goes before a command that is to run on an isolated host
 * @property {(name: string) => void} stopHost nobody listens any more: connections are refused; what is connected stays
 * @property {(name: string) => Promise<void>} startHost listens again
 * @property {(name: string) => void} freezeHost connections are taken and never answered; what is connected goes on
 * @property {(name: string) => void} cutHost nothing is heard of it any more, in any connection: the cable is pulled, or all its sshd are stopped
 * @property {(name: string) => void} thawHost undoes freezeHost and cutHost
 * @property {(name: string) => void} dropSessions its connections end at once; commands go on
 * @property {(name: string) => { pid: number, command: string }[]} processes what runs in its sessions, without sshd
 * @property {(name: string, pattern?: RegExp) => number[]} killProcesses kills of these those whose command line fits; connections stay
 * @property {(name?: string) => number} logins that succeeded so far, by the log of sshd
 * @property {(name?: string) => number} sessions connections that are logged in now
 * @property {() => Promise<void>} stop everything that ran on the hosts is ended, everything is removed
 */

/** What is killed may need so long to be gone on a loaded machine. */
const END_MS = 30_000

/**
 * Why there can be no test hosts here, to be put in brackets behind the title of what is skipped; undefined when there can.
 *
 * @param {{ netns?: boolean }} [options]
 * @returns {string | undefined}
 */
export function sshHostsUnavailable({ netns = false } = {}) {
  if (process.platform !== 'linux') return 'needs Linux'
  const missing = ['sshd', 'ssh', ...(netns ? ['ip', 'tc', 'nsenter', 'unshare'] : [])].filter((name) => findProgram(name) === undefined)
  if (missing.length > 0) return `needs ${missing.join(', ')}`
  if (/\/(nologin|false)$/.test(userInfo().shell ?? '')) return 'needs sshd, which refuses users without a login shell'
  if (!netns) return undefined
  if (process.getuid?.() !== 0) return 'needs root'
  return spawnSync('unshare', ['--net', '--pid', '--fork', 'true'], { env: { ...process.env, PATH: searchPath } }).status === 0
    ? undefined
    : 'needs network namespaces'
}

/**
 * @param {number} count
 * @param {BedOptions & HostSettings} [options] settings of hosts hold for all; `overrides` win
 * @returns {Promise<SshHosts & AsyncDisposable>} all hosts are listening
 */
export async function startSshHosts(count, options = {}) {
  const reason = sshHostsUnavailable({ netns: options.netns })
  if (reason !== undefined) throw new Error(`no ssh test hosts: ${reason}`)
  if (options.directory !== undefined) mkdirSync(options.directory, { recursive: true })
  const directory = realpathSync(options.directory ?? mkdtempSync(join(tmpdir(), 'cahier-hosts-')))
  if (/[\s'"\\%]/.test(directory)) throw new Error(`no blanks, quotes or percent signs in the directory, please: ${directory}`)
  if (existsSync(join(directory, 'bed.json'))) throw new Error(`there are hosts in ${directory} already`)
  const bed = new Bed(directory, count, options)
  try {
    await bed.start()
  } catch (error) {
    await bed.stop()
    throw error
  }
  return bed
}

/** Ends the hosts of this directory and what was started on them, and removes it. @param {string} directory */
export async function stopSshHosts(directory) {
  const file = join(directory, 'bed.json')
  if (!existsSync(file)) return
  const { net, names } = JSON.parse(readFileSync(file, 'utf8'))
  const victims = new Set()
  for (const name of names) {
    for (const pid of remembered(join(directory, name))) {
      victims.add(pid)
      for (const child of descendantsOf(pid)) victims.add(child)
    }
  }
  // A listener that is killed first starts nothing new; then whatever detached itself is found by its mark.
  const kill = (pids) => {
    for (const pid of pids) signal(pid, 'SIGKILL')
  }
  kill(victims)
  for (const until = performance.now() + END_MS; performance.now() < until; ) {
    for (const pid of processesWith(`${MARK}=${directory}/`)) victims.add(pid)
    const left = [...victims].filter(isAlive)
    if (left.length === 0) break
    kill(left)
    await sleep(20)
  }
  if (net !== undefined) removeNetwork(net)
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

/** Processes of a host that were written down and still live. @param {string} directory of the host */
function remembered(directory) {
  try {
    return readFileSync(join(directory, 'pids'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(stillAlive)
      .filter((pid) => pid !== undefined)
  } catch {
    return []
  }
}

/** Sees to it that every process gets the signal, also what was just being started: asks again until nobody new is found. */
function signalAll(find, name) {
  const known = new Set()
  for (let fresh = find(); fresh.length > 0; fresh = find().filter((pid) => !known.has(pid))) {
    for (const pid of fresh) {
      known.add(pid)
      signal(pid, name)
    }
  }
}

/** Without leaving time for anything else: whoever stops a host goes on as if it were stopped. @param {number} pid */
function waitForEnd(pid) {
  const clock = new Int32Array(new SharedArrayBuffer(4))
  for (const until = performance.now() + END_MS; isAlive(pid) && performance.now() < until; ) Atomics.wait(clock, 0, 0, 2)
}

/** @implements {SshHosts} */
class Bed {
  #options
  /** @type {Map<string, { host: TestHost, number: number, sshd: number, init: number | undefined, isCut: boolean }>} */
  #states = new Map()
  #net
  /** @type {(() => Promise<void>) | undefined} */
  #release
  #sshd = /** @type {string} */ (findProgram('sshd'))
  hosts = /** @type {TestHost[]} */ ([])

  constructor(directory, count, options) {
    this.#options = options
    this.directory = directory
    this.count = count
    this.user = userInfo().username
    this.isIsolated = options.netns === true
    this.gateway = undefined
    this.identity = join(directory, 'id')
    this.knownHosts = join(directory, 'known_hosts')
    this.sshConfig = join(directory, 'ssh_config')
    this.plainConfig = join(directory, 'ssh_config.plain')
  }

  async start() {
    const { netns = false, outlive = false } = this.#options
    const names = Array.from({ length: this.count }, (_, index) => `h${index + 1}`)
    const bedFile = join(this.directory, 'bed.json')
    writeFileSync(bedFile, JSON.stringify({ names }))
    if (!outlive) this.#release = downWithStarter(fileURLToPath(import.meta.url), this.directory)
    if (netns) {
      this.#net = claimNetwork()
      this.gateway = gatewayOf(this.#net)
      writeFileSync(bedFile, JSON.stringify({ names, net: this.#net }))
    }
    const [port] = netns ? [22] : await freePorts(loopback(1))
    this.hosts = names.map((name, index) => {
      const directory = join(this.directory, name)
      const address = netns ? addressIn(this.#net, index + 1) : loopback(index + 1)
      return { name, address, port, directory, home: join(directory, 'home'), log: join(directory, 'sshd.log') }
    })
    if (netns)
      buildNetwork(
        this.#net,
        this.hosts.map(({ name }) => this.#settings(name).rate),
      )
    // Where sshd keeps an empty directory for its unprivileged part.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
    this.#writeFiles(port)
    for (const [index, host] of this.hosts.entries()) {
      this.#states.set(host.name, { host, number: index + 1, sshd: 0, init: undefined, isCut: false })
      this.#launch(host.name)
    }
    await Promise.all(this.hosts.map(({ name }) => this.#listening(name, 0)))
  }

  #settings(name) {
    return { ...this.#options, ...this.#options.overrides?.[name] }
  }

  #writeFiles(port) {
    const write = (file, text, mode = 0o644) => writeFileSync(file, text, { mode })
    const own = makeSshKey('cahier test')
    write(this.identity, own.privateKey, 0o600)
    write(`${this.identity}.pub`, `${own.publicKey}\n`)
    const sftpServer = ['/usr/lib/openssh/sftp-server', '/usr/libexec/openssh/sftp-server', '/usr/lib/ssh/sftp-server'].find(isExecutable)
    const shared = this.#options.sharedHostKey === true ? makeSshKey('hosts') : undefined
    const known = this.hosts.map((host) => {
      const settings = this.#settings(host.name)
      const key = shared ?? makeSshKey(host.name)
      const hostKey = join(host.directory, 'hostkey')
      mkdirSync(host.home, { recursive: true })
      mkdirSync(join(host.directory, 'bin'))
      write(hostKey, key.privateKey, 0o600)
      write(`${hostKey}.pub`, `${key.publicKey}\n`)
      write(host.log, '')
      write(
        join(host.directory, 'sshd_config'),
        renderSshdConfig(host, settings, { authorizedKeys: `${this.identity}.pub`, hostKey, sftpServer }),
      )
      if (settings.banner !== undefined) writeFileSync(join(host.directory, 'banner'), settings.banner)
      if (settings.rcNoise !== undefined) writeFileSync(join(host.directory, 'noise'), settings.rcNoise)
      const shell = settings.loginShell ?? userInfo().shell ?? '/bin/sh'
      write(join(host.directory, 'enter'), renderEnter(host, shell, settings.rcNoise !== undefined), 0o755)
      write(join(host.directory, 'bin/hostname'), `#!/bin/sh\necho ${host.name}\n`, 0o755)
      return renderKnownHost(host, key.publicKey)
    })
    write(this.knownHosts, known.join(''))
    const shape = renderSshOptions({ user: this.user, port, identity: this.identity, knownHosts: this.knownHosts })
    write(this.plainConfig, shape)
    write(this.sshConfig, `${renderSshNames(this.hosts)}${shape}`)
  }

  #launch(name) {
    const state = this.#states.get(name)
    const { directory } = state.host
    const sshd = [this.#sshd, '-D', '-f', join(directory, 'sshd_config'), '-E', state.host.log]
    const space = this.#net === undefined ? undefined : `/run/netns/${namespaceName(this.#net, state.number)}`
    let command
    if (space === undefined) command = sshd
    else if (state.init !== undefined && isAlive(state.init)) command = [...this.enter(name), ...sshd]
    else {
      // Process 1 of the host does nothing; with SIGCHLD ignored the kernel reaps for it.
      const init = `hostname ${name}; ${sshd.join(' ')} & trap '' CHLD; exec sleep infinity`
      const unshare = ['unshare', '--uts', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
      command = ['nsenter', `--net=${space}`, ...unshare, 'sh', '-c', init]
    }
    const child = spawn(command[0], command.slice(1), {
      stdio: 'ignore',
      detached: true,
      cwd: '/',
      env: { PATH: searchPath, [MARK]: directory },
    })
    child.on('error', () => {})
    child.unref()
    state.launched = child.pid
    if (space === undefined) state.sshd = child.pid
    this.#remember(name, [child.pid])
  }

  /** Written down for whoever cleans up. */
  #remember(name, pids) {
    const lines = pids.map(identify).filter(Boolean)
    writeFileSync(join(this.directory, name, 'pids'), lines.map((line) => `${line}\n`).join(''), { flag: 'a' })
  }

  /** Waits until sshd says in its log that it listens. @param {number} from where its log begins */
  async #listening(name, from) {
    const state = this.#states.get(name)
    const { log, directory } = state.host
    for (const until = performance.now() + 40_000; ; ) {
      const text = readFileSync(log, 'latin1').slice(from)
      if (text.includes('Server listening on')) break
      if (performance.now() > until || !isAlive(state.launched)) throw new Error(`the sshd of ${name} does not start: ${text.slice(-500)}`)
      await sleep(10)
    }
    if (this.#net === undefined) return
    state.init ??= childrenOf(state.launched)[0]
    // The first sshd is a child of the host's process 1, later ones of the nsenter that brought them there.
    const listener = [...childrenOf(state.launched), ...childrenOf(state.init)].find((pid) =>
      commandLine(pid).includes(`${directory}/sshd_config`),
    )
    if (listener === undefined) throw new Error(`the sshd of ${name} is not found`)
    state.sshd = listener
    this.#remember(name, [state.init, listener])
  }

  #state(name) {
    const state = this.#states.get(name)
    if (state === undefined) throw new Error(`there is no host ${name}`)
    return state
  }

  enter(name) {
    const { init } = this.#state(name)
    if (init === undefined) throw new Error('only isolated hosts can be entered')
    return ['nsenter', '--target', String(init), '--net', '--uts', '--mount', '--pid']
  }

  stopHost(name) {
    const { sshd } = this.#state(name)
    // What is connected will have no parent by which it can be found.
    this.#remember(name, descendantsOf(sshd))
    signal(sshd, 'SIGKILL')
    // Until then it could take connections, and would be taken for one that listens.
    waitForEnd(sshd)
  }

  async startHost(name) {
    const state = this.#state(name)
    if (isAlive(state.sshd)) return
    const from = readFileSync(state.host.log, 'latin1').length
    this.#launch(name)
    await this.#listening(name, from)
  }

  freezeHost(name) {
    process.kill(this.#state(name).sshd, 'SIGSTOP')
  }

  cutHost(name) {
    const state = this.#state(name)
    state.isCut = true
    if (this.#net !== undefined) return setCable(this.#net, state.number, false)
    signalAll(() => [state.sshd, ...this.#connections(name)], 'SIGSTOP')
  }

  thawHost(name) {
    const state = this.#state(name)
    if (state.isCut && this.#net !== undefined) setCable(this.#net, state.number, true)
    state.isCut = false
    for (const pid of [...this.#connections(name), state.sshd]) if (isAlive(pid)) signal(pid, 'SIGCONT')
  }

  dropSessions(name) {
    signalAll(() => this.#connections(name), 'SIGKILL')
  }

  processes(name) {
    const { host } = this.#state(name)
    return processesWith(`${MARK}=${host.directory}\0`)
      .map((pid) => ({ pid, command: commandLine(pid) }))
      .filter(({ command }) => command !== '' && !command.includes(`${host.directory}/sshd_config`) && !/^sshd(-session)?: /.test(command))
      .filter(({ command }) => !(this.isIsolated && command === 'sleep infinity'))
  }

  killProcesses(name, pattern = /^/) {
    const victims = this.processes(name).filter(({ command }) => pattern.test(command))
    for (const { pid } of victims) signal(pid, 'SIGKILL')
    return victims.map(({ pid }) => pid)
  }

  /** The processes of sshd that serve connections, also those whose listener is gone. */
  #connections(name) {
    const { sshd, host } = this.#state(name)
    const own = new Set([...descendantsOf(sshd), ...remembered(host.directory)])
    own.delete(sshd)
    return [...own].filter((pid) => /^sshd(-session)?: /.test(commandLine(pid)) && isAlive(pid))
  }

  logins(name) {
    if (name === undefined) return this.hosts.reduce((sum, host) => sum + this.logins(host.name), 0)
    return readFileSync(this.#state(name).host.log, 'latin1').match(/^Accepted \S+ for /gm)?.length ?? 0
  }

  sessions(name) {
    if (name === undefined) return this.hosts.reduce((sum, host) => sum + this.sessions(host.name), 0)
    const { sshd } = this.#state(name)
    // One per connection: the child of the listener; a server that keeps its privileges has another below it.
    return this.#connections(name).filter((pid) => {
      const line = commandLine(pid)
      return (
        !line.includes('[listener]') &&
        !/\[(preauth|accepted|net)\]/.test(line) &&
        (childrenOf(sshd).includes(pid) || !line.includes('[priv]'))
      )
    }).length
  }

  async stop() {
    await stopSshHosts(this.directory)
    await this.#release?.()
    this.#release = undefined
  }

  [Symbol.asyncDispose]() {
    return this.stop()
  }
}

const loopback = (number) => `127.0.${Math.floor((number - 1) / 250) + 1}.${((number - 1) % 250) + 1}`

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      dir: { type: 'string' },
      netns: { type: 'boolean' },
      rate: { type: 'string' },
      'max-startups': { type: 'string' },
      'max-sessions': { type: 'string' },
      'login-shell': { type: 'string' },
    },
  })
  const [verb, argument] = positionals
  if (verb === 'down') {
    const directory = argument ?? values.dir
    if (directory !== undefined) return stopSshHosts(realpathSync(directory))
  }
  if (verb === 'up' && /^[1-9]\d*$/.test(argument ?? '')) {
    const bed = await startSshHosts(Number(argument), {
      outlive: true,
      ...(values.dir === undefined ? {} : { directory: values.dir }),
      ...(values.netns === undefined ? {} : { netns: values.netns }),
      ...(values.rate === undefined ? {} : { rate: values.rate }),
      ...(values['max-startups'] === undefined ? {} : { maxStartups: values['max-startups'] }),
      ...(values['max-sessions'] === undefined ? {} : { maxSessions: Number(values['max-sessions']) }),
      ...(values['login-shell'] === undefined ? {} : { loginShell: values['login-shell'] }),
    })
    process.stdout.write(`ssh -F ${bed.sshConfig} ${bed.hosts[0].name} hostname\n`)
    process.stdout.write(`node ${fileURLToPath(import.meta.url)} down ${bed.directory}\n`)
    return
  }
  process.stderr.write(
    'usage: ssh-hosts.mjs up N [--dir D] [--netns] [--rate R] [--max-startups S] [--max-sessions N] [--login-shell PROGRAM]\n       ssh-hosts.mjs down D\n',
  )
  process.exitCode = 2
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await main()
