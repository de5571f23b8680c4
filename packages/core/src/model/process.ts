/** An argument list is executed as it is; script text goes to a shell. */
export type Command = readonly [string, ...string[]] | { readonly script: string; readonly shell?: string }

export interface ProcessSpec {
  readonly command: Command
  readonly cwd?: string
  /** Added to the inherited environment; `undefined` removes a name. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** `ignore` (default): end of file at once. `pipe`: `write` and `closeStdin` are used. Else the text to send, then end of file. */
  readonly stdin?: 'ignore' | 'pipe' | { readonly text: string | Uint8Array }
  /** Ended after this time; 0 or absent: no limit. */
  readonly timeoutMs?: number
  /** Between SIGTERM and SIGKILL; default 5,000. */
  readonly graceMs?: number
  /** Run on a pseudo terminal: stderr is then part of stdout. */
  readonly pty?: boolean
  /** Bytes of each stream kept in memory, half from its beginning and half from its end; default 131,072. */
  readonly keepBytes?: number
  /**
   * Where the whole output goes when it does not fit in memory: this name with `.stdout` or `.stderr` after it. Default: files in the
   * system's temporary folder, made when needed, removed when this program ends. `false`: what does not fit is dropped.
   */
  readonly spillTo?: string | false
  /** Absolute names of files that receive the streams directly: nothing comes through the controller, `stdout` and `stderr` of the result are empty. */
  readonly outputFiles?: { readonly stdout: string; readonly stderr: string; readonly append?: boolean }
  /** Goes on when the controller ends. Wants `outputFiles`, because nobody would read a pipe. */
  readonly detach?: boolean
}

export type ProcessOutcome = 'exited' | 'signaled' | 'timed-out' | 'canceled' | 'not-started' | 'unreachable'

/** One output stream, decoded as UTF-8 with replacement. */
export interface CapturedText {
  /** The whole text, or its beginning and its end around a line that says how many bytes lie between them. */
  readonly text: string
  readonly bytes: number
  readonly truncated: boolean
  /** The file with everything, when `truncated` and spilling is on. */
  readonly file?: string
}

/** What became of a process. Failures are values; `outcome` discriminates. */
export interface ProcessResult {
  readonly outcome: ProcessOutcome
  /** The exit code, when it exited by itself. Never a raw wait status. */
  readonly exitCode: number | undefined
  readonly signal: NodeJS.Signals | undefined
  readonly stdout: CapturedText
  readonly stderr: CapturedText
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** From its start to its end; of one that was never started, how long that was tried: a host that did not answer for 3 s has 3,000. */
  readonly durationMs: number
  readonly host: string | undefined
  /** True when SIGKILL had to follow. */
  readonly forced: boolean
  /** Processes of the tree that could not be stopped. */
  readonly survivors: readonly number[]
  /** Why it did not start or was not reached, and what would mend it, most likely first. */
  readonly error?: { readonly code: string; readonly message: string; readonly suggestions?: readonly string[] }
}
