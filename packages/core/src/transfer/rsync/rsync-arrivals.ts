import { copyFileSync, mkdirSync, renameSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { systemCodeOf } from '../../errors.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { MovedFile, ReachedHost } from '../mover.js'
import { isSystemError, type MoveFailure, partName, pathOf, sourceFailure, targetFailure } from '../mover-parts.js'
import { cleanPath, resolvePaths } from './rsync-paths.js'

/** Where parts of this machine lie under the names that their files have on the host: rsync knows no others. */
export class RsyncArrivals {
  readonly folder: ByteName
  readonly failures = new Map<number, MoveFailure>()
  readonly #host: ReachedHost
  readonly #parts: ByteName
  readonly #names = new Map<ByteName, MovedFile>()
  /** Entries that are the same file there as another one, by name. */
  readonly #twins = new Map<number, ByteName>()

  constructor(host: ReachedHost, parts: ByteName) {
    this.#host = host
    this.#parts = parts
    this.folder = `${parts}/from`
  }

  /** @returns the files that rsync is to bring, by the names that it is given */
  async expect(files: readonly MovedFile[], signal: AbortSignal): Promise<ReadonlyMap<ByteName, MovedFile>> {
    const paths = files.map(({ path }) => cleanPath(path))
    const names = await resolvePaths(this.#host, paths, signal)
    const folders = new Set<ByteName>()
    const turns = new Turns()
    // What a transfer that was killed has left.
    await rm(pathOf(this.folder), { recursive: true, force: true })
    for (const [at, file] of files.entries()) {
      const name = names[at]
      if (name === undefined) this.failures.set(file.index, sourceFailure(file.path, 'ENOENT', 'it is gone'))
      else if (this.#names.has(name)) this.#twins.set(file.index, name)
      else this.#prepare(name, file, folders)
      await turns.pause()
    }
    return this.#names
  }

  /** What did not come. */
  fail(failures: ReadonlyMap<number, MoveFailure>): void {
    for (const [index, failure] of failures) this.failures.set(index, failure)
  }

  /** Gives all that is there its number. */
  async settle(): Promise<void> {
    const turns = new Turns()
    for (const [index, name] of this.#twins) {
      const { index: first } = this.#names.get(name) as MovedFile
      const failure = this.failures.get(first) ?? this.#copy(name, index)
      if (failure !== undefined) this.failures.set(index, failure)
      await turns.pause()
    }
    for (const [name, { index }] of this.#names) {
      moveFile(`${this.folder}${name}`, partName(this.#parts, index))
      await turns.pause()
    }
    await rm(pathOf(this.folder), { recursive: true, force: true })
  }

  #prepare(name: ByteName, file: MovedFile, folders: Set<ByteName>): void {
    const arrival = `${this.folder}${name}`
    const above = arrival.slice(0, arrival.lastIndexOf('/'))
    try {
      if (!folders.has(above)) mkdirSync(pathOf(above), { recursive: true })
      folders.add(above)
      // Also one that began as a copy of what is here.
      moveFile(partName(this.#parts, file.index), arrival)
      this.#names.set(name, file)
    } catch (error) {
      this.failures.set(file.index, unwritten(arrival, error))
    }
  }

  #copy(name: ByteName, index: number): MoveFailure | undefined {
    try {
      copyFileSync(pathOf(`${this.folder}${name}`), pathOf(partName(this.#parts, index)))
      return undefined
    } catch (error) {
      // It was given up before the first one came.
      if (systemCodeOf(error) === 'ENOENT') return { code: 'E_TRANSFER', message: `${readableName(name)} did not come` }
      return unwritten(partName(this.#parts, index), error)
    }
  }
}

function unwritten(path: ByteName, error: unknown): MoveFailure {
  if (!isSystemError(error)) throw error
  return targetFailure(path, systemCodeOf(error), error.message)
}

function moveFile(from: ByteName, to: ByteName): void {
  try {
    renameSync(pathOf(from), pathOf(to))
  } catch (error) {
    // It did not come.
    if (systemCodeOf(error) !== 'ENOENT') throw error
  }
}
