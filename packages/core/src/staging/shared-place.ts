import { constants, copyFileSync, linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../errors.js'
import type { CallOptions } from '../ports/scheduler.js'
import type { FetchedAttempt, FetchOutcome, SitePlace, StagedAttempt } from '../ports/site-place.js'
import { asStoreError } from '../util/file-errors.js'
import { LINKED_FROM_BYTES, type PlacedInput } from './placed-input.js'

export interface SharedPlaceOptions {
  /** Absolute. */
  readonly runDirectory: string
  readonly inputs?: readonly PlacedInput[]
}

/** The files of a run where its jobs see them under the names that they have here. */
export class SharedPlace implements SitePlace {
  readonly isShared = true
  readonly root: string
  readonly #inputs: readonly PlacedInput[]

  constructor({ runDirectory, inputs = [] }: SharedPlaceOptions) {
    this.root = runDirectory
    this.#inputs = inputs
  }

  open(): Promise<void> {
    return Promise.resolve()
  }

  /** What is there already is left as it is. */
  async stage(attempts: readonly StagedAttempt[], { signal }: CallOptions = {}): Promise<void> {
    for (const { directory, parameters } of attempts) {
      signal?.throwIfAborted()
      const place = join(this.root, directory)
      try {
        mkdirSync(place, { recursive: true })
        unlessThere(() => writeFileSync(join(place, 'parameters.json'), parameters, { flag: 'wx' }))
        for (const input of this.#inputs) unlessThere(() => placeInput(input, join(place, input.name)))
      } catch (error) {
        throw asStoreError(error, place)
      }
    }
  }

  fetch(attempts: readonly FetchedAttempt[]): Promise<readonly FetchOutcome[]> {
    return Promise.resolve(attempts.map(() => ({ ok: true, files: 0, bytes: 0 })))
  }
}

function unlessThere(action: () => void): void {
  try {
    action()
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error
  }
}

function placeInput({ path, bytes }: PlacedInput, to: string): void {
  if (bytes >= LINKED_FROM_BYTES) {
    try {
      linkSync(path, to)
      return
    } catch (error) {
      if (systemCodeOf(error) === 'EEXIST') return
      // No hard links here: copy.
    }
  }
  copyFileSync(path, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
}
