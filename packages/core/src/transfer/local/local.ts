import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { type CampaignError, ConfigError, isCampaignError, messageOf } from '../../errors.js'
import type { FileFailure, TransferResult, Verification } from '../../model/transfer.js'
import type { FilePath, Transfer, TransferCall, TransferEnd, TransferPhase, TransferRequest } from '../../ports/transfer.js'
import { isAborted } from '../../util/async.js'
import { readableName } from '../../util/byte-names.js'
import { contentSize, partsId } from '../manifest.js'
import { Pace } from '../pace.js'
import type { Arrived, Found, Opened } from '../place.js'
import { targetError } from './file-faults.js'
import { copyContent } from './local-copy.js'
import { LocalPlace } from './local-place.js'
import { LocalSource } from './local-source.js'
import { type Walked, walkSources } from './local-walk.js'

/** Between two tellings of how far it is. */
const TELL_MS = 200
/** Failures of files that stand in a result. */
const MOST_FAILURES = 1_000

/** Copies files on this machine, for ends without a host, with the promises of the other ways. */
export class LocalTransfer implements Transfer {
  readonly name = 'local'
  readonly supports = { put: true, get: true, resume: true, limit: true }

  /** The target directories are taken from the home directory on, as on any host. */
  put(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    return this.#copy(request, request.files, (directory) => (isFromHome(directory) ? directory : resolve(homedir(), directory)), call)
  }

  /** The files are taken from the home directory on, as on any host. */
  async get(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    const directories = request.ends.map(({ directory }) => resolve(directory))
    try {
      const results = await this.#copy(request, request.files.map(fromHome), (directory) => directory, call)
      return results.map((result, index) => ({ ...result, directory: directories[index] as string }))
    } catch (error) {
      // Of a host that lacks the files that is the result, and here this machine is the host.
      if (!isCampaignError(error) || !error.code.startsWith('E_SOURCE_')) throw error
      return directories.map((directory, index) => withoutSources(error, directory, index, call))
    }
  }

  async #copy(
    { ends, policy }: TransferRequest,
    files: readonly FilePath[],
    directoryOf: (directory: string) => string,
    call: TransferCall,
  ): Promise<TransferResult[]> {
    if (ends.some((end) => end.host !== undefined)) {
      throw new ConfigError('E_NOT_SUPPORTED', 'The transfer "local" copies on this machine only', {
        suggestions: ['Take another way for hosts: auto, scp, rsync…'],
      })
    }
    const walked = await walkSources(files, policy, call.signal)
    await using source = new LocalSource(walked.manifest, walked.paths)
    const pace = new Pace(policy.limit)
    const results: TransferResult[] = []
    // One after the other: they would only take the disk from each other.
    for (const [index, end] of ends.entries()) {
      const copy = new LocalCopy({ walked, source, pace, policy, end: { ...end, directory: directoryOf(end.directory) }, index, call })
      results.push(await copy.run())
    }
    return results
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function withoutSources(
  { code, message, suggestions }: CampaignError,
  directory: string,
  index: number,
  { onProgress }: TransferCall,
): TransferResult {
  const counts = { bytes: 0, files: 0, same: 0, seconds: 0 }
  const error = { code, message, suggestions }
  const result: TransferResult = { host: undefined, outcome: 'failed', ...counts, verified: 'none', via: 'local', directory, error }
  onProgress?.({ index, phase: 'ended', bytes: 0, total: undefined, result })
  return result
}

interface LocalCopyContext {
  readonly walked: Walked
  readonly source: LocalSource
  readonly pace: Pace
  readonly policy: TransferRequest['policy']
  readonly end: TransferEnd
  readonly index: number
  readonly call: TransferCall
}

/** The copy into one directory. */
class LocalCopy {
  readonly #context: LocalCopyContext
  readonly #began = performance.now()
  readonly #signal: AbortSignal
  #told = 0
  #phase: TransferPhase = 'looking'
  #there = 0
  #moved = 0
  readonly #failures: FileFailure[] = []

  constructor(context: LocalCopyContext) {
    this.#context = context
    this.#signal = context.call.signal ?? new AbortController().signal
  }

  async run(): Promise<TransferResult> {
    let result: TransferResult
    try {
      result = await this.#run()
    } catch (error) {
      result = this.#result({ outcome: 'failed', error: this.#explain(error) })
    }
    this.#tell('ended', result)
    return result
  }

  async #run(): Promise<TransferResult> {
    const { walked, source, policy, end } = this.#context
    const { manifest } = walked
    // One that was changed meanwhile has none: it is found out when it is copied.
    const digest = policy.checksum ? (index: number): Promise<string> => source.digest(index).catch(() => 'none') : undefined
    this.#tell('looking')
    await using place = new LocalPlace()
    const input = { manifest, directory: end.directory, policy, partsId: partsId(manifest, ''), digest }
    const opened = await place.open(input, this.#signal)
    this.#there = contentSize(manifest, indexesOf(opened.found, 'same'))
    this.#tell('moving')
    const arrived = await this.#move(opened)
    this.#tell('checking')
    const changed = await source.changed()
    const { files, failures, verified } = await place.commit(
      arrived.filter(({ index }) => !changed.has(index)),
      this.#signal,
    )
    for (const { index } of arrived) {
      const fault = changed.get(index)
      if (fault !== undefined) this.#failures.push({ file: readableName(manifest[index]?.name ?? ''), ...fault })
    }
    this.#failures.push(...impossibleFiles(walked, opened.found), ...failures)
    const same = indexesOf(opened.found, 'same').filter((index) => manifest[index]?.kind === 'file').length
    const isSame = opened.parts === undefined && this.#failures.length === 0
    return this.#result({
      outcome: this.#failures.length > 0 ? 'failed' : isSame ? 'skipped-same' : 'done',
      files,
      same,
      verified: arrived.length > 0 ? verified : verifiedBefore(same, policy.checksum),
    })
  }

  /** Brings the content of all that is needed. */
  async #move({ found, parts }: Opened): Promise<Arrived[]> {
    const { walked, source, pace } = this.#context
    const arrived: Arrived[] = []
    for (const [index, one] of found.entries()) {
      const entry = walked.manifest[index]
      if (entry?.kind !== 'file' || one.state === 'same' || one.state === 'impossible' || parts === undefined) continue
      this.#signal.throwIfAborted()
      const part = Buffer.from(`${parts}/${index}`, 'latin1')
      const from = Buffer.from(walked.paths[index] as string, 'latin1')
      const offset = one.state === 'part' ? one.bytes : 0
      const sha256 = await copyContent({
        source,
        index,
        size: entry.size,
        from,
        part,
        offset,
        pace,
        signal: this.#signal,
        onBytes: (bytes, isMoved) => {
          this.#there += bytes
          if (isMoved) this.#moved += bytes
          this.#tell('moving')
        },
      })
      arrived.push({ index, sha256 })
    }
    return arrived
  }

  #explain(error: unknown): NonNullable<TransferResult['error']> {
    if (isAborted(this.#signal)) return { code: 'E_ABORTED', message: 'The copy was given up' }
    const known = targetError(error, `The copy into ${this.#context.end.directory} failed`)
    if (!isCampaignError(known)) return { code: 'E_TRANSFER', message: messageOf(known) }
    return { code: known.code, message: known.message, suggestions: known.suggestions }
  }

  #result(known: Pick<TransferResult, 'outcome'> & Partial<TransferResult>): TransferResult {
    const { leftOut } = this.#context.walked
    const [first] = this.#failures
    return {
      host: undefined,
      bytes: this.#moved,
      files: 0,
      same: 0,
      seconds: (performance.now() - this.#began) / 1000,
      verified: 'none',
      via: 'local',
      ...(first === undefined ? {} : { error: { code: first.code, message: `${first.file}: ${first.message}` } }),
      ...(this.#failures.length === 0 ? {} : { failures: this.#failures.slice(0, MOST_FAILURES) }),
      ...(leftOut.length === 0 ? {} : { leftOut }),
      ...known,
    }
  }

  #tell(phase: TransferPhase, result?: TransferResult): void {
    const { call, index, walked } = this.#context
    const now = performance.now()
    if (call.onProgress === undefined || (phase === this.#phase && now - this.#told < TELL_MS)) return
    this.#phase = phase
    this.#told = now
    call.onProgress({
      index,
      phase,
      bytes: this.#there,
      total: contentSize(walked.manifest),
      ...(result === undefined ? {} : { result }),
    })
  }
}

function indexesOf(found: readonly Found[], state: Found['state']): number[] {
  return found.flatMap((one, index) => (one.state === state ? [index] : []))
}

function impossibleFiles({ manifest }: Walked, found: readonly Found[]): FileFailure[] {
  return found.flatMap((one, index) =>
    one.state === 'impossible' ? [{ file: readableName(manifest[index]?.name ?? ''), code: one.code, message: one.message }] : [],
  )
}

function verifiedBefore(same: number, checksum: boolean): Verification {
  if (same === 0) return 'none'
  return checksum ? 'sha256' : 'time'
}

function isFromHome(directory: string): boolean {
  return directory === '~' || directory.startsWith('~/')
}

function fromHome(file: FilePath): FilePath {
  if (typeof file !== 'string') return file[0] === 0x2f ? file : Buffer.concat([Buffer.from(`${homedir()}/`), file])
  return file.startsWith('/') || file.startsWith('~/') ? file : `${homedir()}/${file}`
}
