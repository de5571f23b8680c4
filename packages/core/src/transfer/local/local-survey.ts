import { type BigIntStats, lstatSync, readlinkSync, statSync } from 'node:fs'
import type { ErrorCode } from '../../error-codes.js'
import { systemCodeOf } from '../../errors.js'
import { type ByteName, insideName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { Manifest, ManifestEntry } from '../manifest.js'
import type { Found, OpenInput } from '../place.js'
import { codeOfFault, wordsOfFault } from './file-faults.js'
import { microsecondsOf } from './file-times.js'
import { digestOf } from './local-digest.js'

/** What stands at the place of each entry. */
export interface Survey {
  readonly found: Found[]
  /** Directories that are reached through a link that stood there: what they are is not ours to change. */
  readonly linked: ReadonlySet<number>
  /** Each entry's directory, by number; -1 for the target directory itself. */
  readonly above: Int32Array
}

const NEEDED: Found = { state: 'needed' }
const SAME: Found = { state: 'same' }

/** @param target - the directory, absolute */
export async function surveyLocal(
  target: Buffer,
  { manifest, policy, partsId, digest }: OpenInput,
  signal: AbortSignal | undefined,
): Promise<Survey> {
  const found: Found[] = []
  const linked = new Set<number>()
  const above = new Int32Array(manifest.length).fill(-1)
  /** Directories that may be entered; `undefined` where there is none yet, so that nothing is in it either. */
  const folders = new Map<ByteName, { readonly index: number; readonly isThere: boolean }>()
  const names = new Set<ByteName>()
  const turns = new Turns()
  for (const [index, entry] of manifest.entries()) {
    const fault = faultOfName(entry, names, folders, partsId)
    names.add(entry.name)
    const folder = folders.get(folderOf(entry.name))
    above[index] = folder?.index ?? -1
    const inside = folder === undefined ? undefined : found[folder.index]
    if (fault !== undefined) found.push(impossible('E_TARGET_KIND', fault))
    else if (inside?.state === 'impossible') found.push(inside)
    else if (folder !== undefined && !folder.isThere) found.push(NEEDED)
    else {
      const path = pathIn(target, entry.name)
      const one = look(path, entry)
      if ('isLinked' in one) linked.add(index)
      found.push(one.found)
      if (entry.kind === 'file' && 'stats' in one) {
        const isSame = policy.checksum
          ? Number(one.stats.size) === entry.size && digest !== undefined && (await digestOf(path, signal)) === (await digest(index))
          : Number(one.stats.size) === entry.size && Math.abs(microsecondsOf(one.stats.mtimeNs) - entry.timeUs) <= 1
        if (isSame) found[index] = SAME
      }
    }
    if (entry.kind === 'directory') folders.set(entry.name, { index, isThere: found[index]?.state === 'same' })
    await turns.pause(signal)
  }
  return { found, linked, above }
}

/** The path of an entry. */
export function pathIn(target: Buffer, name: ByteName): Buffer {
  return Buffer.concat([target, Buffer.from(`/${name}`, 'latin1')])
}

/** Why an entry has no place in the target directory. Lists come from other hosts, too. */
export function faultOfName(
  entry: ManifestEntry,
  names: ReadonlySet<ByteName>,
  folders: ReadonlyMap<ByteName, unknown>,
  partsId: string,
): string | undefined {
  const { name } = entry
  if (insideName(name) !== name) return 'its name leads out of the target directory'
  if (names.has(name)) return 'another file of the list has its name'
  if (name === `.cahier-${partsId}`) return 'its name is that of the folder in which files arrive'
  const folder = folderOf(name)
  return folder !== '' && !folders.has(folder) ? 'its directory is not in the list' : undefined
}

export function folderOf(name: ByteName): ByteName {
  return name.slice(0, Math.max(0, name.lastIndexOf('/')))
}

type Look =
  | { readonly found: Found }
  | { readonly found: Found; readonly isLinked: true }
  | { readonly found: Found; readonly stats: BigIntStats }

function look(path: Buffer, entry: ManifestEntry): Look {
  try {
    const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false })
    if (stats === undefined) return { found: NEEDED }
    if (entry.kind === 'directory') return lookAtFolder(path, stats)
    if (stats.isDirectory()) return { found: impossible('E_TARGET_KIND', 'a directory stands in its place') }
    if (entry.kind === 'file') return stats.isFile() ? { found: NEEDED, stats } : { found: NEEDED }
    return { found: stats.isSymbolicLink() && readlinkSync(path, 'latin1') === entry.target ? SAME : NEEDED }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return { found: NEEDED }
    return { found: impossible(codeOfFault(error), wordsOfFault(error)) }
  }
}

function lookAtFolder(path: Buffer, stats: BigIntStats): Look {
  if (stats.isDirectory()) return { found: SAME }
  if (!stats.isSymbolicLink()) return { found: impossible('E_TARGET_KIND', 'a file stands in the place of a directory') }
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
    ? { found: SAME, isLinked: true }
    : { found: impossible('E_TARGET_KIND', 'a link that leads to no directory stands in the place of a directory') }
}

function impossible(code: ErrorCode, message: string): Found {
  return { state: 'impossible', code, message }
}

/** What has to be there besides what is: for the room that it takes. */
export function neededSize(manifest: Manifest, found: readonly Found[]): { readonly bytes: number; readonly entries: number } {
  let bytes = 0
  let entries = 0
  for (const [index, one] of found.entries()) {
    const entry = manifest[index]
    if (one.state === 'needed' || one.state === 'part') entries += 1
    if (entry?.kind !== 'file') continue
    if (one.state === 'needed') bytes += entry.size
    else if (one.state === 'part') bytes += entry.size - one.bytes
  }
  return { bytes, entries }
}
