import { join } from 'node:path'
import { readTail } from '../../engine/attempt-files.js'
import type { AttemptHistory } from '../../engine/run-state.js'
import { itemId } from '../../engine/submit.js'
import { combinationId, makeTag, slugOf } from '../../ids.js'
import type { WorkItem } from '../../model/combination.js'
import type { AttemptReport, ItemReport } from '../../model/run.js'
import type { OpenRun } from './open-run.js'

const TAIL_BYTES = 2000
const TAIL_LINES = 12

/** Directory of an attempt, absolute. */
export function attemptDirectory(run: OpenRun, item: WorkItem, attempt: number): string {
  return join(run.directory, 'combinations', slugOf(item.combination), `r${item.repetition}-a${attempt}`)
}

function tagOf({ state }: OpenRun, { combination, repetition }: WorkItem, attempt: number): string {
  const { runId = '' } = state.campaign ?? {}
  return makeTag({ campaign: state.tagName ?? '', id: combinationId(combination), repetition, attempt, nonce: runId })
}

/** All that is known about a work item. Earlier attempts are there when the run was opened with its history. */
export function reportItem(run: OpenRun, index: number, options: { readonly tail?: boolean } = {}): ItemReport {
  const { state } = run
  const item = state.items?.at(index)
  if (item === undefined) throw new RangeError(`no work item ${index}`)
  const history = state.historyOf(index)
  const verdict = state.verdictOf(index)
  const attempts: AttemptReport[] = history.map((one) => ({
    attempt: one.attempt,
    tag: tagOf(run, item, one.attempt),
    directory: attemptDirectory(run, item, one.attempt),
    outcome: one.verdict?.outcome,
    detail: one.verdict?.detail ?? describeFlight(one),
    nativeId: one.nativeId,
    ...siteOf(run, one.site),
    ...(one.waiting === undefined || one.startedAt !== undefined ? {} : { waiting: one.waiting }),
    exitCode: one.verdict?.exitCode,
    submittedAt: one.submittedAt,
    startedAt: one.verdict?.startedAt ?? one.startedAt,
    endedAt: one.verdict?.endedAt,
  }))
  if (attempts.length === 0 && verdict !== undefined) {
    attempts.push({
      attempt: verdict.attempt,
      tag: tagOf(run, item, verdict.attempt),
      directory: attemptDirectory(run, item, verdict.attempt),
      outcome: verdict.outcome,
      detail: verdict.detail,
      nativeId: undefined,
      ...siteOf(run, state.siteOfLast(index)),
      exitCode: verdict.exitCode,
      submittedAt: undefined,
      startedAt: verdict.startedAt,
      endedAt: verdict.endedAt,
    })
  }
  const last = attempts.at(-1)
  const wantsTail = options.tail !== false && last !== undefined && last.outcome !== undefined && last.outcome !== 'succeeded'
  const tail = wantsTail ? tailOf(last.directory) : ''
  return {
    id: itemId(item),
    combination: item.combination,
    repetition: item.repetition,
    state: state.stateOf(index),
    attempts,
    detail: last?.detail ?? 'not tried yet',
    ...(tail === '' ? {} : { tail }),
  }
}

function siteOf({ state }: OpenRun, site: string | undefined): { readonly site?: string } {
  const name = site ?? state.site
  return name === undefined ? {} : { site: name }
}

/** Of an attempt without a verdict. */
function describeFlight({ nativeId, startedAt, waiting }: AttemptHistory): string {
  if (nativeId === undefined) return 'being submitted'
  if (startedAt !== undefined) return 'running'
  return waiting === undefined ? 'in flight' : `waits: ${waiting.words}`
}

function tailOf(directory: string): string {
  const text = readTail(join(directory, 'stderr'), TAIL_BYTES) || readTail(join(directory, 'stdout'), TAIL_BYTES)
  return text.trimEnd().split('\n').slice(-TAIL_LINES).join('\n')
}
