import { closeSync, copyFileSync, fdatasyncSync, fsyncSync, ftruncateSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCodeOf } from '../../errors.js'
import type { JobSpec } from '../../model/job.js'
import { makeDeferred } from '../../util/async.js'
import type { JobEnd } from './protocol.js'

/** One line of the spool. */
export type SpoolEntry =
  | { readonly o: 'spool'; readonly version: 1; readonly next: number }
  | { readonly o: 'environment'; readonly key: string; readonly values: Readonly<Record<string, string>> }
  | { readonly o: 'job'; readonly id: string; readonly base: string; readonly spec: JobSpec }
  | { readonly o: 'cancel'; readonly id: string }
  | { readonly o: 'end'; readonly id: string; readonly end: JobEnd }

const SPOOL_FILE = 'jobs.jsonl'

/**
 * The daemon's memory on disk: one file of lines, of which whole ones count. What `commit` acknowledged survives a power cut; what
 * was only `note`d survives the daemon, and can be found again in the job directories if it does not.
 */
export class Spool {
  readonly #file: string
  #handle: FileHandle
  #length: number
  #lines = 0
  #buffer: string[] = []
  #waiters: { readonly resolve: () => void; readonly reject: (error: unknown) => void }[] = []
  #busy: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  private constructor(file: string, handle: FileHandle, length: number) {
    this.#file = file
    this.#handle = handle
    this.#length = length
  }

  /** Reads the spool of a directory. A torn last line is dropped; damage before it is passed over, and the file kept aside. */
  static read(directory: string): SpoolEntry[] {
    const file = join(directory, SPOOL_FILE)
    let text: string
    try {
      text = readFileSync(file, 'utf8')
    } catch (error) {
      if (systemCodeOf(error) === 'ENOENT') return []
      throw error
    }
    const lines = text.split('\n')
    const torn = lines.pop() !== ''
    const entries: SpoolEntry[] = []
    let damaged = torn
    for (const line of lines) {
      try {
        entries.push(JSON.parse(line) as SpoolEntry)
      } catch {
        damaged = true
      }
    }
    if (damaged) copyFileSync(file, `${file}.damaged`)
    return entries
  }

  /** Writes the spool anew with only these entries, and opens it. */
  static async write(directory: string, entries: Iterable<SpoolEntry>): Promise<Spool> {
    const file = join(directory, SPOOL_FILE)
    const length = replaceFile(file, entries)
    return new Spool(file, await open(file, 'r+', 0o600), length)
  }

  /** Lines since the file was written anew. */
  get lines(): number {
    return this.#lines
  }

  /** Appends soon. */
  note(entry: SpoolEntry): void {
    this.#add(entry)
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      void this.#flush()
    }, 50)
  }

  /** Resolves when the entries are on the disk; rejects when they are not, and then they never will be. */
  commit(entries: readonly SpoolEntry[]): Promise<void> {
    for (const entry of entries) this.#add(entry)
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject })
      void this.#flush()
    })
  }

  /** Throws away what `entries` does not repeat. */
  async rewrite(entries: () => Iterable<SpoolEntry>): Promise<void> {
    while (this.#busy !== undefined) await this.#busy
    const done = makeDeferred<void>()
    this.#busy = done.promise
    try {
      // What waits in the buffer is appended afterwards, even where the new file has it already: reading twice does no harm.
      const length = replaceFile(this.#file, entries())
      const old = this.#handle
      this.#handle = await open(this.#file, 'r+', 0o600)
      this.#length = length
      this.#lines = 0
      await old.close()
    } finally {
      this.#busy = undefined
      done.resolve()
    }
    void this.#flush()
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#flush()
    await this.#handle.close()
  }

  #add(entry: SpoolEntry): void {
    this.#buffer.push(`${JSON.stringify(entry)}\n`)
    this.#lines += 1
  }

  /** Everything that waits at the same time shares one write and one sync. */
  async #flush(): Promise<void> {
    while (this.#busy !== undefined) await this.#busy
    if (this.#buffer.length === 0 && this.#waiters.length === 0) return
    const bytes = Buffer.from(this.#buffer.join(''))
    const waiters = this.#waiters
    this.#buffer = []
    this.#waiters = []
    this.#busy = this.#append(bytes, waiters.length > 0).then(
      () => {
        this.#busy = undefined
        for (const { resolve } of waiters) resolve()
      },
      (error: unknown) => {
        this.#busy = undefined
        for (const { reject } of waiters) reject(error)
      },
    )
    await this.#busy
  }

  async #append(bytes: Buffer, durable: boolean): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, this.#length + done)
        done += bytesWritten
      }
      if (durable) await this.#handle.datasync()
      this.#length += bytes.length
    } catch (error) {
      // Half of it may stand in the file: the next lines must not be glued to it.
      await this.#handle.truncate(this.#length).catch(() => undefined)
      throw error
    }
  }
}

function replaceFile(file: string, entries: Iterable<SpoolEntry>): number {
  const draft = `${file}.new`
  const fd = openSync(draft, 'w', 0o600)
  let length = 0
  try {
    let lines: string[] = []
    const drain = (): void => {
      const bytes = Buffer.from(lines.join(''))
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done)
      length += bytes.length
      lines = []
    }
    ftruncateSync(fd, 0)
    for (const entry of entries) {
      lines.push(`${JSON.stringify(entry)}\n`)
      if (lines.length >= 1_000) drain()
    }
    drain()
    fdatasyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(draft, file)
  const folder = openSync(dirname(file), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
  return length
}
