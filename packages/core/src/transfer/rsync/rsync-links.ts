import { rmSync, symlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ByteName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { MovedFile } from '../mover.js'
import { pathOf } from '../mover-parts.js'

/**
 * Folders in which files lie under their numbers, as links. Hosts that get the same files at the same time use one: to make it takes
 * longer than to send small files.
 */
export class RsyncLinks {
  readonly #folders = new Set<LinkFolder>()

  /** Does the work with a folder that has all these; others may be in it. */
  async with<T>(files: readonly MovedFile[], work: (folder: string) => Promise<T>): Promise<T> {
    const folder = [...this.#folders].find((one) => one.fits(files)) ?? new LinkFolder()
    this.#folders.add(folder)
    folder.users += 1
    try {
      return await work(await folder.add(files))
    } finally {
      folder.users -= 1
      if (folder.users === 0) {
        this.#folders.delete(folder)
        await folder.remove()
      }
    }
  }
}

class LinkFolder {
  users = 0
  readonly #links = new Map<number, ByteName>()
  readonly #path = mkdtemp(join(tmpdir(), 'cahier-rsync-'))
  /** Rejects when any of those that were asked for so far could not be made. */
  #made: Promise<unknown> = this.#path

  /** True when none of the numbers stands for another file here. */
  fits(files: readonly MovedFile[]): boolean {
    return files.every(({ index, path }) => (this.#links.get(index) ?? path) === path)
  }

  /** @returns its path, when all are there */
  async add(files: readonly MovedFile[]): Promise<string> {
    const missing = files.filter(({ index }) => !this.#links.has(index))
    for (const { index, path } of missing) this.#links.set(index, path)
    this.#made = this.#made.then(() => this.#make(missing))
    await this.#made
    return await this.#path
  }

  async remove(): Promise<void> {
    const path = await this.#path.catch(() => undefined)
    if (path === undefined) return
    const turns = new Turns()
    // The one of Node holds a promise for each of them.
    for (const index of this.#links.keys()) {
      rmSync(join(path, `${index}`), { force: true })
      await turns.pause()
    }
    await rm(path, { recursive: true, force: true })
  }

  async #make(files: readonly MovedFile[]): Promise<void> {
    const folder = await this.#path
    const turns = new Turns()
    for (const { index, path } of files) {
      symlinkSync(pathOf(path), join(folder, `${index}`))
      await turns.pause()
    }
  }
}
