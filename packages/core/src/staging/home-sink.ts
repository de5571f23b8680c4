import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, link, mkdir, mkdtemp, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isCampaignError } from '../errors.js'
import type { FetchOutcome } from '../ports/site-place.js'
import { type ByteName, insideName, pathBelow, readableName } from '../util/byte-names.js'
import { asStoreError } from '../util/file-errors.js'
import { MANIFEST_FILE, RECORD_FILES } from '../util/job-files.js'
import type { FetchPatterns } from './fetch-patterns.js'
import { type JobManifest, type ManifestEntry, parseManifest } from './job-manifest.js'
import { PosixCksum } from './posix-cksum.js'
import type { TarEntry, TarSink } from './tar-read.js'

const EXIT_RECORD = 'exit.json'

/** What has come of one file, under its temporary name. */
interface Arrived {
  readonly bytes: number
  readonly sha256: string
}

export interface Arrival {
  /** Absolute, here: where the files of the attempt belong. */
  readonly directory: string
  /** A record without a manifest is an end whose manifest may still come: true when that was waited for long enough. */
  readonly isPatient: boolean
}

/** The outcome of an attempt, and whether it was only its manifest that was missing. */
export interface Landed {
  readonly outcome: FetchOutcome
  readonly lacksManifest: boolean
}

/**
 * Takes the files of attempts as they come: into a folder beside the attempt's directory, from there, when all are what the manifest says,
 * to their names.
 */
export class HomeSink implements TarSink {
  readonly landed = new Map<number, Landed>()
  readonly #arrivals: readonly Arrival[]
  readonly #patterns: FetchPatterns
  #attempt: Attempt | undefined

  constructor(arrivals: readonly Arrival[], patterns: FetchPatterns) {
    this.#arrivals = arrivals
    this.#patterns = patterns
  }

  async control(text: string): Promise<void> {
    const [word, number, rest] = text.split(' ')
    const index = Number(number)
    const arrival = this.#arrivals[index]
    if (arrival === undefined) return
    if (word === 'absent') {
      this.landed.set(index, { outcome: { ok: false, detail: 'its directory is not there' }, lacksManifest: false })
    } else if (word === 'begin') {
      this.#attempt = new Attempt(arrival, this.#patterns)
      await this.#attempt.open()
    } else if (word === 'end' && this.#attempt !== undefined) {
      this.landed.set(index, await this.#attempt.land(rest ?? ''))
      await this.close()
    }
  }

  async begin(entry: TarEntry): Promise<void> {
    await this.#attempt?.begin(entry)
  }

  async data(chunk: Uint8Array): Promise<void> {
    await this.#attempt?.data(chunk)
  }

  async end(): Promise<void> {
    await this.#attempt?.end()
  }

  /** Removes what has come and belongs to nothing. */
  async close(): Promise<void> {
    const attempt = this.#attempt
    this.#attempt = undefined
    await attempt?.close()
  }
}

class Attempt {
  readonly #arrival: Arrival
  readonly #patterns: FetchPatterns
  readonly #files = new Map<ByteName, Arrived>()
  #folder = ''
  /** Why none of it can be taken. */
  #fault: string | undefined
  #file: { readonly name: ByteName; readonly handle: FileHandle; readonly hash: Hash; bytes: number } | undefined

  constructor(arrival: Arrival, patterns: FetchPatterns) {
    this.#arrival = arrival
    this.#patterns = patterns
  }

  async open(): Promise<void> {
    const { directory } = this.#arrival
    const prefix = `.${basename(directory)}.fetch-`
    const parent = dirname(directory)
    await guarded(directory, async () => {
      await mkdir(parent, { recursive: true })
      // Of a controller that was killed.
      for (const name of await readdir(parent)) if (name.startsWith(prefix)) await rm(join(parent, name), { recursive: true, force: true })
      this.#folder = await mkdtemp(join(parent, prefix))
    })
  }

  async begin({ name, link: target, mode }: TarEntry): Promise<void> {
    const inside = insideName(name)
    if (inside === undefined) {
      this.#fault ??= `it holds ${JSON.stringify(readableName(name))}, which leads out of its directory`
      return
    }
    const path = pathBelow(this.#folder, inside)
    await guarded(this.#readable(inside), async () => {
      if (inside.includes('/')) await mkdir(pathBelow(this.#folder, inside.slice(0, inside.lastIndexOf('/'))), { recursive: true })
      await rm(path, { force: true })
      if (target === undefined) {
        const handle = await open(path, 'wx', (mode & 0o100) === 0 ? 0o666 : 0o777)
        this.#file = { name: inside, handle, hash: createHash('sha256'), bytes: 0 }
        return
      }
      const known = insideName(target)
      const arrived = known === undefined ? undefined : this.#files.get(known)
      if (known === undefined || arrived === undefined) {
        this.#fault ??= `it holds a link ${readableName(inside)} to ${JSON.stringify(readableName(target))}, which is no file of it`
        return
      }
      await link(pathBelow(this.#folder, known), path)
      this.#files.set(inside, arrived)
    })
  }

  async data(chunk: Uint8Array): Promise<void> {
    const file = this.#file
    if (file === undefined) return
    file.hash.update(chunk)
    file.bytes += chunk.length
    await guarded(this.#readable(file.name), () => file.handle.writeFile(chunk))
  }

  async end(): Promise<void> {
    const file = this.#file
    if (file === undefined) return
    this.#file = undefined
    // Some file systems say only here that there was no room.
    await guarded(this.#readable(file.name), () => file.handle.close())
    this.#files.set(file.name, { bytes: file.bytes, sha256: file.hash.digest('hex') })
  }

  /** @param status - of the program that sent it */
  async land(status: string): Promise<Landed> {
    const refuse = (detail: string, lacksManifest = false): Landed => ({ outcome: { ok: false, detail }, lacksManifest })
    if (this.#fault !== undefined) return refuse(this.#fault)
    const parsed = this.#files.has(MANIFEST_FILE) ? parseManifest(await readFile(join(this.#folder, MANIFEST_FILE))) : undefined
    const manifest = parsed !== undefined && 'manifest' in parsed ? parsed.manifest : undefined
    if (manifest === undefined && this.#files.has(EXIT_RECORD) && !this.#arrival.isPatient) {
      return refuse(
        parsed === undefined ? 'its manifest is not there' : `its manifest cannot be used: ${'fault' in parsed ? parsed.fault : ''}`,
        true,
      )
    }
    if (manifest === undefined && status !== '0') return refuse(`the site could not send all of it (exit code ${status})`)
    const wrong = manifest === undefined ? undefined : await this.#compare(manifest)
    if (wrong !== undefined) return refuse(wrong)
    const names = [...this.#files.keys()].filter((name) => this.#isTaken(name, manifest))
    for (const name of inOrder(names)) await this.#place(name)
    const counted = names.filter((name) => !RECORD_FILES.includes(name))
    const bytes = counted.reduce((sum, name) => sum + (this.#files.get(name)?.bytes ?? 0), 0)
    return { outcome: { ok: true, files: counted.length, bytes }, lacksManifest: false }
  }

  #isTaken(name: ByteName, manifest: JobManifest | undefined): boolean {
    return manifest === undefined || !manifest.isComplete || manifest.files.has(name) || RECORD_FILES.includes(name)
  }

  async #compare(manifest: JobManifest): Promise<string | undefined> {
    for (const [name, entry] of manifest.files) {
      if (!this.#patterns.matches(name)) continue
      const arrived = this.#files.get(name)
      if (arrived === undefined) return `${readableName(name)} stands in its manifest and is not there`
      if (arrived.bytes !== entry.bytes) {
        return `${readableName(name)} has ${arrived.bytes} bytes, and in its manifest ${entry.bytes}`
      }
      if (!(await this.#hasHash(name, arrived, entry))) return `${readableName(name)} has other content than when its manifest was made`
    }
    return undefined
  }

  async #hasHash(name: ByteName, arrived: Arrived, { hash }: ManifestEntry): Promise<boolean> {
    if (hash === undefined) return true
    if (hash.kind === 'sha256') return arrived.sha256 === hash.value
    const sum = new PosixCksum()
    for await (const chunk of createReadStream(pathBelow(this.#folder, name)) as AsyncIterable<Buffer>) sum.update(chunk)
    return sum.digest() === hash.value
  }

  async #place(name: ByteName): Promise<void> {
    const { directory } = this.#arrival
    await guarded(this.#readable(name), async () => {
      await mkdir(name.includes('/') ? pathBelow(directory, name.slice(0, name.lastIndexOf('/'))) : directory, { recursive: true })
      await rename(pathBelow(this.#folder, name), pathBelow(directory, name))
    })
  }

  #readable(name: ByteName): string {
    return join(this.#arrival.directory, readableName(name))
  }

  async close(): Promise<void> {
    await this.#file?.handle.close().catch(() => undefined)
    this.#file = undefined
    if (this.#folder !== '') await rm(this.#folder, { recursive: true, force: true }).catch(() => undefined)
  }
}

/** The exit record last: where it is, everything is. */
function inOrder(names: readonly ByteName[]): ByteName[] {
  const last = [MANIFEST_FILE, EXIT_RECORD]
  return [...names.filter((name) => !last.includes(name)), ...last.filter((name) => names.includes(name))]
}

async function guarded<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    throw isCampaignError(error) ? error : asStoreError(error, path)
  }
}

/**
 * What came home before of an attempt, when all of it did: then nothing has to be asked.
 *
 * @returns `undefined` when something is missing, or nobody can say
 */
export async function alreadyHome(directory: string, patterns: FetchPatterns): Promise<FetchOutcome | undefined> {
  try {
    const parsed = parseManifest(await readFile(join(directory, MANIFEST_FILE)))
    if ('fault' in parsed) return undefined
    await readFile(join(directory, EXIT_RECORD))
    const names = [...parsed.manifest.files].filter(([name]) => patterns.matches(name))
    for (const [name, { bytes }] of names) {
      const handle = await open(pathBelow(directory, name), 'r')
      try {
        if ((await handle.stat()).size !== bytes) return undefined
      } finally {
        await handle.close()
      }
    }
    return { ok: true, files: names.length, bytes: names.reduce((sum, [, entry]) => sum + entry.bytes, 0) }
  } catch {
    return undefined
  }
}
