/** Small and read-only file systems for tests. Needs root. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { searchPath } from './network.mjs'

/** Mounts, says so, and takes it away when its input ends: also when this program is killed. */
const HOLD = `mount -t tmpfs -o "size=$1,mode=0755" cahier-test "$0" || exit 1
if [ "$2" = ro ]; then echo theirs >"$0/theirs"; mount -o remount,ro "$0" || exit 1; fi
echo ready
read -r line
umount -l "$0"; rmdir "$0"`

/**
 * @typedef {object} TestDisk
 * @property {string} there the directory
 * @property {string} here where this machine sees it
 * @property {() => Promise<void>} end takes it away
 */

/** Why there can be no such disk, for the title of what is skipped; undefined when there can. */
export function disksUnavailable() {
  if (process.platform !== 'linux') return 'needs Linux'
  if (process.getuid?.() !== 0) return 'needs root'
  const tried = spawnSync('unshare', ['--mount', 'sh', '-c', 'mount -t tmpfs none /tmp'], { env: { ...process.env, PATH: searchPath } })
  return tried.status === 0 ? undefined : 'needs the right to mount'
}

/**
 * Mounts an empty file system of its own in a new directory; a read-only one holds the file `theirs`.
 *
 * @param {{ size?: string, readOnly?: boolean, enter?: readonly string[] }} [options] size: as mount takes it, default `1m`. enter: of an
 * isolated test host, to which alone the disk belongs then
 * @returns {Promise<TestDisk & AsyncDisposable>}
 */
export async function mountDisk({ size = '1m', readOnly = false, enter = [] } = {}) {
  const there = mkdtempSync(join(tmpdir(), 'cahier-disk-'))
  const [program, ...args] = [...enter, 'sh', '-c', HOLD, there, size, readOnly ? 'ro' : 'rw']
  const holder = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true, cwd: '/', env: { PATH: searchPath } })
  holder.stdin.on('error', () => {})
  let complaint = ''
  holder.stderr.on('data', (chunk) => (complaint += chunk))
  const ended = new Promise((resolve) => holder.once('close', resolve))
  const isReady = await Promise.race([
    new Promise((resolve) => holder.stdout.once('data', () => resolve(true))),
    new Promise((resolve) => holder.once('error', () => resolve(false))),
    ended.then(() => false),
  ])
  const end = async () => {
    holder.stdin.end()
    await ended
    rmSync(there, { recursive: true, force: true })
  }
  if (!isReady) {
    rmSync(there, { recursive: true, force: true })
    throw new Error(`no file system could be mounted on ${there}: ${complaint.trim()}`)
  }
  // The first process of an isolated host is what is entered.
  const here = enter.length === 0 ? there : `/proc/${enter[2]}/root${there}`
  return { there, here, end, [Symbol.asyncDispose]: end }
}
