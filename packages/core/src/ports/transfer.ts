import type { Connection } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { CopyPolicy, TransferResult } from '../model/transfer.js'

/** A path of this machine or of a host; bytes where it is no UTF-8. */
export type FilePath = string | Uint8Array

/** One host of a transfer. */
export interface TransferEnd {
  /** `undefined` stands for this machine. */
  readonly host: HostSpec | undefined
  readonly connection: Connection
  /** `put`: the target directory there, absolute, from the home directory, or from `~`. `get`: the target directory here. */
  readonly directory: string
}

export interface TransferRequest {
  /**
   * `put`: files and directories of this machine. `get`: the same on the hosts, absolute or from the home directory; `*`, `?` and `[…]`
   * in a text are a pattern unless a file has just that name. Each appears in the target directory under its own base name.
   */
  readonly files: readonly FilePath[]
  /** At least one; no two with the same host, connection and directory. */
  readonly ends: readonly TransferEnd[]
  readonly policy: CopyPolicy
}

/** What is going on at one host. */
export type TransferPhase = 'connecting' | 'looking' | 'moving' | 'checking' | 'ended'

/** Told a few times a second at most for each host, and once at its end. */
export interface TransferProgress {
  /** Of the ends of the request. */
  readonly index: number
  readonly phase: TransferPhase
  /** Content that is there so far, what was there before included. */
  readonly bytes: number
  /** All that is to be there; undefined as long as that is not known. */
  readonly total: number | undefined
  /** With the phase `ended`. */
  readonly result?: TransferResult
}

export interface TransferCall {
  /** Ends it: what is not there yet is `failed` with `E_ABORTED`. Files that were placed stay; parts are kept for `resume`. */
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((progress: TransferProgress) => void) | undefined
}

export interface TransferSupports {
  readonly put: boolean
  readonly get: boolean
  /** Goes on in the middle of a file after an interruption. */
  readonly resume: boolean
  /** `CopyPolicy.limit` is kept. */
  readonly limit: boolean
}

/**
 * Moves files between this machine and hosts.
 *
 * @remarks For adapters: one result per end, in their order, whatever happens to the others. A file appears under its final name only when
 * it is whole and verified, with the mode and the time of its source; what was there before stays until then. What fails on a host is
 * its result. Thrown is what no host can change, before any is asked: TransferError `E_SOURCE_MISSING`, `E_SOURCE_UNREADABLE`,
 * `E_SOURCE_SPECIAL`; and ConfigError `E_NOT_SUPPORTED` for what `supports` denies.
 */
export interface Transfer extends AsyncDisposable {
  readonly name: string
  readonly supports: TransferSupports
  put(request: TransferRequest, call?: TransferCall): Promise<readonly TransferResult[]>
  get(request: TransferRequest, call?: TransferCall): Promise<readonly TransferResult[]>
}
