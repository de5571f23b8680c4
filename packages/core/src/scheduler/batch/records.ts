import { basename } from 'node:path'
import { messageOf, SchedulerError, systemCodeOf } from '../../errors.js'
import type { ExitRecord, JobPlace } from '../../model/job.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { FileWatch, SiteFiles } from '../../ports/site-files.js'
import { EXIT_RECORD_FILE, parseExitRecord } from '../exit-record.js'
import { announcementFolder } from './submission-files.js'
import { isFinalRecord, type TrackedJob, type TrackedJobs } from './tracked-jobs.js'

interface Waiting {
  readonly place: JobPlace
  readonly resolve: (record: ExitRecord | undefined) => void
  readonly reject: (error: unknown) => void
}

export interface RecordsParts {
  readonly files: SiteFiles
  readonly jobs: TrackedJobs
  /** A followed job has announced its end. */
  readonly onRecord: (job: TrackedJob, record: ExitRecord) => void
}

/** The exit records of jobs: those that are announced, and those that are asked for, all of one moment in one exchange. */
export class Records implements AsyncDisposable {
  readonly #parts: RecordsParts
  #watch: FileWatch | undefined
  #folders = new Set<string>()
  #waiting: Waiting[] = []

  constructor(parts: RecordsParts) {
    this.#parts = parts
  }

  /** Reads the record of a job; `undefined`: there is none (yet). Throws as {@link SiteFiles} does. */
  read(place: JobPlace, { signal }: CallOptions = {}): Promise<ExitRecord | undefined> {
    signal?.throwIfAborted()
    const known = this.#parts.jobs.get(place.tag)
    // A script that came to its own end has one record for ever; another kind may be replaced by a later start.
    if (known !== undefined && known.directory === place.directory && isFinalRecord(known.record)) return Promise.resolve(known.record)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ place, resolve, reject })
      if (this.#waiting.length === 1) setImmediate(() => void this.#readAll())
    })
  }

  /** Looks for announcements of all jobs that are followed; call it when some were added or have ended. */
  watchFolders(): void {
    const places = new Set<string>()
    const folders = new Set<string>()
    for (const { directory, runDirectory, record } of this.#parts.jobs.followed()) {
      if (directory === undefined || isFinalRecord(record)) continue
      const place = runDirectory ?? directory
      if (places.has(place)) continue
      places.add(place)
      folders.add(announcementFolder({ directory, runDirectory }))
    }
    if (folders.size === this.#folders.size && [...folders].every((folder) => this.#folders.has(folder))) return
    this.#folders = folders
    this.#watch ??= this.#parts.files.watch((path, text) => this.#take(path, text))
    this.#watch.setDirectories([...folders])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch?.[Symbol.asyncDispose]()
    this.#watch = undefined
  }

  #take(path: string, text: string): void {
    const job = this.#parts.jobs.get(basename(path, '.json'))
    if (job === undefined) return
    const record = parseExitRecord(text, job.handle.tag)
    const before = job.record
    if (record === undefined || isFinalRecord(before)) return
    // An older start's news may come late.
    if ((before?.start ?? 0) > (record.start ?? 1)) return
    this.#parts.onRecord(job, record)
  }

  async #readAll(): Promise<void> {
    const waiting = this.#waiting
    this.#waiting = []
    await this.#readSome(waiting)
  }

  /** One file that cannot be read must not hide the others: they are read in halves then. */
  async #readSome(waiting: readonly Waiting[]): Promise<void> {
    let texts: readonly (string | undefined)[]
    try {
      texts = await this.#parts.files.read(waiting.map(({ place }) => `${place.directory}/${EXIT_RECORD_FILE}`))
    } catch (error) {
      const isSilent = systemCodeOf(error) === 'E_SCHEDULER_SILENT'
      if (!isSilent && waiting.length > 1) {
        const half = waiting.length >> 1
        await this.#readSome(waiting.slice(0, half))
        await this.#readSome(waiting.slice(half))
      } else for (const { reject, place } of waiting) reject(isSilent ? error : unreadable(place, error))
      return
    }
    waiting.forEach(({ place, resolve }, index) => {
      const text = texts[index]
      const record = text === undefined ? undefined : parseExitRecord(text, place.tag)
      const job = this.#parts.jobs.get(place.tag)
      if (record !== undefined && job !== undefined && (job.directory ?? place.directory) === place.directory) {
        job.directory = place.directory
        if (!isFinalRecord(job.record)) job.record = record
      }
      resolve(record)
    })
  }
}

function unreadable({ directory, tag }: JobPlace, cause: unknown): SchedulerError {
  const file = `${directory}/${EXIT_RECORD_FILE}`
  return new SchedulerError('E_SCHEDULER_SILENT', `the exit record ${file} cannot be read: ${messageOf(cause)}`, {
    suggestions: ['Make the job directory readable again: the job itself is not concerned'],
    data: { file, tag },
    cause,
  })
}
