import type { CopyPolicy, FileFailure } from '../model/transfer.js'
import type { ByteName } from '../util/byte-names.js'
import type { Manifest } from './manifest.js'

/** What is known of one entry of a manifest where it is to be. */
export type Found =
  /** It must come, or be made. Always so for links and directories that are not there. */
  | { readonly state: 'needed' }
  /** Of a file: so many bytes of it came in an earlier transfer and lie among the parts. Nobody has checked them yet. */
  | { readonly state: 'part'; readonly bytes: number }
  | { readonly state: 'same' }
  /** It can never be there: a directory stands in its place, its folder is a file… `code` is an error code. */
  | { readonly state: 'impossible'; readonly code: string; readonly message: string }

export interface OpenInput {
  readonly manifest: Manifest
  /** As {@link TransferEnd.directory}. */
  readonly directory: string
  readonly policy: CopyPolicy
  /** Of `partsId`. */
  readonly partsId: string
  /** A part begins as a copy of the file that is there now, for a mover that sends differences. */
  readonly seed?: boolean | undefined
  /**
   * SHA-256 of an entry of the source. With `policy.checksum`: what has the size and this digest is `same`; without it nothing of that
   * size can be known to be.
   */
  readonly digest?: ((index: number) => Promise<string>) | undefined
}

export interface Opened {
  /** Absolute, there. */
  readonly directory: ByteName
  /**
   * Absolute, there: the folder of parts, in which the content of entry n belongs into the file named `n`. Undefined when nothing is
   * needed.
   */
  readonly parts: ByteName | undefined
  /** One for each entry. */
  readonly found: readonly Found[]
}

/** What came, by entry: the digest is of the source. */
export interface Arrived {
  readonly index: number
  /** Lower case hex; undefined when it was checked on its way (the stream of a chain). */
  readonly sha256: string | undefined
}

export interface Committed {
  /** Files that are there now because of this. */
  readonly files: number
  readonly failures: readonly FileFailure[]
  readonly verified: 'sha256' | 'size'
}

/**
 * The receiving side of a copy, on this machine or on a host: what is there, where parts go, and how they become files.
 *
 * Errors that concern everything are TransferError `E_TARGET_MISSING` (no such directory, and `create` was not asked for),
 * `E_TARGET_DENIED`, `E_TARGET_FULL` (also when the room left is seen to be too small before anything is moved), `E_TARGET_BUSY` (another
 * transfer of the same files into the same directory is under way), or ProcessError of the connection.
 */
export interface Place extends AsyncDisposable {
  /** Looks; makes the target directory when that is asked for, and the folder of parts. */
  open(input: OpenInput, signal?: AbortSignal): Promise<Opened>
  /**
   * Checks what came, gives it mode and time, and renames it to its final name; makes directories and links; removes the folder of parts.
   * Entries that are neither in `arrived` nor `same`, directory or link are failures of those who brought them, not looked at here.
   * What is wrong stays out, and is a failure.
   */
  commit(arrived: readonly Arrived[], signal?: AbortSignal): Promise<Committed>
  /**
   * Of an open place on a host: resolves when what holds its parts there has ended, with the reason unless that was our wish. Somebody else
   * may hold them then: nothing may be brought any more.
   */
  readonly ended?: Promise<Error | undefined> | undefined
  /** Gives up. Parts stay when `keep` is true, for the next transfer. May be called in any state, and more than once. */
  abandon(options: { readonly keep: boolean }): Promise<void>
}

/** A file or directory of the sending side on a host, as its agent lists it. */
export interface Listed {
  readonly manifest: Manifest
  /** Absolute, there, of each entry. */
  readonly paths: readonly ByteName[]
  readonly leftOut: readonly { readonly file: string; readonly why: string }[]
}

/** The sending side of a `get`. Errors: TransferError `E_SOURCE_MISSING`, `E_SOURCE_UNREADABLE`, `E_SOURCE_SPECIAL`. */
export interface RemoteSource extends AsyncDisposable {
  list(files: readonly (string | Uint8Array)[], policy: CopyPolicy, signal?: AbortSignal): Promise<Listed>
  /** SHA-256 of the entries, in order, read now; `undefined` where the file is no longer what was listed (size or time), or unreadable. */
  digests(indexes: readonly number[], signal?: AbortSignal): Promise<readonly (string | undefined)[]>
  /**
   * Only of a source whose digests cost as much as the files: whether each is still what was listed, by size and time. Then digests are
   * asked for with `policy.checksum` only, and what came is verified by size.
   */
  unchanged?(indexes: readonly number[], signal?: AbortSignal): Promise<readonly boolean[]>
}
