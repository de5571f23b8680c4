/** Hosts, files, programs and checks that the parts of this bench share. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  createReadStream,
  createWriteStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { startSshHosts } from '../../testbed/ssh-hosts.mjs'

const copier = fileURLToPath(new URL('copy.mjs', import.meta.url))
const cli = fileURLToPath(new URL('../../../packages/cli/bin/run.js', import.meta.url))
/** Where copies arrive, below the home of each host. */
export const TARGET = 'in'

/**
 * Hosts for a bench; all disks are one here, which it would measure: they are in memory when there is enough of it.
 *
 * @param {number} count
 * @param {{ rate?: string, bytes: number, netns?: boolean }} options `rate`: of every cable, also that of the controller; `bytes`: of all copies
 */
export async function startLab(count, { rate, bytes, netns = true }) {
  const folder = mkdtempSync(join(hasRoom('/dev/shm', 3 * bytes) ? '/dev/shm' : tmpdir(), 'cahier-bench-'))
  try {
    // Everything lies in the directory of the bed: it goes also when this process is killed. The last host is where the commands are given: its cable is limited, too.
    const bed = await startSshHosts(rate === undefined ? count : count + 1, {
      directory: folder,
      netns,
      ...(rate === undefined ? {} : { rate }),
    })
    return new Lab(folder, bed, bed.hosts.slice(0, count), rate === undefined ? [] : bed.enter(`h${count + 1}`).slice(0, 4))
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

function hasRoom(path, bytes) {
  try {
    const { type, bavail, bsize } = statfsSync(path)
    return type === 0x01021994 && bavail * bsize > bytes
  } catch {
    return false
  }
}

class Lab {
  constructor(folder, bed, hosts, asController) {
    this.folder = folder
    this.bed = bed
    this.hosts = hosts
    this.addresses = hosts.map(({ address }) => address)
    this.asController = asController
    // For programs of others, also where they are started on hosts.
    this.config = bed.plainConfig
    this.hostFile = join(folder, 'hosts')
    writeFileSync(this.hostFile, this.addresses.map((address) => `${address}\n`).join(''))
  }

  /** A file of random bytes to be copied. */
  async file(name, bytes) {
    const path = join(this.folder, name)
    const piece = 4 << 20
    await pipeline(function* () {
      for (let left = bytes; left > 0; left -= piece) yield randomBytes(Math.min(left, piece))
    }, createWriteStream(path))
    return path
  }

  /** Removes what was copied. */
  async clean() {
    for (const { home } of this.hosts) rmSync(join(home, TARGET), { recursive: true, force: true })
  }

  /** For programs that want the directory to be there. */
  async prepare() {
    await this.clean()
    for (const { home } of this.hosts) mkdirSync(join(home, TARGET))
  }

  /**
   * Copies with our library in a process of its own.
   *
   * @returns {Promise<{ seconds: number, cpuSeconds: number, peakMiB: number, results: { host: string, outcome: string }[] }>}
   */
  async copy(files, via, more = {}) {
    const { failures = 0, hosts = this.addresses, ...rest } = more
    const input = { files: [files].flat(), hosts, to: TARGET, via, sshConfig: this.config, ...rest }
    const { stdout } = await this.run([process.execPath, copier, JSON.stringify(input)])
    const report = JSON.parse(stdout.trimEnd().split('\n').at(-1))
    const failed = report.results.filter(({ outcome }) => outcome !== 'done')
    if (report.results.length !== hosts.length || failed.length > failures) {
      throw new Error(`${via}: not all went well: ${report.why} ${JSON.stringify(failed)}`)
    }
    return report
  }

  /** The same with the command line. @returns {Promise<number>} seconds of the whole command */
  async command(verb, files, via) {
    const start = performance.now()
    const hosts = ['-w', this.addresses.join(','), '--ssh-config', this.config]
    await this.run([process.execPath, cli, verb, ...[files].flat(), '--to', TARGET, '--create', '--via', via, ...hosts])
    return (performance.now() - start) / 1000
  }

  /** One command for each host, all at once. @returns {Promise<number>} seconds */
  async each(commandOf) {
    const start = performance.now()
    await Promise.all(this.addresses.map((address, index) => this.run(commandOf(address, index))))
    return (performance.now() - start) / 1000
  }

  /** Runs a program where the commands are given. @throws when it fails */
  run(command) {
    return runProgram([...this.asController, ...command])
  }

  /** @throws unless every host has exactly these bytes under this name */
  async verify(digest, name, hosts = this.hosts) {
    for (const { name: host, home } of hosts) {
      const found = await digestOf(join(home, TARGET, name)).catch((error) => error.message)
      if (found !== digest) throw new Error(`${host} has something else: ${found}`)
    }
  }

  async stop() {
    await this.bed.stop()
  }
}

/** @returns {Promise<{ stdout: string, stderr: string }>} */
export function runProgram(command) {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk))
    child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk))
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code === 0) resolve({ stdout, stderr })
      else reject(new Error(`${command.join(' ').slice(0, 300)} ended with ${code ?? signal}: ${stderr.slice(-500)}${stdout.slice(-500)}`))
    })
  })
}

/** SHA-256 of a file, or of all files below a directory with their names. */
export async function digestOf(path) {
  const hash = createHash('sha256')
  const visit = async (one, name) => {
    let inner
    try {
      inner = readdirSync(one).sort()
    } catch {
      await pipeline(createReadStream(one, { highWaterMark: 1 << 20 }), async (source) => {
        hash.update(name)
        for await (const chunk of source) hash.update(chunk)
      })
      return
    }
    for (const each of inner) await visit(join(one, each), `${name}/${each}`)
  }
  await visit(path, '')
  return hash.digest('hex')
}

/** SHA-256 of many small files with their names; faster than {@link digestOf} where they are small. */
export function digestOfSmall(path) {
  const hash = createHash('sha256')
  const visit = (folder, name) => {
    for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const inner = join(folder, entry.name)
      if (entry.isDirectory()) visit(inner, `${name}/${entry.name}`)
      else hash.update(`${name}/${entry.name}\0`).update(readFileSync(inner))
    }
  }
  visit(path, '')
  return hash.digest('hex')
}

/** In a hundred directories, 1 to 4 KiB each. */
export function makeSmallFiles(folder, count, random) {
  for (let index = 0; index < count; index++) {
    const inner = join(folder, `d${index % 100}`)
    if (index < 100) mkdirSync(inner, { recursive: true })
    writeFileSync(join(inner, `f${index}`), randomBytes(1024 + Math.floor(random() * 3072)))
  }
}

/** The command line of an agent, of either kind. */
export const AGENT = /BufferedReader\(io\.FileIO|sysread STDIN,\$p/

/** taktuk as a chain through these hosts, one login after the other. */
export function taktukCommand(lab, arrangement, source, target) {
  const chain = (left) => (left.length === 0 ? [] : ['-m', left[0], ...(left.length === 1 ? [] : ['-[', ...chain(left.slice(1)), '-]'])])
  const shape = arrangement === 'static' ? chain(lab.addresses) : ['-d', arrangement, '-f', lab.hostFile]
  return ['taktuk', '-s', '-c', `ssh -F ${lab.config}`, ...shape, 'broadcast', 'put', '[', source, ']', '[', target, ']']
}
