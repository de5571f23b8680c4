import { chmodSync, rmSync } from 'node:fs'
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { ProcessError } from '../errors.js'
import { MuxControl } from './mux-control.js'

/** ssh adds a suffix of 17 while it makes a socket, and a socket's name holds 107. @source OpenSSH 9.2 muxserver_listen */
const LONGEST_SOCKET = 90
const PREFIX = 'cahier-ssh-'
const LONGEST_NAME = 'm99999'.length

/** A folder for the sockets and logs of one connector: ours alone, with a short name. */
export interface ControlDirectory {
  readonly path: string
  remove(): void
}

/**
 * Makes the folder, and removes those that programs of ours have left behind when they were killed.
 *
 * @throws ProcessError `E_SSH_CONFIG` when no place has a name that is short enough
 */
export async function openControlDirectory(places: readonly (string | undefined)[] = usualPlaces()): Promise<ControlDirectory> {
  const tried: string[] = []
  for (const place of places) {
    if (place === undefined || place === '') continue
    const length = Buffer.byteLength(join(place, `${PREFIX}${process.pid}-XXXXXX`)) + 1 + LONGEST_NAME
    if (length > LONGEST_SOCKET) {
      tried.push(`${place} (its name is too long for a socket)`)
      continue
    }
    try {
      const path = await mkdtemp(join(place, `${PREFIX}${process.pid}-`))
      chmodSync(path, 0o700)
      void sweep(place).catch(() => {})
      return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
    } catch (error) {
      tried.push(`${place} (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`)
    }
  }
  throw new ProcessError('E_SSH_CONFIG', `There is no place for the sockets of ssh: ${tried.join(', ')}`, {
    suggestions: ['Set TMPDIR to a short path that you may write to'],
  })
}

function usualPlaces(): (string | undefined)[] {
  return [process.env['XDG_RUNTIME_DIR'], tmpdir(), '/tmp']
}

/** Removes folders of programs that are gone, unless a master still answers there (it ends by itself soon). */
async function sweep(place: string): Promise<void> {
  const { uid } = userInfo()
  for (const name of await readdir(place)) {
    const pid = /^cahier-ssh-(\d+)-\w{6}$/.exec(name)?.[1]
    if (pid === undefined || isRunning(Number(pid))) continue
    const path = join(place, name)
    const info = await lstat(path).catch(() => undefined)
    if (info === undefined || !info.isDirectory() || info.uid !== uid) continue
    const sockets = (await readdir(path)).filter((file) => /^m\d+$/.test(file))
    const live = await Promise.all(sockets.map((file) => MuxControl.isLive(join(path, file))))
    if (!live.includes(true)) await rm(path, { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
