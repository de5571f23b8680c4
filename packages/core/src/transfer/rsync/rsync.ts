import { type ByteName, byteName } from '../../util/byte-names.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import { pathOf } from '../mover-parts.js'
import { ShellSession } from '../shell/shell-session.js'
import { RsyncArrivals } from './rsync-arrivals.js'
import { RsyncLinks } from './rsync-links.js'
import { RsyncRun } from './rsync-run.js'

/** Moves content with rsync, so that only differences travel. Both sides must have it; they talk over a session of the one login. */
export class RsyncMover implements Mover {
  readonly name = 'rsync'
  readonly seed = true

  readonly #links = new RsyncLinks()

  /** The files lie under their numbers in a folder of links: what they are called concerns nobody there. */
  async send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    if (files.length === 0) return new Map()
    const names = new Map(files.map((file) => [String(file.index), file]))
    return await this.#links.with(files, (folder) => {
      const run = new RsyncRun({ host, names, options, isSending: true, prefixes: [byteName(folder), parts] })
      return run.run([`${folder}/`, 'host:./'], { there: parts })
    })
  }

  /** Parts are called by numbers, and rsync calls files as they are called there: they come below their own names first. */
  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const arrivals = new RsyncArrivals(host, parts)
    try {
      const names = await arrivals.expect(files, options.signal)
      if (names.size > 0) {
        const run = new RsyncRun({ host, names, options, isSending: false, prefixes: ['', arrivals.folder] })
        const here = pathOf(arrivals.folder).toString()
        arrivals.fail(await run.run(['--no-implied-dirs', 'host:/', './'], { there: '/', here }))
      }
    } finally {
      await arrivals.settle()
    }
    return arrivals.failures
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
