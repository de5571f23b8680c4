/** Programs of others, and what a program costs. */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { have } from '../measure.mjs'

const wrapper = fileURLToPath(new URL('cpu.pl', import.meta.url))
const PACKAGES = { pdsh: 'pdsh', clush: 'clustershell', taktuk: 'taktuk' }

/** Installs what is missing, when root on a Debian. @param {(line: string) => void} log @returns {string[]} those that are there */
export function installPeers(log) {
  const names = Object.keys(PACKAGES)
  const missing = names.filter((name) => !have(name))
  if (missing.length > 0 && process.getuid?.() === 0 && have('apt-get')) {
    const packages = missing.map((name) => PACKAGES[name])
    log(`installing ${packages.join(', ')}`)
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    spawnSync('apt-get', ['-qq', 'update'], { env, stdio: 'ignore' })
    spawnSync('apt-get', ['-qq', '-y', '--no-install-recommends', 'install', ...packages], { env, stdio: 'ignore' })
  }
  return names.filter(have)
}

let runs = 0

/**
 * Runs a program to its end.
 *
 * @param {readonly string[]} command
 * @param {{ env?: Record<string, string> }} [options]
 * @returns {Promise<{ code: number | null, stdout: string, stderr: string, wallMs: number, cpuMs: number }>} cpuMs: of the whole tree
 */
export async function costOf(command, { env = {} } = {}) {
  const file = join(tmpdir(), `cahier-bench-${process.pid}-${++runs}`)
  const child = spawn('perl', [wrapper, file, ...command], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk))
  child.stderr.setEncoding('utf8').on('data', (chunk) => (stderr += chunk))
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  const [wall, cpu] = readFileSync(file, 'utf8').split(' ').map(Number)
  rmSync(file)
  return { code, stdout, stderr, wallMs: wall * 1000, cpuMs: cpu * 1000 }
}

/**
 * Runs a part of this bench in a process of its own, so that its memory is its own; the last line that it writes is JSON.
 *
 * @param {string} name of the file beside this one
 * @param {unknown} input
 */
export async function runPart(name, input) {
  const file = fileURLToPath(new URL(`${name}.mjs`, import.meta.url))
  const child = spawn(process.execPath, [file, JSON.stringify(input)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => (stdout += chunk))
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', resolve)
  })
  if (code !== 0) throw new Error(`${name} ended with ${code}`)
  return JSON.parse(stdout.trimEnd().split('\n').at(-1))
}
