import type { Connection } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { Transfer, TransferSupports } from '../ports/transfer.js'

/** A directory of an end, under both its names. */
export interface LabDirectory {
  /** Absolute, as the end has it. */
  readonly there: string
  /** Where the very same files are seen from this machine: looked at directly, past the transfer that is tried. */
  readonly here: string
}

/** An end of the transfers that are tried. */
export interface LabHost {
  /** `undefined` stands for this machine. */
  readonly host: HostSpec | undefined
  readonly connection: Connection
  /** Makes an empty directory there, whose name has a space and a quote in it where the system allows that. */
  makeDirectory(): Promise<LabDirectory>
}

/**
 * Where transfers are tried: hosts whose files can be seen from this machine, because they run on it, share a file system with it or have
 * a folder of it mounted. This machine needs POSIX utilities. What is left out cannot be done there: the cases that need it are skipped,
 * with the reason in their title.
 */
export interface TransferLab {
  /** At least one; three show most. Several may be one host. */
  readonly hosts: readonly [LabHost, ...LabHost[]]
  /** Makes an empty directory of this machine, whose name has a space and a quote in it where the system allows that. */
  makeDirectory(): Promise<string>
  /** How long a case waits for what should take a moment; default 30,000. */
  readonly patienceMs?: number
  /** How exact times of files are at the ends; default 1. */
  readonly timeStepMs?: number
  /** The earliest time that files can have there, in milliseconds since 1970; default: none. */
  readonly earliestMs?: number
  /** A host at which nobody answers, and soon. */
  unreachable?(): Pick<LabHost, 'host' | 'connection'>
  /** Where relative names begin on a host: its home directory. */
  home?(host: LabHost): LabDirectory
  /** A directory on the first host with room for at most 2 MiB. */
  full?(): Promise<LabDirectory>
  /** A directory on the first host where nothing can be written. */
  readOnly?(): Promise<LabDirectory>
  /** Makes a directory of this machine unreadable for whoever transfers. The function undoes that. */
  forbid?(path: string): Promise<() => Promise<void>>
  /** Ends every connection to a host; new ones are taken. */
  drop?(host: LabHost): void
  /** Kills on a host every process that works for a transfer, but not the service that takes connections. */
  killWorkers?(host: LabHost): void
}

export type TransferLabAbility = 'unreachable' | 'home' | 'full' | 'readOnly' | 'forbid' | 'drop' | 'killWorkers'

/** What a case works with. Every case has its own. */
export interface TransferWorld {
  readonly transfer: Transfer
  readonly lab: TransferLab
  readonly supports: Partial<TransferSupports>
}

/** One promise of the port. Its id is never used for another one. */
export interface TransferCase {
  readonly id: string
  /** A sentence about behaviour. */
  readonly title: string
  /** Abilities of the lab without which it cannot be tried. */
  readonly needs?: readonly TransferLabAbility[]
  /** Tried only when this is declared … */
  readonly declared?: keyof TransferSupports
  /** … or only when this is not. */
  readonly undeclared?: keyof TransferSupports
  /** What goes wrong for users where it does not hold. */
  readonly why: string
  run(world: TransferWorld): Promise<void>
}
