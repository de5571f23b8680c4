import { mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemCodeOf } from '../../errors.js'
import { type ByteName, byteName } from '../../util/byte-names.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import { isSystemError, type MoveFailure, partName, pathOf, targetFailure } from '../mover-parts.js'
import { ShellSession } from '../shell/shell-session.js'
import { cleanPath, resolvePaths } from './rsync-paths.js'
import { RsyncRun } from './rsync-run.js'

/** Below it, files from a host come under their names there, before they get their numbers. */
const ARRIVALS = 'from'

/** Moves content with rsync, so that only differences travel. Both sides must have it; they talk over a session of the one login. */
export class RsyncMover implements Mover {
  readonly name = 'rsync'
  readonly seed = true

  /** The files lie under their numbers in a folder of links: what they are called concerns nobody there. */
  async send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    if (files.length === 0) return new Map()
    const folder = await mkdtemp(join(tmpdir(), 'cahier-rsync-'))
    try {
      const names = new Map(files.map((file) => [String(file.index), file]))
      for (const [name, { path }] of names) symlinkSync(pathOf(path), join(folder, name))
      const run = new RsyncRun({ host, names, options, isSending: true, prefixes: [byteName(folder), parts] })
      return await run.run([`${folder}/`, 'host:./'], { there: parts })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  /** Parts are called by numbers, and rsync calls files as they are called there: they come below their own names first. */
  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const failures = new Map<number, MoveFailure>()
    const clean = await resolvePaths(
      host,
      files.map(({ path }) => cleanPath(path)),
      options.signal,
    )
    const arrivals = `${parts}/${ARRIVALS}`
    const names = new Map<ByteName, MovedFile>()
    // What a transfer that was killed has left.
    await rm(pathOf(arrivals), { recursive: true, force: true })
    try {
      for (const [at, file] of files.entries()) {
        const name = clean[at] as ByteName
        try {
          mkdirSync(pathOf(`${arrivals}${name.slice(0, name.lastIndexOf('/'))}`), { recursive: true })
          // Also one that began as a copy of what is here.
          moveFile(partName(parts, file.index), `${arrivals}${name}`)
          names.set(name, file)
        } catch (error) {
          if (!isSystemError(error)) throw error
          failures.set(file.index, targetFailure(`${arrivals}${name}`, systemCodeOf(error), error.message))
        }
      }
      if (names.size === 0) return failures
      const run = new RsyncRun({ host, names, options, isSending: false, prefixes: ['', arrivals] })
      const here = pathOf(arrivals).toString()
      return new Map([...failures, ...(await run.run(['--no-implied-dirs', 'host:/', './'], { there: '/', here }))])
    } finally {
      for (const [name, { index }] of names) moveFile(`${arrivals}${name}`, partName(parts, index))
      await rm(pathOf(arrivals), { recursive: true, force: true })
    }
  }
}

/** True when rsync can be run on the host. @throws ProcessError of the connection */
export async function rsyncThere(host: ReachedHost, signal?: AbortSignal): Promise<boolean> {
  const session = await ShellSession.start(host.pooled, 'command -v rsync >/dev/null 2>&1', () => undefined, { signal })
  session.end()
  const { exitCode, lost } = await session.closed
  if (lost !== undefined) throw lost
  return exitCode === 0
}

function moveFile(from: ByteName, to: ByteName): void {
  try {
    renameSync(pathOf(from), pathOf(to))
  } catch (error) {
    // It did not come.
    if (systemCodeOf(error) !== 'ENOENT') throw error
  }
}
