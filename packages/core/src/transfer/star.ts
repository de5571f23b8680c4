import type { Mover } from './mover.js'

/**
 * What looks after files on a host: the agent in Python or in Perl, POSIX tools, or only the sftp server. The first that works is taken.
 */
export type FarKind = 'py' | 'pl' | 'sh' | 'sftp'

export interface StarSettings {
  /** Of the driver. */
  readonly name: string
  readonly mover: Mover
  /** Hosts at a time; default 16. */
  readonly concurrency?: number | undefined
  /** Default: all, `sftp` only with a mover that speaks it. */
  readonly kinds?: readonly FarKind[] | undefined
}
