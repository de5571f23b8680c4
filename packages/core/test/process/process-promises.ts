import type { ProcessSupports } from '../../src/conformance/index.js'

export const ALL_PROMISES: ProcessSupports = {
  exactSignals: true,
  namedSignals: true,
  startFailures: true,
  liveOutput: true,
  stdinPipe: true,
  outputFiles: true,
  pty: true,
  wholeTree: true,
  heldOutput: true,
}

/** The shell's `$?` does not tell a signal from an exit code above 128. */
export const SHELL_PROMISES: Partial<ProcessSupports> = { ...ALL_PROMISES, exactSignals: false }
