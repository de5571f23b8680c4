import type { ErrorCode } from '../../error-codes.js'

/** Who sends: a host by its number, or one of these. */
export type Giver = number
/** This machine, on the way on which hosts reach each other. */
export const HEAD = -1
/** This machine, over the ssh connection of the host that receives. */
export const OWN = -2

export type LinkFault = 'refused' | 'timeout' | 'denied' | 'closed' | 'program' | 'stalled' | 'corrupt'

export type Order =
  /** The giver opens a link to the host. Epochs only grow. */
  | { readonly kind: 'link'; readonly epoch: number; readonly from: Giver; readonly to: number }
  /** The giver closes what it has to this host. */
  | { readonly kind: 'unlink'; readonly epoch: number; readonly from: Giver; readonly to: number }
  /** A sign of life is wanted. */
  | { readonly kind: 'ask'; readonly host: number }
  /** It is given up. */
  | { readonly kind: 'drop'; readonly host: number; readonly code: ErrorCode; readonly message: string }

export interface PlanSettings {
  /** Bytes of the stream. */
  readonly total: number
  readonly chunk: number
  /** A host that could have more and takes nothing for so long is given up. */
  readonly patienceMs: number
  /** A link that does not stand after so long does not stand. */
  readonly linkMs: number
  /** How this machine may send, best first. */
  readonly heads: readonly Giver[]
  /** Bytes per second to which it is limited on purpose what this machine sends. */
  readonly pace: number | undefined
}
