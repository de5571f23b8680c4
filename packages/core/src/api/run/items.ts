import { join } from 'node:path'
import { readTail } from '../../engine/attempt-files.js'
import type { JobKey } from '../../engine/events.js'
import { itemDirectory, itemTag, prepareDirectory, prepareTag } from '../../engine/plan.js'
import type { AttemptHistory, WaitingSince } from '../../engine/run-state.js'
import { itemId } from '../../engine/submit.js'
import type { WorkItem } from '../../model/combination.js'
import type { AttemptReport, ItemReport } from '../../model/run.js'
import type { OpenRun } from './open-run.js'

const TAIL_BYTES = 2000
const TAIL_LINES = 12

/** Directory of an attempt, absolute. */
export function attemptDirectory(run: OpenRun, item: WorkItem, attempt: number): string {
  return join(run.directory, itemDirectory(item, attempt))
}

/** All that is known about a work item. Earlier attempts are there when the run was opened with its history. */
export function reportItem(run: OpenRun, index: number, options: { readonly tail?: boolean } = {}): ItemReport {
  const { state } = run
  const { tagName = '', campaign } = state
  const item = state.items?.at(index)
  if (item === undefined) throw new RangeError(`no work item ${index}`)
  const attempts = reportAttempts(run, index, (attempt) => ({
    tag: itemTag(tagName, campaign?.runId ?? '', item, attempt),
    directory: attemptDirectory(run, item, attempt),
  }))
  return {
    id: itemId(item),
    combination: item.combination,
    repetition: item.repetition,
    state: state.stateOf(index),
    ...summaryOf(attempts, options),
  }
}

/** The same of a prepare stage. @param key - `prepare:compile`, with levels and site where it has them */
export function reportStage(run: OpenRun, key: string, options: { readonly tail?: boolean } = {}): ItemReport {
  const { state, directory } = run
  const { tagName = '', campaign } = state
  const attempts = reportAttempts(run, key, (attempt) => ({
    tag: prepareTag(tagName, campaign?.runId ?? '', key, attempt),
    directory: join(directory, prepareDirectory(key, attempt)),
  }))
  const prepared = state.prepareState(key)
  return {
    id: key,
    isStage: true,
    combination: {},
    repetition: 1,
    state: prepared !== 'in-flight' ? prepared : state.flights.get(key)?.isRunning === true ? 'running' : 'submitted',
    ...summaryOf(attempts, options),
  }
}

function reportAttempts(
  run: OpenRun,
  key: JobKey,
  placeOf: (attempt: number) => Pick<AttemptReport, 'tag' | 'directory'>,
): readonly AttemptReport[] {
  const { state } = run
  const verdict = state.verdictOf(key)
  const attempts: AttemptReport[] = state.historyOf(key).map((one) => ({
    attempt: one.attempt,
    ...placeOf(one.attempt),
    outcome: one.verdict?.outcome,
    detail: one.verdict?.detail ?? describeFlight(one),
    nativeId: one.nativeId,
    ...siteOf(run, one.site),
    ...(one.waiting === undefined || one.startedAt !== undefined ? {} : { waiting: waitingOf(one.waiting) }),
    exitCode: one.verdict?.exitCode,
    submittedAt: one.submittedAt,
    startedAt: one.verdict?.startedAt ?? one.startedAt,
    endedAt: one.verdict?.endedAt,
  }))
  if (attempts.length > 0 || verdict === undefined) return attempts
  return [
    {
      attempt: verdict.attempt,
      ...placeOf(verdict.attempt),
      outcome: verdict.outcome,
      detail: verdict.detail,
      nativeId: undefined,
      ...siteOf(run, state.siteOfLast(key)),
      exitCode: verdict.exitCode,
      submittedAt: undefined,
      startedAt: verdict.startedAt,
      endedAt: verdict.endedAt,
    },
  ]
}

function summaryOf(
  attempts: readonly AttemptReport[],
  options: { readonly tail?: boolean },
): Pick<ItemReport, 'attempts' | 'detail' | 'tail'> {
  const last = attempts.at(-1)
  const wantsTail = options.tail !== false && last !== undefined && last.outcome !== undefined && last.outcome !== 'succeeded'
  const tail = wantsTail ? tailOf(last.directory) : ''
  return {
    attempts,
    detail: last?.detail ?? 'not tried yet',
    ...(tail === '' ? {} : { tail }),
  }
}

function siteOf({ state }: OpenRun, site: string | undefined): { readonly site?: string } {
  const name = site ?? state.site
  return name === undefined ? {} : { site: name }
}

function waitingOf({ words, at, advice }: WaitingSince): NonNullable<AttemptReport['waiting']> {
  return { words, at, ...(advice === undefined ? {} : { advice }) }
}

/** Of an attempt without a verdict. */
function describeFlight({ nativeId, startedAt, waiting }: AttemptHistory): string {
  if (nativeId === undefined) return 'being submitted'
  if (startedAt !== undefined) return 'running'
  if (waiting === undefined) return 'in flight'
  return `waits: ${waiting.words}${waiting.advice === undefined ? '' : `: ${waiting.advice}`}`
}

function tailOf(directory: string): string {
  const text = readTail(join(directory, 'stderr'), TAIL_BYTES) || readTail(join(directory, 'stdout'), TAIL_BYTES)
  return text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n')
}
