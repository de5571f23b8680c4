import type { CopyPolicy, FileFailure, Verification } from '../../model/transfer.js'
import type { TransferPhase } from '../../ports/transfer.js'
import { settlesWithin } from '../../util/async.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { changedFault, type SourceFault } from '../local/local-source.js'
import { contentSize, type Manifest } from '../manifest.js'
import type { MovedFile, MoveFailures, MoveOptions } from '../mover.js'
import type { Arrived, Found, Opened, OpenInput, Place } from '../place.js'

/** So long a place may take to let go when the copy has failed: nobody may wait for a host that does not answer. */
const FAREWELL_MS = 5_000

/** What became of a file of the source: its digest; nothing when its size has to do; or why it is not what was listed. */
export type SourceVerdict = { readonly sha256: string | undefined } | { readonly fault: SourceFault }

export interface CopySides {
  readonly manifest: Manifest
  /** Absolute, of each entry, where they are read. */
  readonly paths: readonly ByteName[]
  readonly place: Place
  readonly directory: string
  readonly partsId: string
  readonly policy: CopyPolicy
  readonly seed: boolean
  /** What moves the content checks it on its way, also what was there before: it is handed all files, and none needs a digest. */
  readonly isChecked?: boolean | undefined
  /** The content goes the way it goes. */
  move(files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures>
  /**
   * Asked of all files that moved, when they have.
   *
   * @param resumed - those of which an earlier transfer had brought something: only a digest can tell whether it was right
   */
  verdicts(indexes: readonly number[], resumed: ReadonlySet<number>): Promise<ReadonlyMap<number, SourceVerdict>>
  /** Told what will be asked, when moving begins. */
  prepare?(indexes: readonly number[]): void
  /** Of `OpenInput`. */
  digest?(index: number): Promise<string>
}

/** What is told of the copy while it goes on, and what ends it. */
export interface CopyWatch extends Pick<MoveOptions, 'signal' | 'pace'> {
  phase(phase: TransferPhase): void
  begin(there: number, total: number): void
  onBytes(bytes: number): void
  touch(): void
}

export interface Copied {
  /** Readable. */
  readonly directory: string
  readonly files: number
  readonly same: number
  readonly failures: readonly FileFailure[]
  readonly verified: Verification
  /** Nothing was missing. */
  readonly isSame: boolean
}

/**
 * One try to bring what a manifest says to a place: looks, moves what is needed, asks for digests, and lets the place put things where
 * they belong. What fails for one file is in the result; what fails for all is thrown, with the parts kept when the policy says so.
 */
export async function copyOnce(sides: CopySides, watch: CopyWatch): Promise<Copied> {
  const { manifest, place, policy, directory, partsId } = sides
  const { signal } = watch
  watch.phase('looking')
  const digest = sides.digest?.bind(sides)
  const opened = await place.open({ manifest, directory, policy, partsId, seed: sides.seed, digest }, signal)
  let isOfUse = opened.found.some(({ state }) => state === 'part')
  try {
    watch.begin(thereAlready(manifest, opened.found), contentSize(manifest))
    const wanted = filesToMove(sides, opened)
    if (wanted.length > 0) sides.prepare?.(wanted.map(({ index }) => index))
    watch.phase('moving')
    const moved = await move(sides, opened, wanted, {
      signal,
      pace: watch.pace,
      onFile: () => watch.touch(),
      onBytes: (bytes) => {
        isOfUse = true
        watch.onBytes(bytes)
      },
    })
    watch.phase('checking')
    const failures = [...impossibleOnes(manifest, opened.found), ...moved.failures]
    const arrived: Arrived[] = []
    let isUnknown = false
    const resumed = new Set(moved.indexes.filter((index) => opened.found[index]?.state === 'part'))
    const verdicts = moved.indexes.length === 0 ? new Map<number, SourceVerdict>() : await sides.verdicts(moved.indexes, resumed)
    for (const index of moved.indexes) {
      const verdict = verdicts.get(index) ?? { fault: changedFault('nobody knows what it is now') }
      if ('sha256' in verdict) arrived.push({ index, sha256: verdict.sha256 })
      else failures.push({ file: nameOf(manifest, index), ...verdict.fault })
      isUnknown ||= sides.isChecked !== true && 'sha256' in verdict && verdict.sha256 === undefined
    }
    watch.touch()
    signal.throwIfAborted()
    using late = lateSignal(signal)
    const committed = await place.commit(arrived, late.signal)
    failures.push(...committed.failures)
    const same = opened.found.filter(({ state }, index) => state === 'same' && manifest[index]?.kind === 'file').length
    return {
      directory: readableName(opened.directory),
      files: committed.files,
      same,
      failures,
      verified: arrived.length > 0 ? (isUnknown ? 'size' : committed.verified) : verifiedBefore(same, policy.checksum),
      isSame: failures.length === 0 && opened.found.every(({ state }) => state === 'same'),
    }
  } catch (error) {
    await settlesWithin(
      place.abandon({ keep: policy.resume && isOfUse }).catch(() => {}),
      FAREWELL_MS,
    )
    throw error
  }
}

/** True when a file of the source was not what it was any more. */
export function hasChanged({ failures }: Copied): boolean {
  return failures.some(({ code }) => code === 'E_SOURCE_CHANGED')
}

/**
 * Removes what a copy has left for the next one, when its source has changed: then no later copy has the same list, and nobody would ever
 * use it.
 */
export async function forgetParts(place: Place, input: OpenInput, signal: AbortSignal): Promise<void> {
  await place.open({ ...input, policy: { ...input.policy, resume: false, checksum: false } }, signal)
  await place.abandon({ keep: false })
}

/** Who is putting files in place is not cut off at once, so that it can say what is there now: given up is what is not. */
function lateSignal(signal: AbortSignal): { readonly signal: AbortSignal } & Disposable {
  const late = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const onAbort = (): void => {
    timer = setTimeout(() => late.abort(signal.reason), FAREWELL_MS)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    signal: late.signal,
    [Symbol.dispose]: () => {
      signal.removeEventListener('abort', onAbort)
      clearTimeout(timer)
    },
  }
}

/** Files whose content is not there, or not wholly. */
function filesToMove({ manifest, paths }: CopySides, { found }: Opened): MovedFile[] {
  return manifest.flatMap((entry, index) => {
    const one = found[index]
    if (entry.kind !== 'file' || (one?.state !== 'needed' && one?.state !== 'part')) return []
    const offset = one.state === 'part' && one.bytes <= entry.size ? one.bytes : 0
    return [{ index, path: paths[index] ?? '', size: entry.size, offset }]
  })
}

async function move(
  sides: CopySides,
  { parts }: Opened,
  wanted: readonly MovedFile[],
  options: MoveOptions,
): Promise<{ readonly indexes: readonly number[]; readonly failures: readonly FileFailure[] }> {
  if (wanted.length > 0 && parts === undefined) throw new Error('files are needed, and there is no place for them')
  // What is whole already needs no mover; nobody has checked it yet.
  const open = sides.isChecked === true ? wanted : wanted.filter(({ offset, size }) => offset < size || size === 0)
  const failed: MoveFailures = open.length === 0 ? new Map() : await sides.move(open, parts ?? '', options)
  const failures = [...failed].map(([index, { code, message }]) => ({ file: nameOf(sides.manifest, index), code, message }))
  return { indexes: wanted.map(({ index }) => index).filter((index) => !failed.has(index)), failures }
}

function thereAlready(manifest: Manifest, found: readonly Found[]): number {
  let sum = 0
  manifest.forEach((entry, index) => {
    const one = found[index]
    if (entry.kind !== 'file' || one === undefined) return
    if (one.state === 'same') sum += entry.size
    else if (one.state === 'part') sum += Math.min(one.bytes, entry.size)
  })
  return sum
}

function impossibleOnes(manifest: Manifest, found: readonly Found[]): FileFailure[] {
  return found.flatMap((one, index) =>
    one.state === 'impossible' ? [{ file: nameOf(manifest, index), code: one.code, message: one.message }] : [],
  )
}

function nameOf(manifest: Manifest, index: number): string {
  return readableName(manifest[index]?.name ?? '')
}

function verifiedBefore(same: number, checksum: boolean): Verification {
  if (same === 0) return 'none'
  return checksum ? 'sha256' : 'time'
}
