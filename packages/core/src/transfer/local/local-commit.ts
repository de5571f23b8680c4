import { execFile } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  fstatSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { isCampaignError, systemCodeOf, TransferError } from '../../errors.js'
import type { FileFailure } from '../../model/transfer.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { Manifest, ManifestEntry } from '../manifest.js'
import type { Arrived, Committed } from '../place.js'
import { codeOfFault, wordsOfFault } from './file-faults.js'
import { microsecondsOf, utimesArgument } from './file-times.js'
import { checkPart, setAttributes, withFile } from './local-check.js'
import type { LocalParts } from './local-parts.js'
import { pathIn, type Survey } from './local-survey.js'

/** From so many files on, the file system is asked once to write everything to the disk, not for each. */
const MANY_FILES = 64

type FolderEntry = ManifestEntry & { readonly kind: 'directory' }

/** Turns parts into files: what is not what was sent stays out, and is a failure. */
export class LocalCommit {
  readonly #manifest: Manifest
  readonly #target: Buffer
  readonly #survey: Survey
  readonly #parts: LocalParts | undefined
  readonly #failures: FileFailure[] = []
  readonly #failed = new Set<number>()
  /** Directories that are still what was looked at. */
  readonly #checked = new Set<number>()
  readonly #turns = new Turns()

  constructor(manifest: Manifest, target: Buffer, survey: Survey, parts: LocalParts | undefined) {
    this.#manifest = manifest
    this.#target = target
    this.#survey = survey
    this.#parts = parts
  }

  async run(arrived: readonly Arrived[], signal: AbortSignal | undefined): Promise<Committed> {
    const isMany = arrived.length >= MANY_FILES
    const whole: number[] = []
    for (const one of arrived) {
      await this.#turns.pause(signal)
      if (await this.#isWhole(one, !isMany, signal)) whole.push(one.index)
    }
    if (isMany && this.#parts !== undefined) await writeOut(this.#parts.folder, whole, this.#parts)
    const opened = new Map<number, number>()
    try {
      return await this.#place(whole, opened, signal)
    } catch (error) {
      for (const [index, mode] of opened) isDone(() => chmodSync(this.#path(index), mode))
      throw error
    }
  }

  /** @param opened - is told of directories that had to be made writable, and of their modes before */
  async #place(whole: readonly number[], opened: Map<number, number>, signal: AbortSignal | undefined): Promise<Committed> {
    await this.#makeFolders(opened, signal)
    let files = 0
    for (const index of whole) {
      await this.#turns.pause(signal)
      if (this.#attempt(index, () => this.#placeFile(index))) files += 1
    }
    for (const [index, entry] of this.#manifest.entries()) {
      await this.#turns.pause(signal)
      const { state } = this.#survey.found[index] ?? {}
      if (entry.kind === 'link' && state === 'needed') this.#attempt(index, () => this.#placeLink(index, entry.target, entry.timeUs))
      if (state === 'same' && entry.kind !== 'directory') this.#attempt(index, () => this.#agree(index, entry))
    }
    await this.#finishFolders(signal)
    return { files, failures: this.#failures, verified: 'sha256' }
  }

  /** Compares the part with what was sent, and gives it its mode and time. */
  async #isWhole({ index, sha256 }: Arrived, isSynced: boolean, signal: AbortSignal | undefined): Promise<boolean> {
    const entry = this.#manifest[index]
    if (entry?.kind !== 'file' || this.#parts === undefined) throw new Error(`nothing was to arrive for entry ${index}`)
    const path = this.#parts.path(index)
    try {
      await checkPart(path, entry, sha256, { isSynced, signal })
      return true
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error
      if (isCampaignError(error) && error.code === 'E_COPY_CORRUPT') this.#parts.drop(index)
      this.#fail(index, error)
      return false
    }
  }

  async #makeFolders(opened: Map<number, number>, signal: AbortSignal | undefined): Promise<void> {
    for (const [index, entry] of this.#manifest.entries()) {
      if (entry.kind !== 'directory') continue
      await this.#turns.pause(signal)
      const { state } = this.#survey.found[index] ?? {}
      const path = this.#path(index)
      if (state === 'needed') this.#attempt(index, () => makeFolder(path))
      else if (state === 'same' && !this.#survey.linked.has(index)) {
        const stats = lstatSync(path, { throwIfNoEntry: false })
        if (stats?.isDirectory() !== true || (stats.mode & 0o300) === 0o300) continue
        // It is not ours to open when it is somebody else's: then what is to come into it fails, with the reason.
        if (isDone(() => chmodSync(path, (stats.mode & 0o7777) | 0o700))) opened.set(index, stats.mode & 0o7777)
      }
    }
  }

  #placeFile(index: number): void {
    this.#checkFolder(index)
    this.#rename((this.#parts as LocalParts).path(index), index)
  }

  #placeLink(index: number, target: ByteName, timeUs: number): void {
    this.#checkFolder(index)
    const part = (this.#parts as LocalParts).path(index)
    rmSync(part, { force: true, recursive: true })
    symlinkSync(Buffer.from(target, 'latin1'), part)
    // Not every file system has times of links.
    isDone(() => lutimesSync(part, utimesArgument(timeUs), utimesArgument(timeUs)))
    this.#rename(part, index)
  }

  /** A file that is there already has the content; mode and time may differ. */
  #agree(index: number, entry: Exclude<ManifestEntry, FolderEntry>): void {
    this.#checkFolder(index)
    const path = this.#path(index)
    const stats = lstatSync(path, { bigint: true })
    const hasTime = Math.abs(microsecondsOf(stats.mtimeNs) - entry.timeUs) <= 1
    const time = utimesArgument(entry.timeUs)
    if (entry.kind === 'link') {
      if (!hasTime) isDone(() => lutimesSync(path, time, time))
      return
    }
    // It was replaced by something else since.
    if (!stats.isFile() || Number(stats.size) !== entry.size) throw changedMeanwhile()
    const hasMode = (Number(stats.mode) & 0o7777) === entry.mode
    // Of somebody else's file neither can be set, and its content is what was asked for.
    if (!hasMode) isDone(() => chmodSync(path, entry.mode))
    if (!hasTime) isDone(() => utimesSync(path, time, time))
  }

  /** The deepest first: what is done in a directory changes its time. */
  async #finishFolders(signal: AbortSignal | undefined): Promise<void> {
    for (let index = this.#manifest.length - 1; index >= 0; index -= 1) {
      const entry = this.#manifest[index]
      const { state } = this.#survey.found[index] ?? {}
      if (entry?.kind !== 'directory' || state === 'impossible' || this.#failed.has(index) || this.#survey.linked.has(index)) continue
      await this.#turns.pause(signal)
      const path = this.#path(index)
      const set = (): void => {
        const stats = lstatSync(path)
        if (!stats.isDirectory()) throw changedMeanwhile()
        utimesSync(path, utimesArgument(entry.timeUs), utimesArgument(entry.timeUs))
        if ((stats.mode & 0o7777) !== entry.mode) chmodSync(path, entry.mode)
      }
      // A directory that was there may be somebody else's.
      if (state === 'same') isDone(set)
      else this.#attempt(index, set)
    }
  }

  #rename(part: Buffer, index: number): void {
    const path = this.#path(index)
    try {
      renameSync(part, path)
    } catch (error) {
      if (systemCodeOf(error) !== 'EXDEV') throw error
      this.#carryOver(part, path, index)
    }
  }

  /** Another file system lies below the target directory: the file goes there under a name of ours first. */
  #carryOver(part: Buffer, path: Buffer, index: number): void {
    const slash = path.lastIndexOf(0x2f)
    const temporary = Buffer.concat([path.subarray(0, slash), Buffer.from(`/.cahier-${process.pid}-${index}`)])
    try {
      const entry = this.#manifest[index] as ManifestEntry
      const time = utimesArgument(entry.timeUs)
      rmSync(temporary, { force: true })
      if (entry.kind === 'link') symlinkSync(Buffer.from(entry.target, 'latin1'), temporary)
      else copyFileSync(part, temporary)
      if (entry.kind === 'file') withFile(temporary, 'r+', (file) => setAttributes(file, entry, fstatSync(file), true))
      else isDone(() => lutimesSync(temporary, time, time))
      renameSync(temporary, path)
      rmSync(part, { force: true })
    } finally {
      rmSync(temporary, { force: true })
    }
  }

  /** The directory of an entry is still the one that was looked at: a link that came since is not followed. */
  #checkFolder(index: number): void {
    for (let above = this.#survey.above[index] ?? -1; above >= 0; above = this.#survey.above[above] ?? -1) {
      if (this.#checked.has(above)) return
      const path = this.#path(above)
      const stats: Stats | undefined = this.#survey.linked.has(above) ? statSync(path) : lstatSync(path)
      if (!stats.isDirectory()) throw changedMeanwhile()
      this.#checked.add(above)
    }
  }

  #path(index: number): Buffer {
    return pathIn(this.#target, (this.#manifest[index] as ManifestEntry).name)
  }

  #attempt(index: number, action: () => void): boolean {
    try {
      action()
      return true
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error
      this.#fail(index, error)
      return false
    }
  }

  #fail(index: number, error: unknown): void {
    this.#failed.add(index)
    const file = readableName((this.#manifest[index] as ManifestEntry).name)
    const known = isCampaignError(error)
    this.#failures.push({ file, code: known ? error.code : codeOfFault(error), message: known ? error.message : wordsOfFault(error) })
  }
}

function makeFolder(path: Buffer): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Somebody made it since; a link is not followed.
    if (systemCodeOf(error) !== 'EEXIST' || !lstatSync(path).isDirectory()) throw error
  }
}

/** Everything to the disk, so that no name ever stands for content that a power cut took away. */
async function writeOut(folder: Buffer, indexes: readonly number[], parts: LocalParts): Promise<void> {
  try {
    // @source sync(1) coreutils 9.1, -f: the file system that holds it, syncfs(2)
    await promisify(execFile)('sync', ['-f', '.'], { cwd: folder.toString() })
  } catch {
    for (const index of indexes) {
      await open(parts.path(index), 'r').then(
        async (handle) => {
          await handle.sync().finally(() => handle.close())
        },
        () => undefined,
      )
    }
  }
}

function isDone(action: () => void): boolean {
  try {
    action()
    return true
  } catch (error) {
    if (systemCodeOf(error) === undefined) throw error
    return false
  }
}

function changedMeanwhile(): TransferError {
  return new TransferError('E_TARGET_KIND', 'something else took its place, or that of its directory, while it was copied')
}
