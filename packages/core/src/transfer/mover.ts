import type { Connection } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { PooledConnection } from '../ssh/pooled-connection.js'
import type { ByteName } from '../util/byte-names.js'
import type { Pace } from './pace.js'

/** A host that is reached. */
export interface ReachedHost {
  readonly host: HostSpec
  readonly connection: Connection
  /** The one login; sessions of it are counted. */
  readonly pooled: PooledConnection
}

/** The content of one entry that is to be moved. */
export interface MovedFile {
  /** Of the manifest; also the name of the part. */
  readonly index: number
  /** Absolute: here for `send`, there for `receive`. One character per byte. */
  readonly path: ByteName
  readonly size: number
  /** So many bytes are in the part already. */
  readonly offset: number
}

export interface MoveOptions {
  readonly signal: AbortSignal
  readonly pace: Pace
  /** Told as bytes move. */
  onBytes(bytes: number): void
  /** One file is wholly there (or, of `send`, wholly taken by the other side). */
  onFile(index: number): void
}

/** What a mover could not bring, by entry; everything else came. */
export type MoveFailures = ReadonlyMap<number, { readonly code: string; readonly message: string }>

/**
 * Moves content, and nothing else: no final names, no modes, no checks. Those are the work of the place on either side.
 *
 * A part that is longer or shorter than `size` at the end is no failure of the mover: the place finds it. Throws ProcessError when the
 * connection is lost, TransferError `E_NOT_SUPPORTED`… when this way does not exist on that host.
 */
export interface Mover {
  readonly name: string
  /** A part begins as a copy of the file that is there. */
  readonly seed: boolean
  /** From here into the folder of parts there, `<parts>/<index>`. */
  send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures>
  /** From there into the folder of parts here, `<parts>/<index>`. */
  receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures>
}
