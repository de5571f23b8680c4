import type { RunSummary } from '@cahier/core'

/** The one table of exit codes; `docs/reference/commands.md` shows it. */
export const EXIT_CODES = {
  done: { code: 0, meaning: 'Done. For `run` and `attach`: everything is done and nothing failed.' },
  error: { code: 1, meaning: 'Something went wrong; the message has a code, `docs/reference/errors.md` explains it.' },
  usage: { code: 2, meaning: 'The command line cannot be understood.' },
  incomplete: { code: 3, meaning: 'The run ended or paused with failed, invalid or unfinished work items.' },
  held: { code: 4, meaning: 'Another controller drives this run.' },
  unknownCommand: { code: 127, meaning: 'There is no such command.' },
  detached: { code: 130, meaning: 'Left on Ctrl-C: nothing more is claimed, submitted jobs go on.' },
} as const satisfies Record<string, { readonly code: number; readonly meaning: string }>

/** The exit code for a thrown value: ours by its code, oclif's by what it asks for. */
export function exitCodeOf(error: unknown): number {
  const { code, oclif } = (error ?? {}) as { readonly code?: unknown; readonly oclif?: { readonly exit?: unknown } }
  if (code === 'E_RUN_HELD') return EXIT_CODES.held.code
  if (code === 'E_ARGUMENT') return EXIT_CODES.usage.code
  if (code === 'E_ABORTED') return EXIT_CODES.detached.code
  return typeof oclif?.exit === 'number' ? oclif.exit : EXIT_CODES.error.code
}

/** The exit code of a run that came to its end, or was left. */
export function exitCodeOfRun({ outcome, counts }: Pick<RunSummary, 'outcome' | 'counts'>): number {
  if (outcome === 'detached') return EXIT_CODES.detached.code
  return outcome === 'complete' && counts.failed + counts.invalid === 0 ? EXIT_CODES.done.code : EXIT_CODES.incomplete.code
}
