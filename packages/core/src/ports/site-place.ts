import type { CallOptions } from './scheduler.js'

/** An attempt whose directory is to be there before its job is submitted. */
export interface StagedAttempt {
  /** Relative to the run directory. */
  readonly directory: string
  /** What `parameters.json` says, as text. */
  readonly parameters: string
}

/** An attempt whose job has ended. */
export interface FetchedAttempt {
  /** Relative to the run directory. */
  readonly directory: string
  readonly tag: string
}

export type FetchOutcome =
  /** Everything that the job's manifest lists is here, verified; or, of a job without a manifest, what was found. */
  | { readonly ok: true; readonly files: number; readonly bytes: number }
  /** It does not fit its manifest (yet), or is not there: may be asked again. */
  | { readonly ok: false; readonly detail: string }

/**
 * Where the files of one run lie for the jobs of a site. Where the site sees the files of this machine, that is the run directory itself
 * and nothing is moved.
 *
 * @remarks Throws as {@link SiteFiles} does when the site could not be asked: then nothing has changed.
 */
export interface SitePlace {
  /** Absolute, on the site: the directory that stands for the run directory there. */
  readonly root: string
  readonly isShared: boolean
  /** Finds out the root and brings the input files of the run, once per site and content. Before anything else; may be called again. */
  open(options?: CallOptions): Promise<void>
  /** Makes the directories of attempts there with their `parameters.json` and their input files. */
  stage(attempts: readonly StagedAttempt[], options?: CallOptions): Promise<void>
  /** Brings home what jobs left, each file under another name first, verified, renamed. One outcome each, in order. */
  fetch(attempts: readonly FetchedAttempt[], options?: CallOptions): Promise<readonly FetchOutcome[]>
}
