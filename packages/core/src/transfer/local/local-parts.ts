import {
  chmodSync,
  constants,
  copyFileSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { systemCodeOf, TransferError } from '../../errors.js'
import { formatBytes } from '../../units.js'
import { readableName } from '../../util/byte-names.js'
import type { Manifest } from '../manifest.js'
import type { Found, OpenInput } from '../place.js'
import { targetError } from './file-faults.js'
import { neededSize, pathIn } from './local-survey.js'
import { holderOfLine, LOCK_FILE } from './lock-line.js'
import { PartsLock } from './parts-lock.js'

/** Parts that began as copies of what was there: only who sends differences can go on with them. */
const SEEDED_FILE = 'seeded'

/** The folder in which content arrives, under numbers, before it is checked and gets its names. */
export class LocalParts {
  readonly folder: Buffer
  readonly #lock: PartsLock
  readonly #manifest: Manifest
  #isOpen = true

  private constructor(folder: Buffer, lock: PartsLock, manifest: Manifest) {
    this.folder = folder
    this.#lock = lock
    this.#manifest = manifest
  }

  /**
   * Makes it, or takes over what an earlier transfer has left; `found` is told of the parts in it.
   *
   * @throws TransferError `E_TARGET_DENIED`, `E_TARGET_FULL`, `E_TARGET_BUSY`
   */
  static open(target: Buffer, input: OpenInput, found: Found[]): LocalParts {
    const { manifest, partsId, policy, seed = false } = input
    const folder = pathIn(target, `.cahier-${partsId}`)
    const said = readableName(target.toString('latin1'))
    try {
      const { isNew, lock } = takeFolder(folder, () => checkRoom(target, manifest, found))
      if (typeof lock === 'string') {
        throw new TransferError('E_TARGET_BUSY', `Another transfer of the same files into ${said} is under way${holderOfLine(lock)}`, {
          suggestions: ['Wait until it has ended'],
          data: { parts: readableName(folder.toString('latin1')) },
        })
      }
      const parts = new LocalParts(folder, lock, manifest)
      try {
        if (!isNew) {
          parts.#tidy(policy.resume, seed, found)
          checkRoom(target, manifest, found)
        }
        if (seed) parts.#seed(target, found)
        return parts
      } catch (error) {
        parts.close(true)
        throw error
      }
    } catch (error) {
      removeEmpty(folder)
      throw targetError(error, `Nothing can be written into ${said}`)
    }
  }

  path(index: number): Buffer {
    return pathIn(this.folder, String(index))
  }

  /** A file of it that is not needed, or is not what was sent. */
  drop(index: number): void {
    rmSync(this.path(index), { force: true, recursive: true })
  }

  /** @throws TransferError `E_TARGET_BUSY` when somebody else has it by now: nothing of it may be put in place */
  checkOwner(): void {
    if (this.#lock.isMine()) return
    throw new TransferError(
      'E_TARGET_BUSY',
      `Another transfer of the same files has taken over ${readableName(this.folder.toString('latin1'))}`,
      {
        suggestions: ['Wait until it has ended'],
      },
    )
  }

  /** Lets go of it, if it is still ours. May be called more than once. */
  close(keep: boolean): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    if (!keep && this.#lock.isMine()) rmSync(this.folder, { recursive: true, force: true })
    this.#lock.release()
    removeEmpty(this.folder)
  }

  /** True when something lies in it that another transfer could go on with. */
  isOfUse(): boolean {
    return readdirSync(this.folder).some((name) => /^\d+$/.test(name) && lstatSync(this.path(Number(name))).size > 0)
  }

  /** Keeps what is of use of an earlier transfer, removes everything else. */
  #tidy(resume: boolean, seed: boolean, found: Found[]): void {
    const names = readdirSync(this.folder)
    const isUsable = resume && (seed || !names.includes(SEEDED_FILE))
    for (const name of names) {
      // Somebody may be about to ask for the lock.
      if (name === LOCK_FILE || name.startsWith(`${LOCK_FILE}.`) || (isUsable && name === SEEDED_FILE)) continue
      const bytes = isUsable && String(Number(name)) === name ? this.#partSize(Number(name), found) : undefined
      if (bytes === undefined) rmSync(pathIn(this.folder, name), { recursive: true, force: true })
      else found[Number(name)] = { state: 'part', bytes }
    }
  }

  #partSize(index: number, found: readonly Found[]): number | undefined {
    const entry = this.#manifest[index]
    const stats = lstatSync(this.path(index), { throwIfNoEntry: false })
    if (entry?.kind !== 'file' || found[index]?.state !== 'needed' || stats?.isFile() !== true) return undefined
    if (stats.size === 0 || stats.size > entry.size) return undefined
    // It may have had its final mode already.
    if ((stats.mode & 0o777) !== 0o600) chmodSync(this.path(index), 0o600)
    return stats.size
  }

  #seed(target: Buffer, found: readonly Found[]): void {
    let isMarked = false
    for (const [index, { state }] of found.entries()) {
      const entry = this.#manifest[index]
      if (state !== 'needed' || entry?.kind !== 'file') continue
      const path = pathIn(target, entry.name)
      if (lstatSync(path, { throwIfNoEntry: false })?.isFile() !== true) continue
      if (!isMarked) writeFileSync(pathIn(this.folder, SEEDED_FILE), '')
      isMarked = true
      try {
        copyFileSync(path, this.path(index), constants.COPYFILE_FICLONE)
        chmodSync(this.path(index), 0o600)
        if (lstatSync(this.path(index)).size > entry.size) truncateSync(this.path(index), entry.size)
      } catch {
        // It comes whole, then.
        this.drop(index)
      }
    }
  }
}

/** @param onNew - when it was made; what it throws ends it */
function takeFolder(folder: Buffer, onNew: () => void): { readonly isNew: boolean; readonly lock: PartsLock | string } {
  for (let tries = 1; ; tries += 1) {
    const isNew = makeFolder(folder)
    if (isNew) onNew()
    try {
      return { isNew, lock: PartsLock.take(folder) }
    } catch (error) {
      // Who had it has removed it just now.
      if (isNew || systemCodeOf(error) !== 'ENOENT' || tries === 5) throw error
    }
  }
}

/** @returns whether it is new */
function makeFolder(folder: Buffer): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 })
    return true
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw error
  }
  const stats = lstatSync(folder)
  const user = process.geteuid?.()
  if (stats.isDirectory() && (stats.mode & 0o077) === 0 && (user === undefined || stats.uid === user)) return false
  throw new TransferError('E_TARGET_DENIED', `${readableName(folder.toString('latin1'))} is there already, and is no folder of ours`, {
    suggestions: ['See who has made it; remove it if nobody needs it'],
  })
}

function removeEmpty(folder: Buffer): void {
  try {
    rmdirSync(folder)
  } catch {
    // Something is in it, or it is not there.
  }
}

/** @throws TransferError `E_TARGET_FULL` before anything comes */
function checkRoom(target: Buffer, manifest: Manifest, found: readonly Found[]): void {
  const { bytes, entries } = neededSize(manifest, found)
  const { bavail, bfree, bsize, files, ffree } = statfsSync(target, { bigint: true })
  const blocks = process.geteuid?.() === 0 ? bfree : bavail
  const free = Number(blocks * bsize)
  const said = readableName(target.toString('latin1'))
  const suggestions = ['Make room, or choose another directory']
  if (bytes > free) {
    throw new TransferError('E_TARGET_FULL', `${formatBytes(bytes)} are to come to ${said}, where ${formatBytes(free)} are free`, {
      suggestions,
      data: { bytes, free },
    })
  }
  // File systems without a fixed number of files say 0 for both.
  if (files > 0n && BigInt(entries) > ffree) {
    throw new TransferError('E_TARGET_FULL', `${entries} files are to come to ${said}, where there is room for ${ffree}`, {
      suggestions,
      data: { files: entries, free: Number(ffree) },
    })
  }
}
