import type { ProcessBackend } from '../ports/process-backend.js'
import { parseDuration } from '../units.js'
import type { OutputHandler } from './output-handlers.js'

/** What can go wrong with a process, each of which may be ignored or kept out of the log. */
export type FailureKind = 'exit-code' | 'timeout' | 'error' | 'expect' | 'write'

/** Milliseconds, or text with a unit: `90s`, `1h30m`. */
export type Duration = number | string

export interface LifecycleHandler<T> {
  /** Called after the launch was attempted. */
  start?(subject: T): void
  /** Called when `ended` is true and the end was logged. */
  end?(subject: T): void
  reset?(subject: T): void
}

export interface ProcessOptions {
  /** Default: the command, shortened. */
  readonly name?: string
  readonly cwd?: string
  /** Added to the inherited environment; `undefined` removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** The shell for a command that is a string; default `/bin/sh`. */
  readonly shell?: string
  /** `ignore` (default): end of file at once. `pipe`: for `write` and `closeStdin`. Or the text to send. */
  readonly stdin?: 'ignore' | 'pipe' | { readonly text: string | Uint8Array }
  /** Run on a pseudo terminal; stderr is then part of stdout. */
  readonly pty?: boolean
  /** Ended after this time. No limit when absent or 0. */
  readonly timeout?: Duration
  /** Between SIGTERM and SIGKILL; default 5 s. */
  readonly grace?: Duration
  /** Bytes of each stream kept in memory, half from the beginning and half from the end; default 131,072. */
  readonly keepBytes?: number
  /** Where all output goes when it does not fit; see {@link ProcessSpec.spillTo}. */
  readonly spillTo?: string | false
  /** Failures that do not count: with one of these only, the process is `ok`. They are not logged either. */
  readonly ignore?: readonly FailureKind[]
  /** Failures that count and are not logged. */
  readonly nolog?: readonly FailureKind[]
  readonly stdoutHandlers?: readonly OutputHandler[]
  readonly stderrHandlers?: readonly OutputHandler[]
  readonly lifecycleHandlers?: readonly LifecycleHandler<never>[]
  /** Used by `expect` when no timeout is given there; default: none. */
  readonly expectTimeout?: Duration
  /** Kills the process when aborted. */
  readonly signal?: AbortSignal
  /** How it is started; default: one fork of this program. */
  readonly backend?: ProcessBackend
}

export function toMs(duration: Duration): number {
  return typeof duration === 'number' ? duration : parseDuration(duration)
}
