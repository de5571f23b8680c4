import type { ExitRecord, JobObservation, JobOutcome, JobResult } from '../model/job.js'

/** Everything that is known about one job at one moment. */
export interface Evidence {
  readonly exit: ExitRecord | undefined
  /** The newest answer of the scheduler; `undefined` when it was never asked. */
  readonly observation: JobObservation | undefined
  /** How long the job has been ended or not visible without an exit record; 0 when it was seen alive since. */
  readonly silentMs: number
  /** After this time without a record the accounting is believed, and without accounting the job is lost. */
  readonly graceMs: number
}

/** Longer than shared file systems keep from one machine what another has written. */
const LATE_RECORD_MS = 60_000

/** What the scheduler's end words mean for us when no exit record says it better. */
const BY_END: Readonly<Record<NonNullable<JobObservation['end']>, JobOutcome | undefined>> = {
  completed: undefined,
  failed: 'failed',
  'timed-out': 'timed-out',
  canceled: 'canceled',
  'out-of-memory': 'out-of-memory',
  'node-failed': 'killed',
  preempted: 'killed',
  'upstream-failed': 'upstream-failed',
  refused: 'not-submitted',
}

const SIGNALS: Readonly<Record<number, string>> = { 1: 'SIGHUP', 2: 'SIGINT', 6: 'SIGABRT', 9: 'SIGKILL', 11: 'SIGSEGV', 15: 'SIGTERM' }

/** `exit code 137 (SIGKILL)`. */
export function describeExit(code: number): string {
  const signal = code > 128 ? (SIGNALS[code - 128] ?? `signal ${code - 128}`) : undefined
  return signal === undefined ? `exit code ${code}` : `exit code ${code} (${signal})`
}

/** How our wrapper ends when another start of the job holds its directory: it says nothing about that one. */
export const REFUSED_EXIT_CODE = 111

function isAlive(observation: JobObservation | undefined): boolean {
  return observation !== undefined && ['pending', 'held', 'running'].includes(observation.state)
}

/**
 * Says what became of a job, from the best proof there is: exit record, then accounting, then queue.
 *
 * @returns `undefined` while nothing can be said: the job may still run, or its record may still come
 */
export function conclude(evidence: Evidence): JobResult | undefined {
  return evidence.exit === undefined ? concludeWithoutRecord(evidence) : concludeFromRecord(evidence.exit, evidence.observation)
}

function concludeFromRecord(exit: ExitRecord, observation: JobObservation | undefined): JobResult | undefined {
  const facts = { startedAt: exit.startedAt * 1000, endedAt: exit.endedAt * 1000, host: exit.host, proof: 'exit-record' as const }
  const end = observation?.end
  // The scheduler itself had started it again.
  const which = (exit.start ?? 1) > 1 ? ` at start ${exit.start}` : ''
  switch (exit.reason) {
    case 'exited':
      if (exit.exitCode === 0) {
        const odd = end !== undefined && end !== 'completed' ? `; the scheduler says ${observation?.rawState}` : ''
        return { ...facts, outcome: 'succeeded', exitCode: 0, detail: `exit code 0${which}${odd}` }
      }
      if (end === 'out-of-memory' || end === 'timed-out') {
        return {
          ...facts,
          outcome: end,
          exitCode: exit.exitCode,
          detail: `${observation?.rawState}, ${describeExit(exit.exitCode)}${which}`,
        }
      }
      // Ended by a signal, and the scheduler says that it was its own.
      if (exit.exitCode > 128 && (end === 'canceled' || end === 'preempted' || end === 'node-failed')) {
        const detail = `${observation?.rawState}, ${describeExit(exit.exitCode)}${which}`
        return { ...facts, outcome: end === 'canceled' ? 'canceled' : 'killed', exitCode: exit.exitCode, detail }
      }
      return { ...facts, outcome: 'failed', exitCode: exit.exitCode, detail: `${describeExit(exit.exitCode)}${which}` }
    case 'not-started':
      return {
        ...facts,
        outcome: 'failed',
        exitCode: exit.exitCode,
        detail: `the script could not be started: ${describeExit(exit.exitCode)}`,
      }
    case 'timeout':
    case 'canceled': {
      // Told to end, and yet the queue shows it alive: a requeue after preemption or a node failure. It runs again.
      if (isAlive(observation)) return undefined
      if (end === 'preempted' || end === 'node-failed') {
        return { ...facts, outcome: 'killed', exitCode: exit.exitCode, detail: `${observation?.rawState}: ended by the scheduler` }
      }
      const timedOut = exit.reason === 'timeout' || end === 'timed-out'
      if (!timedOut && observation?.state === 'ended' && end === undefined) {
        const detail = 'it was told to end, and the scheduler does not say why'
        return { ...facts, outcome: 'killed', exitCode: exit.exitCode, detail }
      }
      return {
        ...facts,
        outcome: timedOut ? 'timed-out' : 'canceled',
        exitCode: exit.exitCode,
        detail: timedOut ? 'ended at its walltime' : 'canceled',
      }
    }
  }
}

function concludeWithoutRecord({ observation, silentMs, graceMs }: Evidence): JobResult | undefined {
  if (observation === undefined) return undefined
  const facts = {
    ...(observation.startedAt === undefined ? {} : { startedAt: observation.startedAt }),
    ...(observation.endedAt === undefined ? {} : { endedAt: observation.endedAt }),
    ...(observation.host === undefined ? {} : { host: observation.host }),
    ...(observation.exitCode === undefined ? {} : { exitCode: observation.exitCode }),
  }
  const words = [observation.rawState, observation.reason].filter((word) => word !== undefined && word !== '').join(', ')
  if (observation.state === 'ended') {
    // It never ran, so no record will come.
    if (observation.end === 'upstream-failed') {
      return { ...facts, outcome: 'upstream-failed', proof: 'queue', detail: `not run: a job that it depends on failed (${words})` }
    }
    if (observation.end === 'refused')
      return { ...facts, outcome: 'not-submitted', proof: 'queue', detail: `it would never have been started (${words})` }
    if (observation.end === 'canceled' && !hasStarted(observation)) {
      return { ...facts, outcome: 'canceled', proof: 'queue', detail: `canceled before it started (${words})` }
    }
    // That it failed is the scheduler's word; that it did well, or what became of it, is worth a longer wait for its own.
    const isKnown = isBadEnd(observation)
    if (silentMs < (isKnown ? Math.min(graceMs, LATE_RECORD_MS) : graceMs)) return undefined
    if (observation.neverBegan === true) {
      return { ...facts, outcome: 'lost', proof: 'absence', detail: `the scheduler says ${words || 'ended'}; its script never began` }
    }
    if (observation.exitCode === REFUSED_EXIT_CODE) {
      return {
        ...facts,
        outcome: 'lost',
        proof: 'absence',
        detail: `${words}: it found its directory held by another start of the same job, which has left no exit record`,
      }
    }
    const proof = observation.exitCode === undefined ? ('queue' as const) : ('accounting' as const)
    const outcome = observation.end === undefined ? undefined : BY_END[observation.end]
    if (outcome !== undefined) {
      const isKilled = outcome === 'failed' && observation.exitCode === undefined && observation.signal !== undefined
      return { ...facts, outcome: isKilled ? 'killed' : outcome, proof, detail: `${words}${endWords(observation)}` }
    }
    if (observation.exitCode !== undefined) {
      const ok = observation.exitCode === 0 && observation.signal === undefined
      return {
        ...facts,
        outcome: ok ? 'succeeded' : observation.signal === undefined ? 'failed' : 'killed',
        proof,
        detail: `${describeExit(observation.exitCode)} by accounting; there is no exit record`,
      }
    }
    return { ...facts, outcome: 'lost', proof: 'absence', detail: `the scheduler says ${words || 'ended'}, and there is no exit record` }
  }
  if (observation.state === 'not-visible' && silentMs >= graceMs) {
    return {
      ...facts,
      outcome: 'lost',
      proof: 'absence',
      detail: `not visible for ${Math.round(silentMs / 1000)} s, and there is no exit record`,
    }
  }
  return undefined
}

/** How it ended by the scheduler's account, behind its words. */
function endWords({ exitCode, signal }: JobObservation): string {
  if (exitCode !== undefined) return `, ${describeExit(exitCode)}`
  return signal === undefined ? '' : `, killed by ${signal}`
}

/** The scheduler itself says that it ended badly, and of this start of the job. */
function isBadEnd({ end, exitCode, signal }: JobObservation): boolean {
  if (exitCode === REFUSED_EXIT_CODE) return false
  if (end === 'failed') return (exitCode !== undefined && exitCode !== 0) || signal !== undefined
  return end === 'out-of-memory' || end === 'timed-out' || end === 'canceled'
}

/** Schedulers give a job that was canceled in its queue the time of the cancel as its start. */
function hasStarted({ startedAt, endedAt, host }: JobObservation): boolean {
  return startedAt !== undefined && (host !== undefined || endedAt === undefined || startedAt < endedAt)
}

/** True when the job shows no life and a record is what is waited for: the grace runs. */
export function isSilent(observation: JobObservation | undefined): boolean {
  return observation !== undefined && (observation.state === 'ended' || observation.state === 'not-visible')
}
