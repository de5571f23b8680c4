import { mkdirSync } from 'node:fs'
import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { ConfigError, messageOf, StoreError, systemCodeOf } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { CallOptions } from '../ports/scheduler.js'
import type { FileWatch, SiteFiles, SmallFile } from '../ports/site-files.js'
import { writeFileAtomic } from '../util/atomic-file.js'
import { asStoreError } from '../util/file-errors.js'

/** Between two looks into watched folders where nothing new is found. */
const WATCH_INTERVAL_MS = 1_000
/** After something new was found: more is likely to come. */
const BUSY_INTERVAL_MS = 250
/** Files that are written or read at once. */
const AT_ONCE = 16

export interface LocalFilesOptions {
  readonly clock: Clock
}

/** The files of a site whose jobs see those of this machine. */
export class LocalFiles implements SiteFiles {
  readonly isShared = true
  readonly #clock: Clock

  constructor({ clock }: LocalFilesOptions) {
    this.#clock = clock
  }

  async write(files: readonly SmallFile[], { signal }: CallOptions = {}): Promise<void> {
    for (const folder of new Set(files.map(({ path }) => dirname(path)))) {
      signal?.throwIfAborted()
      try {
        mkdirSync(folder, { recursive: true })
      } catch (error) {
        throw asStoreError(error, folder)
      }
    }
    await inTurn(files, async ({ path, data, mode }) => {
      signal?.throwIfAborted()
      try {
        await writeFileAtomic(path, data, { mode: mode ?? 0o644 })
      } catch (error) {
        throw asStoreError(error, path)
      }
    })
  }

  async read(paths: readonly string[], { signal }: CallOptions = {}): Promise<readonly (string | undefined)[]> {
    const texts = new Array<string | undefined>(paths.length).fill(undefined)
    await inTurn(paths, async (path, index) => {
      signal?.throwIfAborted()
      texts[index] = await readText(path)
    })
    return texts
  }

  watch(onFile: (path: string, text: string) => void): FileWatch {
    return new LocalWatch(this.#clock, onFile)
  }

  resolve(path: string): Promise<string> {
    try {
      return Promise.resolve(resolveHere(path))
    } catch (error) {
      return Promise.reject(error)
    }
  }
}

async function inTurn<T>(items: readonly T[], action: (item: T, index: number) => Promise<void>): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) await action(items[index] as T, index)
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, items.length) }, work))
}

async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const code = systemCodeOf(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return undefined
    throw new StoreError('E_RUN_DIRECTORY', `${path} cannot be read: ${messageOf(cause)}`, {
      suggestions: ['Make it readable again: the job itself is not concerned'],
      data: { path },
      cause,
    })
  }
}

function resolveHere(path: string): string {
  const home = /^~(?=\/|$)/.exec(path)
  if (home !== null) return resolve(join(homedir(), path.slice(1)))
  const variable = /^\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))(?=\/|$)/.exec(path)
  if (variable === null) return resolve(path)
  const name = (variable[1] ?? variable[2]) as string
  const value = process.env[name]
  if (value === undefined || value === '') throw unknownVariable(path, name)
  return resolve(join(value, path.slice(variable[0].length)))
}

export function unknownVariable(path: string, name: string): ConfigError {
  return new ConfigError('E_SITE_INVALID', `${path} stands for nothing: $${name} is not set there`, {
    suggestions: ['Write the work directory in full, from / on', 'See what is set: cahier exec … "env"'],
    data: { path, variable: name },
  })
}

/** Looks into the folders one after the other, about once a second, more often while there is news. */
class LocalWatch implements FileWatch {
  readonly isLive = true
  readonly #clock: Clock
  readonly #onFile: (path: string, text: string) => void
  readonly #end = new AbortController()
  #directories: readonly string[] = []
  /** Reported, and still there. */
  #seen = new Map<string, Set<string>>()
  #running: Promise<void> | undefined

  constructor(clock: Clock, onFile: (path: string, text: string) => void) {
    this.#clock = clock
    this.#onFile = onFile
  }

  setDirectories(directories: readonly string[]): void {
    this.#directories = [...new Set(directories)]
    this.#seen = new Map(this.#directories.map((path) => [path, this.#seen.get(path) ?? new Set()]))
    if (directories.length > 0 && !this.#end.signal.aborted) this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    const { signal } = this.#end
    while (!signal.aborted) {
      let found = 0
      for (const directory of this.#directories) found += await this.#look(directory)
      await this.#clock.sleep(found > 0 ? BUSY_INTERVAL_MS : WATCH_INTERVAL_MS, { signal, unref: true }).catch(() => undefined)
    }
  }

  /** @returns how many files are new */
  async #look(directory: string): Promise<number> {
    const names = await readdir(directory).catch(() => [])
    const before = this.#seen.get(directory)
    if (before === undefined) return 0
    let found = 0
    const seen = new Set(names.filter((name) => before.has(name)))
    this.#seen.set(directory, seen)
    for (const name of names) {
      if (seen.has(name) || name.startsWith('.')) continue
      const path = join(directory, name)
      const text = await wholeText(path)
      if (text === undefined || this.#end.signal.aborted) continue
      seen.add(name)
      found += 1
      this.#onFile(path, text)
      // The same name may come again, from another start of the job.
      await rm(path, { force: true }).then(
        () => seen.delete(name),
        () => undefined,
      )
    }
    return found
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await this.#running
  }
}

/** The text of a file whose last line is complete. */
async function wholeText(path: string): Promise<string | undefined> {
  try {
    if (!(await stat(path)).isFile()) return undefined
    const text = await readFile(path, 'utf8')
    return text.endsWith('\n') ? text : undefined
  } catch {
    return undefined
  }
}
