import type { PlainTransfer } from './plain-transfer.js'
export interface TransferMutant {
  /** What it does wrong. */
  readonly fault: string
  /** The case that must notice. */
  readonly caughtBy: string
  readonly make: (homes: ReadonlyMap<string, string>) => PlainTransfer
}
export const transferMutants: readonly TransferMutant[] = []
