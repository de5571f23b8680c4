import type { SchedulerFacts } from '../../model/site-report.js'
import type { Clock } from '../../ports/clock.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { SchedulerDialect } from '../../ports/scheduler-dialect.js'
import { type SiteCommands, silence } from './site-commands.js'

/** Differences up to this may be the time that the question took, and a clock that is read in whole seconds. */
const SMALLEST_OFFSET_MS = 2_000

/**
 * Asks a scheduler about itself, once.
 *
 * @throws SchedulerError `E_SCHEDULER_SILENT`, `E_SCHEDULER_MISSING`; the signal's reason
 */
export async function openSite(
  { dialect, commands, clock }: { readonly dialect: SchedulerDialect; readonly commands: SiteCommands; readonly clock: Clock },
  options: CallOptions = {},
): Promise<SchedulerFacts> {
  const before = clock.now()
  const [date, ...answers] = await Promise.all([
    commands.ask({ argv: ['date', '+%s'] }, options).then((answer) => ({ answer, after: clock.now() })),
    ...dialect.probe.commands.map((command) => commands.ask(command, options)),
  ])
  const said = dialect.probe.parse(answers)
  if ('silent' in said) throw silence(dialect.name, said.silent, said.suggestions)
  if (said.facts.clockOffsetMs !== undefined) return said.facts
  const seconds = /^\d+$/.exec(date.answer.stdout.trim())?.[0]
  if (seconds === undefined) return said.facts
  const offset = Number(seconds) * 1000 + 500 - (before + date.after) / 2
  return { ...said.facts, clockOffsetMs: Math.abs(offset) <= SMALLEST_OFFSET_MS ? 0 : Math.round(offset) }
}
