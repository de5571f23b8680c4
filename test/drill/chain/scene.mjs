/** The hosts of one case, as they are to be, and what can be seen of them. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findProgram, signal } from '../../testbed/bed.mjs'
import { mountDisk } from '../../testbed/disks.mjs'
import { searchPath } from '../../testbed/network.mjs'
import { commandLine, findProcesses, isAlive } from '../../testbed/proc.mjs'
import { MARK } from '../../testbed/ssh-host-files.mjs'
import { startSshHosts } from '../../testbed/ssh-hosts.mjs'
import { arrivedIn } from './files.mjs'

const tampering = fileURLToPath(new URL('../../testbed/tampering-agent.py', import.meta.url))
/** Of the rate of the others. */
const SLOW_PART = 20
/** How agents are started. */
const AGENT = /import io,sys|sysread STDIN/

/** So long what was seen in /proc for one host is good enough for all the others. */
const LOOK_MS = 60
let look = { at: Number.NEGATIVE_INFINITY, found: new Map() }

/** Timers alone, when what they do takes longer than they wait, would leave no time for anything else. @param {number} ms */
export async function pause(ms) {
  await turn()
  await sleep(ms)
}

export class Scene {
  /** @type {import('../../testbed/ssh-hosts.mjs').SshHosts} */
  bed
  /** @type {import('./plan.mjs').CasePlan} */
  plan
  /** @type {string[]} */
  names
  /** Where the files of a host are to appear, as this machine sees it. @type {Map<string, string>} */
  targets = new Map()
  #disk
  /** Once it is there, hosts refuse what the plan says. @type {string} */
  #trouble = ''
  /** Agents as they were when the first bytes came: to look for them costs the moment. @type {Map<string, number[]>} */
  #aimed = new Map()

  /**
   * @param {string} folder @param {import('./plan.mjs').CasePlan} plan @param {boolean} netns @param {number} total bytes of the source
   */
  static async start(folder, plan, netns, total) {
    const scene = new Scene()
    scene.plan = plan
    scene.names = plan.kinds.map((_, index) => `h${index + 1}`)
    scene.#trouble = join(folder, 'trouble')
    const overrides = Object.fromEntries(
      scene.names.map((name, index) => {
        const shell = join(folder, `shell-${name}`)
        writeFileSync(shell, shellOf(plan, index, scene.#trouble), { mode: 0o755 })
        const isSlow = plan.fault === 'slow host' && index === plan.victim
        return [name, { loginShell: shell, ...(netns ? { rate: `${isSlow ? plan.rate / SLOW_PART : plan.rate}mbit` } : {}) }]
      }),
    )
    scene.bed = await startSshHosts(plan.kinds.length, { netns, directory: join(folder, 'bed'), overrides })
    try {
      for (const host of scene.bed.hosts) await scene.#furnish(host, total)
    } catch (error) {
      await scene.stop()
      throw error
    }
    return scene
  }

  get victim() {
    return this.names[this.plan.victim]
  }

  /** Its disk, its way to the others, and a folder for temporary files of its own. */
  async #furnish({ name, directory, home }, total) {
    const { bed, plan } = this
    const refusal = plan.fault === 'links refused' && name !== this.victim ? `[ -e ${this.#trouble} ] && exit 255\n` : ''
    writeFileSync(join(directory, 'bin/ssh'), `#!/bin/sh\n${refusal}exec ${findProgram('ssh')} -F ${bed.plainConfig} "$@"\n`, {
      mode: 0o755,
    })
    if (bed.isIsolated) {
      mkdirSync(join(directory, 'tmp'), { mode: 0o1777 })
      const [program, ...args] = [...bed.enter(name), 'mount', '--bind', join(directory, 'tmp'), '/tmp']
      const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', env: { PATH: searchPath } })
      if (status !== 0) throw new Error(`${name} could not get a /tmp of its own: ${stderr}`)
    }
    const target = join(home, 'in')
    this.targets.set(name, target)
    if (name !== this.victim || !/disk/.test(plan.fault)) return
    const options = plan.fault === 'read-only disk' ? { readOnly: true } : { size: `${Math.ceil((total * 1.2) / 1024) + 4096}k` }
    this.#disk = await mountDisk({ ...options, enter: bed.isIsolated ? bed.enter(name) : [] })
    symlinkSync(this.#disk.there, target)
    this.targets.set(name, this.#disk.here)
  }

  /** Processes on a host, without its ssh server. @param {string} name @param {boolean} [anew] not what was seen a moment ago */
  processes(name, anew = false) {
    if (anew || performance.now() - look.at > LOOK_MS) look = { found: findProcesses(`${MARK}=`), at: performance.now() }
    const { directory } = this.bed.hosts[this.names.indexOf(name)]
    return [...look.found]
      .filter(([pid, text]) => text.includes(`${MARK}=${directory}\0`) && isAlive(pid))
      .map(([pid]) => ({ pid, command: commandLine(pid) }))
      .filter(({ command }) => command !== '' && !command.includes(`${directory}/sshd_config`) && !/^sshd(-session)?: /.test(command))
      .filter(({ command }) => !(this.bed.isIsolated && command === 'sleep infinity'))
  }

  /** What looks after the files there. @param {string} name @param {boolean} [anew] */
  agents(name, anew = false) {
    const there = this.processes(name, anew).filter(({ command }) => !command.includes(tampering))
    return this.kind(name) === 'sh' ? there : there.filter(({ command }) => AGENT.test(command))
  }

  /** Looks for the agents before the moment comes. */
  aim() {
    if (this.#aimed.size > 0) return
    for (const name of this.names)
      if (this.kind(name) !== 'sh')
        this.#aimed.set(
          name,
          this.agents(name).map(({ pid }) => pid),
        )
  }

  /** What looks after the files there, now. @param {string} name @param {boolean} anew */
  pidsOf(name, anew) {
    const aimed = (this.#aimed.get(name) ?? []).filter(isAlive)
    return aimed.length > 0 ? aimed : this.agents(name, anew).map(({ pid }) => pid)
  }

  /** From now on hosts refuse what they are to refuse. */
  begin() {
    writeFileSync(this.#trouble, '')
  }

  /** Breaks all connections of a host but those of its ssh server. @param {string} name @returns {Promise<void>} */
  breakLinks(name) {
    const { port } = this.bed.hosts[this.names.indexOf(name)]
    const [program, ...args] = [...this.bed.enter(name), 'ss', '-K', '-tn', `sport != :${port} and dport != :${port}`]
    const child = spawn(program, args, { stdio: 'ignore', env: { PATH: searchPath } })
    return new Promise((resolve) => child.once('error', resolve).once('close', resolve))
  }

  /** @param {string} name */
  kind(name) {
    return this.plan.kinds[this.names.indexOf(name)]
  }

  /** @param {string} name */
  addressOf(name) {
    return this.bed.hosts.find((host) => host.name === name)?.address ?? ''
  }

  /** Bytes that have come and are not placed. @param {string} name */
  arrived(name) {
    return arrivedIn(this.targets.get(name) ?? '')
  }

  /** Hosts that pass on, the foremost first. */
  ranking() {
    const arrived = new Map(this.names.map((name) => [name, this.arrived(name)]))
    return this.names.filter((name) => this.kind(name) !== 'sh').sort((a, b) => (arrived.get(b) ?? 0) - (arrived.get(a) ?? 0))
  }

  /** Waits until it shows no process, socket or listener of a transfer any more. @returns {Promise<string[]>} what is left then */
  async leftovers(name, deadline, mayLeaveSockets) {
    for (;;) {
      const left = this.processes(name).map(({ pid, command }) => `process ${pid} (${command.slice(0, 60)})`)
      const folders = this.bed.isIsolated && !mayLeaveSockets ? readdirSync(join(this.bed.directory, name, 'tmp')) : []
      left.push(...folders.map((folder) => `/tmp/${folder}`))
      if (left.length === 0 || performance.now() > deadline) return left
      await pause(500)
    }
  }

  /** Undoes what lasts. */
  heal() {
    rmSync(this.#trouble, { force: true })
    for (const name of this.names) {
      this.bed.thawHost(name)
      for (const { pid } of this.processes(name, true)) signal(pid, 'SIGCONT')
    }
  }

  async stop() {
    await this.#disk?.end()
    await this.bed.stop()
  }
}

/** The login shell of a host: with one kind of agent, with none, or with somebody between it and its agent. */
function shellOf({ kinds, fault, victim, dice }, index, trouble) {
  const agents = { py: '*import*sys*', pl: '*sysread*STDIN*' }
  const lines = []
  // What joins a channel with the socket of an agent.
  if (fault === 'no way to a host' && index === victim) lines.push(`*AF_UNIX*|*sockaddr_un*) [ -e ${trouble} ] && exit 127;;`)
  if (kinds[index] !== 'py') lines.push(`${agents.py}) echo no python3 >&2; exit 127;;`)
  if (kinds[index] !== 'pl') lines.push(`${agents.pl}) echo no perl >&2; exit 127;;`)
  if (fault === 'flipped byte' && index === victim) {
    const offset = Math.floor(dice * 4e6)
    for (const pattern of Object.values(agents)) lines.push(`${pattern}) exec python3 ${tampering} ${offset} /bin/sh "$@";;`)
  }
  return `#!/bin/sh\ncase "$2" in\n${lines.join('\n')}\nesac\nexec /bin/sh "$@"\n`
}
