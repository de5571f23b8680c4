import type { ProcessBackend } from '../ports/process-backend.js'

/** What a backend can promise beyond starting, waiting and stopping. What is not declared is refused, or not counted on. */
export interface ProcessSupports {
  /** An exit code above 128 is told from a signal. */
  readonly exactSignals: boolean
  /** The signal that ended a process is known. */
  readonly namedSignals: boolean
  /** A program or a directory that does not exist is `not-started`, not an exit code. */
  readonly startFailures: boolean
  /** Output is shown while the process runs. */
  readonly liveOutput: boolean
  /** `stdin: 'pipe'`. */
  readonly stdinPipe: boolean
  /** `outputFiles` and `detach`. */
  readonly outputFiles: boolean
  /** `pty`. */
  readonly pty: boolean
  /** Stopping ends also what left the process group. */
  readonly wholeTree: boolean
  /** The end of the process is the end, even when a grandchild holds its output open. */
  readonly heldOutput: boolean
}

/**
 * What a test can do to the machine on which the processes run. What is left out cannot be done there: the cases that need it are
 * skipped, with the reason in their title.
 */
export interface ProcessLab {
  /** Makes an empty directory on that machine, whose name has a space and a quote in it where the system allows that. */
  makeDirectory(): Promise<string>
  /** Reads a file of that machine; `undefined` when there is none. */
  readFile(path: string): Promise<Uint8Array | undefined>
  /** Makes an empty file on that machine, by other means than the backend. */
  makeFile?(path: string): Promise<void>
  /** What `host` of a result must be; `undefined`: this machine. */
  readonly host?: string
  /** How long a case waits for what should take a moment; default 30,000. */
  readonly patienceMs?: number
  /** Numbers of the living processes of that machine with this text in their environment. Zombies do not count. */
  findProcesses?(token: string): Promise<readonly number[]>
}

export type ProcessLabAbility = 'findProcesses' | 'makeFile'

/** What a case works with. Every case has its own. */
export interface ProcessWorld {
  readonly backend: ProcessBackend
  readonly lab: ProcessLab
  readonly supports: Partial<ProcessSupports>
}

/** One promise of the port. Its id is never used for another one. */
export interface ProcessCase {
  readonly id: string
  /** A sentence about behaviour. */
  readonly title: string
  /** Abilities of the lab without which it cannot be tried. */
  readonly needs?: readonly ProcessLabAbility[]
  /** Tried only when this is declared … */
  readonly declared?: keyof ProcessSupports
  /** … or only when this is not. */
  readonly undeclared?: keyof ProcessSupports
  /** What goes wrong for users where it does not hold. */
  readonly why: string
  run(world: ProcessWorld): Promise<void>
}
