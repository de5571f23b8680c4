import { join } from 'node:path'
import type { CampaignSpec } from '../model/campaign.js'
import type { Combination, WorkItem } from '../model/combination.js'
import type { JobHandle, JobPlace, JobResult, JobSpec } from '../model/job.js'
import type { RunEvent } from '../model/run.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import type { Store } from '../ports/store.js'
import type { InputFile } from './attempt-files.js'
import type { JobKey, RunJournalEvent } from './events.js'
import type { RunSite } from './run-site.js'
import type { RunState, Waiting } from './run-state.js'

/** What was read from the files of an attempt whose job succeeded. */
export type Collected =
  | { readonly ok: true; readonly values: Readonly<Record<string, unknown>> }
  /** One line that says which field of which file did not fit. */
  | { readonly ok: false; readonly detail: string }

export type Collect = (job: {
  readonly directory: string
  readonly combination: Combination
  readonly repetition: number
}) => Collected | Promise<Collected>

export interface ControllerSettings {
  /** Over all sites. */
  readonly maxInFlight: number
}

/** One job in flight, as the controller handles it. */
export interface Watch {
  readonly key: JobKey
  readonly attempt: number
  readonly tag: string
  readonly site: RunSite
  /** Relative to the run directory, here and on the site. */
  readonly path: string
  /** Absolute, here. */
  readonly directory: string
  /** Absolute, on the site; only when that is open. */
  readonly siteDirectory: string
  /** For humans. */
  readonly label: string
  handle: JobHandle | undefined
  /** Prepare stages that the job depends on. */
  readonly needs: readonly string[]
  /** It was given up as lost before: that it is not found now is no news, and it counts as an attempt. */
  readonly isSecondLook?: boolean
  /** Monotonic time of the first observation without a sign of life in a row. */
  silentSince: number | undefined
  /** It has ended, and its files are still to be brought home. */
  ended: EndedJob | undefined
  /** Why it waits, as it was last written into the journal, and as it was last seen. */
  written?: Waiting | undefined
  seen?: Waiting | undefined
}

export interface EndedJob {
  readonly result: JobResult
  /** Monotonic. */
  readonly since: number
  tries: number
  nextAt: number
  /** What came of it at last: `undefined` while it goes on. */
  home: { readonly ok: true } | { readonly ok: false; readonly detail: string } | undefined
}

export type WatchParts = Omit<Watch, 'siteDirectory' | 'directory' | 'silentSince' | 'ended' | 'written' | 'seen'>

/** @param runDirectory - absolute, here */
export function makeWatch(runDirectory: string, parts: WatchParts): Watch {
  return {
    ...parts,
    directory: join(runDirectory, parts.path),
    get siteDirectory() {
      return `${parts.site.place.root}/${parts.path}`
    },
    silentSince: undefined,
    ended: undefined,
  }
}

/** How the scheduler recognises the job by what it leaves. Only when the site is open. */
export function placeOf({ siteDirectory: directory, site, tag }: Watch): JobPlace {
  return { directory, tag, runDirectory: site.place.root }
}

/** A job with a durable intent that the scheduler has not taken yet. */
export interface Unsent {
  readonly watch: Watch
  readonly spec: JobSpec
  /** What `parameters.json` says. */
  readonly parameters: string
  /** Its directory on the site is ready. */
  isStaged: boolean
}

/** What the steps of the controller share. */
export interface RunContext {
  readonly spec: CampaignSpec
  readonly directory: string
  readonly state: RunState
  readonly store: Store
  readonly collect: Collect
  readonly files: readonly InputFile[]
  readonly clock: Clock
  readonly log: Logger
  readonly settings: ControllerSettings
  readonly emit: (event: RunEvent) => void
  /** Appends, unless another controller has taken over: then StoreError `E_RUN_HELD`. */
  readonly write: (events: readonly RunJournalEvent[], options?: { readonly durable?: boolean }) => Promise<void>
}

/** The same for the steps that concern one site. */
export interface SiteContext extends RunContext {
  readonly site: RunSite
  /** Its name in the journal; `undefined`: it is the one that intents without a name belong to. */
  readonly siteMark: string | undefined
  /** Jobs there. */
  readonly watches: Map<JobKey, Watch>
  /** True when another site of this run could still do work whose prepare stage failed here. */
  readonly othersCanDo: (item: WorkItem) => boolean
  /** True when jobs of this mark belong to another site that takes work in this run. */
  readonly isElsewhere: (mark: string | undefined) => boolean
  /** Aborted when the run is left. */
  readonly signal: AbortSignal
}
