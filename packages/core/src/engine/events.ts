import type { JobOutcome } from '../model/job.js'
import type { RunOutcome, RunPause } from '../model/run.js'
import type { SpaceDefinition } from '../model/space.js'

/** Position of a work item in the sweep of the moment, or the name of a prepare stage with its levels. */
export type JobKey = number | string

/** What the controller writes into a run's journal. Short field names where there is one event per job. */
export type RunJournalEvent =
  | CampaignEvent
  /** `sites`: those that this controller uses. */
  | {
      readonly type: 'opened'
      readonly host: string
      readonly pid: number
      readonly version: string
      readonly sites?: readonly string[]
    }
  | { readonly type: 'closed'; readonly outcome: RunOutcome }
  /** Durable before the jobs are given to the scheduler. `site`: where, when it is another than that of the campaign event. */
  | { readonly type: 'intents'; readonly jobs: readonly (readonly [key: JobKey, attempt: number])[]; readonly site?: string }
  | { readonly type: 'submitted'; readonly jobs: readonly (readonly [key: JobKey, attempt: number, nativeId: string])[] }
  | { readonly type: 'started'; readonly jobs: readonly (readonly [key: JobKey, attempt: number])[] }
  | WaitingEvent
  | VerdictEvent
  | CollectedEvent
  /** `site`: it alone stands still. */
  | { readonly type: 'paused'; readonly reason: RunPause['reason']; readonly detail: string; readonly site?: string }
  | { readonly type: 'unpaused'; readonly site?: string }
  | { readonly type: 'retry'; readonly keys: readonly JobKey[] }
  | { readonly type: 'stop'; readonly cancelJobs: boolean }

/** The campaign as it is from here on: the first event of a journal, and again when its file was edited. */
export type CampaignEvent = {
  readonly type: 'campaign'
  readonly runId: string
  readonly name: string
  readonly revision: number
  readonly definition: SpaceDefinition
  /** Hashes of the parts that must not change unnoticed. */
  readonly fingerprint: Readonly<Record<string, string>>
  /** The site of all intents that name none; said once, when the run is begun. */
  readonly site?: string
}

/** Why jobs wait, in the scheduler's words, when that has changed. */
export type WaitingEvent = {
  readonly type: 'waiting'
  readonly words: string
  readonly jobs: readonly (readonly [key: JobKey, attempt: number])[]
  /** They wait for somebody, not for their turn. */
  readonly stuck?: boolean
  /** What somebody has to do about it. */
  readonly advice?: string
}

export type VerdictEvent = {
  readonly type: 'verdict'
  readonly k: JobKey
  readonly a: number
  readonly o: JobOutcome | 'invalid'
  readonly d: string
  readonly x?: number
  /** Milliseconds since 1970. */
  readonly s?: number
  readonly e?: number
  readonly h?: string
  /** The results. */
  readonly v?: Readonly<Record<string, unknown>>
  /** The work item goes back to the list, by the retry policy or because the attempt does not count. */
  readonly again?: boolean
  /** Nothing ran: this attempt does not count. */
  readonly void?: boolean
}

/**
 * The results of an attempt whose job succeeded were read again, with other rules: replaces its verdict, and is the last word about
 * its work item, also when later attempts failed. Without effect on an item that is in flight or on the list.
 */
export type CollectedEvent = Omit<VerdictEvent, 'type' | 'k' | 'o' | 'again' | 'void'> & {
  readonly type: 'collected'
  readonly k: number
  readonly o: 'succeeded' | 'invalid'
}
