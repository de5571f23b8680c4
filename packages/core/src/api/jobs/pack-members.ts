import { ConfigError } from '../../errors.js'
import type { JobPlace } from '../../model/job.js'
import { readItems } from '../run/read-run.js'
import type { NamedJob } from './choose-jobs.js'
import type { OrderedJob } from './end-jobs.js'
import { siteDirectoryOf } from './job-output.js'
import type { SiteAccess } from './site-access.js'

/** Running members are ended within this time; those whose turn has not come are passed over when it comes. */
const CONFIRM_MS = 10_000
const LOOK_MS = 1_000

/** The queue's name of the pack that `1234_7/2` is in; `undefined`: it is in none. */
export function packOf(nativeId: string | undefined): string | undefined {
  const at = nativeId?.lastIndexOf('/') ?? -1
  return nativeId === undefined || at < 0 ? undefined : nativeId.slice(0, at)
}

/** @throws ConfigError `E_NOT_SUPPORTED` for a member of a pack, which the queue does not know by itself */
export function refuseMembers(jobs: readonly NamedJob[], order: string): void {
  const member = jobs.find(({ nativeId }) => packOf(nativeId) !== undefined)
  if (member === undefined) return
  throw new ConfigError('E_NOT_SUPPORTED', `${member.selector} is one job of a pack, which the queue knows as a whole only`, {
    suggestions: [`Name the pack: cahier jobs ${order} ${packOf(member.nativeId)}`],
  })
}

/**
 * Ends single members of packs. The others of each pack are looked up too: the scheduler leaves alone what it knows to go on.
 *
 * @param runs - directories by the ids of runs: the journals say where members have their files
 * @throws ConfigError `E_NOT_FOUND` for a member of which no run here knows
 */
export async function cancelMembersOn(
  access: SiteAccess,
  members: readonly NamedJob[],
  {
    runs,
    folder,
    signal,
  }: { readonly runs: ReadonlyMap<string, string>; readonly folder: string; readonly signal: AbortSignal | undefined },
): Promise<OrderedJob[]> {
  if (members.length === 0) return []
  const attempts = await attemptsIn(access, new Set(members.map(({ nativeId }) => packOf(nativeId))), runs)
  for (const { nativeId = '', selector } of members) {
    if (attempts.has(nativeId)) continue
    throw new ConfigError('E_NOT_FOUND', `${selector} is one job of a pack, and no run in ${folder} knows where it has its files`, {
      suggestions: ['Go to the folder with its run', `End all jobs of the pack: cahier jobs cancel ${packOf(nativeId)}`],
    })
  }
  const scheduler = await access.scheduler()
  const live = [...attempts.values()].filter(({ hasEnded }) => !hasEnded)
  const handles = await scheduler.find(
    live.map(({ place }) => place),
    { signal },
  )
  const wanted = members.flatMap(({ nativeId = '' }) => handles.get(attempts.get(nativeId)?.place.tag ?? '') ?? [])
  if (wanted.length > 0) await scheduler.cancel(wanted, { signal })
  const until = access.clock.monotonic() + CONFIRM_MS
  return await Promise.all(
    members.map(async ({ selector, nativeId = '' }): Promise<OrderedJob> => {
      const { place, hasEnded } = attempts.get(nativeId) as PackedAttempt
      const about = { job: selector, nativeId }
      if (hasEnded) return { ...about, outcome: 'was-ended', seen: null }
      if (!handles.has(place.tag)) return { ...about, outcome: 'not-known', seen: null }
      for (;;) {
        const record = await scheduler.exitRecord(place, { signal })
        if (record !== undefined) return { ...about, outcome: 'done', seen: record.reason }
        if (access.clock.monotonic() >= until) return { ...about, outcome: 'asked', seen: null }
        await access.clock.sleep(LOOK_MS, { signal })
      }
    }),
  )
}

interface PackedAttempt {
  readonly place: JobPlace
  readonly hasEnded: boolean
}

/** The attempts of runs that are in these packs, by their ids. */
async function attemptsIn(
  access: SiteAccess,
  packs: ReadonlySet<string | undefined>,
  runs: ReadonlyMap<string, string>,
): Promise<Map<string, PackedAttempt>> {
  const found = new Map<string, PackedAttempt>()
  for (const [id, run] of runs) {
    for (const { attempts } of await readItems(run).catch(() => [])) {
      for (const { nativeId, site = access.site.name, directory, tag, outcome } of attempts) {
        if (nativeId === undefined || site !== access.site.name || !packs.has(packOf(nativeId) ?? '')) continue
        const [at, root] = await Promise.all([directory, run].map((path) => siteDirectoryOf(access, { id, run }, path)))
        found.set(nativeId, { place: { directory: at as string, tag, runDirectory: root as string }, hasEnded: outcome !== undefined })
      }
    }
  }
  return found
}
