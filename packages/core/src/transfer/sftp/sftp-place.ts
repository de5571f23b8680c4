import { isCampaignError, systemCodeOf, TransferError } from '../../errors.js'
import type { FileFailure } from '../../model/transfer.js'
import { formatBytes } from '../../units.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { faultOfName, folderOf, neededSize } from '../local/local-survey.js'
import { LOCK_FILE } from '../local/lock-line.js'
import type { ManifestEntry } from '../manifest.js'
import { eachAtOnce, type MoveFailure, partName } from '../mover-parts.js'
import type { Arrived, Committed, Found, Opened, OpenInput, Place } from '../place.js'
import { type SftpClient, SftpFailure } from './sftp-client.js'
import { absoluteThere, asTransferError, digestThere, faultIn, faultThere, kindOf, look } from './sftp-files.js'
import { SftpLock } from './sftp-lock.js'
import type { SftpAttributes } from './sftp-packets.js'

/** Requests under way at a time, when many files are looked at. */
const AT_ONCE = 32
/** Folders that go away while they are taken. */
const TRIES = 5
const NEEDED: Found = { state: 'needed' }
const SAME: Found = { state: 'same' }
/** What a server answers to everything that it has no number for. */
const REFUSED: MoveFailure = { code: 'E_TRANSFER', message: 'the server does not say why' }

interface OpenPlace {
  readonly input: OpenInput
  readonly directory: ByteName
  readonly found: readonly Found[]
  /** Of each entry, what stands at its place. */
  readonly there: readonly (SftpAttributes | undefined)[]
  /** Directories that are reached through a link. */
  readonly linked: ReadonlySet<number>
  readonly parts: { readonly folder: ByteName; readonly lock: SftpLock } | undefined
}

/**
 * The receiving side of a copy on a host that gives nothing but sftp. Times are whole seconds there, from 1970 on: earlier
 * ones become its beginning; what came is checked by its size, and
 * by its SHA-256 with `checksum`, for which it is read back.
 *
 * @remarks The times of links stay those of the copy: version 3 of the protocol cannot set them.
 */
export class SftpPlace implements Place {
  readonly #client: SftpClient
  #open: OpenPlace | undefined
  /** What is under way. */
  #busy: Promise<unknown> = Promise.resolve()

  /** @param client - not closed by this */
  constructor(client: SftpClient) {
    this.#client = client
  }

  open(input: OpenInput, signal?: AbortSignal): Promise<Opened> {
    return this.#run(this.#doOpen(input, signal), signal)
  }

  commit(arrived: readonly Arrived[], signal?: AbortSignal): Promise<Committed> {
    return this.#run(this.#doCommit(arrived, signal), signal)
  }

  /** Whoever gives up does not wait; what is under way ends at its next step. */
  #run<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    this.#busy = work.catch(() => {})
    if (signal === undefined) return work
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason)
      signal.addEventListener('abort', onAbort, { once: true })
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }

  async #doOpen(input: OpenInput, signal: AbortSignal | undefined): Promise<Opened> {
    signal?.throwIfAborted()
    const client = this.#client
    const directory = await absoluteThere(client, input.directory)
    await this.#makeTarget(directory, input.policy.create)
    const { found, there, linked } = await this.#survey(input, directory, signal)
    const isNeeded = found.some(({ state }) => state === 'needed')
    const parts = isNeeded ? await this.#openParts(input, directory, found) : undefined
    this.#open = { input, directory, found, there, linked, parts }
    signal?.throwIfAborted()
    return { directory, parts: parts?.folder, found }
  }

  async #doCommit(arrived: readonly Arrived[], signal: AbortSignal | undefined): Promise<Committed> {
    const open = this.#open
    if (open === undefined) throw new Error('this place is not open')
    if (open.parts !== undefined && !(await open.parts.lock.isMine())) throw busy(open.directory)
    const failures: FileFailure[] = []
    const fail = (index: number, error: unknown): void => {
      if (!(error instanceof SftpFailure) && !isCampaignError(error)) throw error
      if (isCampaignError(error) && error.name !== 'TransferError') throw error
      const known = isCampaignError(error) ? error : faultThere(error, REFUSED)
      failures.push({ file: readableName(entryOf(open, index).name), code: known.code, message: known.message })
    }
    await this.#makeFolders(open, fail)
    let files = 0
    await eachAtOnce(arrived, AT_ONCE, async ({ index, sha256 }) => {
      signal?.throwIfAborted()
      try {
        await this.#placeFile(open, index, sha256)
        files += 1
      } catch (error) {
        fail(index, error)
      }
    })
    await eachAtOnce(open.input.manifest.entries(), AT_ONCE, async ([index, entry]) => {
      const state = open.found[index]?.state
      try {
        if (entry.kind === 'link' && state === 'needed') await this.#placeLink(open, index, entry.target)
        if (entry.kind === 'file' && state === 'same') await this.#agree(open, index, entry)
      } catch (error) {
        fail(index, error)
      }
    })
    await this.#finishFolders(open)
    await this.#close(false)
    return { files, failures, verified: open.input.policy.checksum ? 'sha256' : 'size' }
  }

  async abandon({ keep }: { readonly keep: boolean }): Promise<void> {
    await this.#busy
    await this.#close(keep)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon({ keep: this.#open?.input.policy.resume ?? false }).catch(() => {})
  }

  async #makeTarget(directory: ByteName, create: boolean): Promise<void> {
    const said = readableName(directory)
    const there = await look(this.#client, directory, 'stat')
    if (there !== undefined && kindOf(there) === 'directory') return
    if (there !== undefined) {
      throw new TransferError('E_TARGET_KIND', `${said} is no directory`, {
        suggestions: ['Files are copied into a directory: name one, and "as" for another name of the file'],
      })
    }
    if (!create) {
      throw new TransferError('E_TARGET_MISSING', `There is no directory ${said}`, {
        suggestions: ['Make it, or let it be made: create: true, or --create on the command line'],
      })
    }
    await this.#makeTarget(directory.slice(0, directory.lastIndexOf('/')) || '/', true)
    try {
      await this.#client.mkdir(directory)
    } catch (error) {
      // Somebody may have made it since.
      const now = await look(this.#client, directory, 'stat')
      const above = directory.slice(0, directory.lastIndexOf('/')) || '/'
      if (now === undefined) throw asTransferError(await faultIn(this.#client, above, error), `The directory ${said} cannot be made`, error)
    }
  }

  async #survey(
    { manifest, policy, partsId, digest }: OpenInput,
    directory: ByteName,
    signal: AbortSignal | undefined,
  ): Promise<{ found: Found[]; there: (SftpAttributes | undefined)[]; linked: Set<number> }> {
    const client = this.#client
    const found: Found[] = []
    const there: (SftpAttributes | undefined)[] = []
    const linked = new Set<number>()
    const looked: Found[] = []
    await eachAtOnce(manifest.entries(), AT_ONCE, async ([index, entry]) => {
      signal?.throwIfAborted()
      const path = `${directory}/${entry.name}`
      try {
        const attributes = await look(client, path, 'lstat')
        there[index] = attributes
        looked[index] = attributes === undefined ? NEEDED : await this.#compare(entry, path, attributes, () => linked.add(index))
        if (entry.kind === 'file' && attributes !== undefined && kindOf(attributes) === 'file' && attributes.size === entry.size) {
          const isSame = policy.checksum
            ? digest !== undefined && (await digestThere(client, path)) === (await digest(index))
            : attributes.mtime === seconds(entry)
          if (isSame) looked[index] = SAME
        }
      } catch (error) {
        if (!(error instanceof SftpFailure)) throw error
        looked[index] = { state: 'impossible', ...faultThere(error, REFUSED) }
      }
    })
    const names = new Set<ByteName>()
    const folders = new Map<ByteName, number>()
    for (const [index, entry] of manifest.entries()) {
      const fault = faultOfName(entry, names, folders, partsId)
      const above = found[folders.get(folderOf(entry.name)) ?? -1]
      if (fault !== undefined) found.push({ state: 'impossible', code: 'E_TARGET_KIND', message: fault })
      else found.push(above?.state === 'impossible' ? above : (looked[index] ?? NEEDED))
      names.add(entry.name)
      if (entry.kind === 'directory') folders.set(entry.name, index)
    }
    return { found, there, linked }
  }

  /** Of something that stands there; whether a file is the same is found later. */
  async #compare(entry: ManifestEntry, path: ByteName, attributes: SftpAttributes, isLinked: () => void): Promise<Found> {
    const kind = kindOf(attributes)
    if (entry.kind !== 'directory') {
      if (kind === 'directory') return { state: 'impossible', code: 'E_TARGET_KIND', message: 'a directory stands in its place' }
      const isSame = entry.kind === 'link' && kind === 'link' && (await this.#client.readlink(path)) === entry.target
      return isSame ? SAME : NEEDED
    }
    if (kind === 'directory') return SAME
    const behind = kind === 'link' ? await look(this.#client, path, 'stat') : undefined
    if (behind !== undefined && kindOf(behind) === 'directory') {
      isLinked()
      return SAME
    }
    return { state: 'impossible', code: 'E_TARGET_KIND', message: 'a file stands in the place of a directory' }
  }

  async #openParts(input: OpenInput, directory: ByteName, found: Found[]): Promise<NonNullable<OpenPlace['parts']>> {
    const folder = `${directory}/.cahier-${input.partsId}`
    await this.#checkRoom(input, directory, found)
    const lock = await this.#takeFolder(directory, folder)
    if (lock === undefined) throw busy(directory)
    try {
      await this.#tidy(folder, input, found)
    } catch (error) {
      await lock.release()
      throw error
    }
    return { folder, lock }
  }

  /** Keeps what is of use of an earlier transfer, removes everything else. */
  async #tidy(folder: ByteName, { manifest, policy }: OpenInput, found: Found[]): Promise<void> {
    const client = this.#client
    for (const { name, attributes } of await client.list(folder)) {
      if (name === LOCK_FILE) continue
      const index = /^\d+$/.test(name) ? Number(name) : -1
      const entry = manifest[index]
      const { size = 0 } = attributes
      const isUsable = policy.resume && entry?.kind === 'file' && found[index]?.state === 'needed' && kindOf(attributes) === 'file'
      if (isUsable && size > 0 && size <= entry.size) found[index] = { state: 'part', bytes: size }
      else await client.remove(`${folder}/${name}`)
    }
  }

  /** @returns undefined when somebody lives who uses it */
  async #takeFolder(directory: ByteName, folder: ByteName): Promise<SftpLock | undefined> {
    const client = this.#client
    const said = readableName(directory)
    for (let tries = 1; ; tries += 1) {
      let fault: unknown
      try {
        await client.mkdir(folder, 0o700)
      } catch (error) {
        fault = error
      }
      try {
        const there = fault === undefined ? undefined : await client.lstat(folder)
        if (there !== undefined && (kindOf(there) !== 'directory' || ((there.mode ?? 0) & 0o077) !== 0)) {
          throw new TransferError('E_TARGET_DENIED', `${readableName(folder)} is there already, and is no folder of ours`, {
            suggestions: ['See who has made it; remove it if nobody needs it'],
          })
        }
        return await SftpLock.take(client, folder)
      } catch (error) {
        if (!(error instanceof SftpFailure)) throw error
        // Who had it has removed it just now.
        if (error.code === 'ENOENT' && tries < TRIES) continue
        throw asTransferError(await faultIn(client, directory, fault ?? error), `Nothing can be written into ${said}`, error)
      }
    }
  }

  async #checkRoom({ manifest }: OpenInput, directory: ByteName, found: readonly Found[]): Promise<void> {
    const room = await this.#client.room(directory)
    const { bytes, entries } = neededSize(manifest, found)
    if (room === undefined || (bytes <= room.bytes && entries <= room.files)) return
    const there = readableName(directory)
    const why =
      bytes > room.bytes
        ? `${formatBytes(bytes)} are to come to ${there}, where ${formatBytes(room.bytes)} are free`
        : `${entries} files are to come to ${there}, where there is room for ${room.files}`
    throw new TransferError('E_TARGET_FULL', why, {
      suggestions: ['Make room, or choose another directory'],
    })
  }

  async #makeFolders(open: OpenPlace, fail: (index: number, error: unknown) => void): Promise<void> {
    for (const [index, entry] of open.input.manifest.entries()) {
      if (entry.kind !== 'directory') continue
      const path = pathOf(open, index)
      const { mode = 0 } = open.there[index] ?? {}
      try {
        if (open.found[index]?.state === 'needed') await this.#makeFolder(path)
        // It is not ours to open when it is somebody else's: then what is to come into it fails, with the reason.
        else if (open.found[index]?.state === 'same' && !open.linked.has(index) && (mode & 0o300) !== 0o300) {
          await this.#client.setstat(path, { mode: (mode & 0o7777) | 0o700 })
        }
      } catch (error) {
        if (open.found[index]?.state === 'needed') fail(index, error)
      }
    }
  }

  async #makeFolder(path: ByteName): Promise<void> {
    try {
      await this.#client.mkdir(path, 0o700)
    } catch (error) {
      const there = await look(this.#client, path, 'lstat')
      if (there === undefined || kindOf(there) !== 'directory') throw error
    }
  }

  async #placeFile(open: OpenPlace, index: number, sha256: string | undefined): Promise<void> {
    const entry = entryOf(open, index)
    const part = partOf(open, index)
    if (entry.kind !== 'file') throw new Error(`nothing was to arrive for entry ${index}`)
    const there = await look(this.#client, part, 'lstat')
    if (there === undefined) throw new TransferError('E_COPY_LOST', 'it did not come')
    if (there.size !== entry.size) throw await this.#corrupt(part, `${there.size} bytes came, and it has ${entry.size}`)
    // Nobody has looked at what an earlier transfer has left.
    const isChecked = open.input.policy.checksum || open.found[index]?.state === 'part'
    if (isChecked && sha256 !== undefined && (await digestThere(this.#client, part)) !== sha256) {
      throw await this.#corrupt(part, 'what came has another SHA-256 than what was sent')
    }
    await this.#client.setstat(part, { mode: entry.mode, mtime: seconds(entry) })
    await this.#client.rename(part, pathOf(open, index))
  }

  async #corrupt(part: ByteName, why: string): Promise<TransferError> {
    await this.#client.remove(part).catch(() => {})
    return new TransferError('E_COPY_CORRUPT', why)
  }

  async #placeLink(open: OpenPlace, index: number, target: ByteName): Promise<void> {
    const part = partOf(open, index)
    await this.#client.remove(part).catch(() => {})
    await this.#client.symlink(target, part)
    await this.#client.rename(part, pathOf(open, index))
  }

  /** The content is what was asked for; mode and time may differ. Of somebody else's file neither can be set. */
  async #agree(open: OpenPlace, index: number, entry: ManifestEntry & { kind: 'file' }): Promise<void> {
    const there = open.there[index]
    if (((there?.mode ?? 0) & 0o7777) === entry.mode && there?.mtime === seconds(entry)) return
    await this.#client.setstat(pathOf(open, index), { mode: entry.mode, mtime: seconds(entry) }).catch(ignoreRefusal)
  }

  /** The deepest first: what is done in a directory changes its time. */
  async #finishFolders(open: OpenPlace): Promise<void> {
    for (const [index, entry] of [...open.input.manifest.entries()].reverse()) {
      const state = open.found[index]?.state
      if (entry.kind !== 'directory' || state === 'impossible' || open.linked.has(index)) continue
      await this.#client.setstat(pathOf(open, index), { mode: entry.mode, mtime: seconds(entry) }).catch(ignoreRefusal)
    }
  }

  async #close(keep: boolean): Promise<void> {
    const parts = this.#open?.parts
    if (this.#open === undefined) return
    this.#open = { ...this.#open, parts: undefined }
    if (parts === undefined) return
    const { folder, lock } = parts
    try {
      if (!keep && (await lock.isMine())) {
        for (const { name } of await this.#client.list(folder))
          if (!name.startsWith(LOCK_FILE)) await this.#client.remove(`${folder}/${name}`)
      }
    } finally {
      await lock.release()
    }
    // Something is in it that is kept.
    await this.#client.rmdir(folder).catch(ignoreRefusal)
  }
}

function busy(directory: ByteName): TransferError {
  return new TransferError('E_TARGET_BUSY', `Another transfer of the same files into ${readableName(directory)} is under way`, {
    suggestions: ['Wait until it has ended'],
  })
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof SftpFailure) && systemCodeOf(error) === undefined) throw error
}

function seconds({ timeUs }: ManifestEntry): number {
  return Math.max(0, Math.floor(timeUs / 1e6))
}

function entryOf({ input }: OpenPlace, index: number): ManifestEntry {
  return input.manifest[index] as ManifestEntry
}

function pathOf(open: OpenPlace, index: number): ByteName {
  return `${open.directory}/${entryOf(open, index).name}`
}

function partOf({ parts }: OpenPlace, index: number): ByteName {
  if (parts === undefined) throw new Error('there is no folder of parts')
  return partName(parts.folder, index)
}
