import { isCampaignError } from '../../errors.js'
import type { CopyPolicy } from '../../model/transfer.js'
import { changedFault, type LocalSource } from '../local/local-source.js'
import type { RemoteSource } from '../place.js'
import type { CopySides, CopyWatch, SourceVerdict } from './star-copy.js'

type Verdicts = Pick<CopySides, 'verdicts' | 'prepare' | 'digest'>

/** Nothing has this digest: what cannot be compared is not the same. */
const NONE = '0'.repeat(64)

/** Files of this machine. Digests are computed once, whatever the number of hosts, while the content moves. */
export function localVerdicts(source: LocalSource, watch: CopyWatch): Verdicts {
  const digest = (index: number): Promise<string> => source.digest(index).catch(noneIfChanged)
  return {
    // One after the other: each that waits for its turn would hold its content.
    prepare: (indexes) => void digestAll(indexes, digest, watch.signal).catch(() => {}),
    digest: async (index) => {
      const found = await digest(index)
      watch.touch()
      return found
    },
    verdicts: async (indexes) => {
      const found = new Map<number, SourceVerdict>()
      for (const index of indexes) {
        found.set(index, { sha256: await digest(index) })
        watch.touch()
      }
      const changed = await source.changed()
      for (const index of indexes) {
        const fault = changed.get(index)
        if (fault !== undefined) found.set(index, { fault })
      }
      return found
    },
  }
}

async function digestAll(indexes: readonly number[], digest: (index: number) => Promise<string>, signal: AbortSignal): Promise<void> {
  for (const index of indexes) {
    if (signal.aborted) return
    await digest(index)
  }
}

function noneIfChanged(error: unknown): string {
  if (isCampaignError(error) && (error.code === 'E_SOURCE_CHANGED' || error.code === 'E_SOURCE_UNREADABLE')) return NONE
  throw error
}

/** Files of a host, which computes the digests itself, when it can. @param files - indexes of all that have content */
export function remoteVerdicts(source: RemoteSource, files: readonly number[], policy: CopyPolicy, watch: CopyWatch): Verdicts {
  const { signal } = watch
  let before: Promise<ReadonlyMap<number, string>> | undefined
  const digests = async (indexes: readonly number[]): Promise<Map<number, string | undefined>> => {
    const found = await source.digests(indexes, signal)
    return new Map(indexes.map((index, at) => [index, found[at]]))
  }
  return {
    // Asked for all at once: one by one each would wait for an answer.
    digest: async (index) => {
      before ??= digests(files).then((found) => new Map([...found].map(([at, sha256]) => [at, sha256 ?? NONE])))
      return (await before).get(index) ?? NONE
    },
    verdicts: async (indexes, resumed) => {
      const found = new Map<number, SourceVerdict>()
      const isSizeEnough = (index: number): boolean => !policy.checksum && source.unchanged !== undefined && !resumed.has(index)
      const bySize = indexes.filter(isSizeEnough)
      const byDigest = indexes.filter((index) => !isSizeEnough(index))
      const same = bySize.length === 0 ? [] : await source.unchanged?.(bySize, signal)
      for (const [at, index] of bySize.entries()) found.set(index, same?.[at] === true ? { sha256: undefined } : { fault: changedFault() })
      const known = byDigest.length === 0 ? [] : await digests(byDigest)
      for (const [index, sha256] of known) found.set(index, sha256 === undefined ? { fault: changedFault() } : { sha256 })
      watch.touch()
      return found
    },
  }
}
