import type { ErrorCode } from '../../error-codes.js'
import type { DependencyKind, JobDependency, JobObservation } from '../../model/job.js'
import type { Submission } from '../../ports/scheduler-dialect.js'
import { rowIdOf } from './native-id.js'

/** What the dependencies of a job come to at the moment of its submission. */
export type ResolvedParents =
  | { readonly dependencies: Submission['dependencies'] }
  | { readonly outcome: 'invalid' | 'rejected'; readonly code: ErrorCode; readonly message: string }

type Verdict = 'met' | 'never' | 'wait' | { readonly unknown: string }

/**
 * Decides what of a job's dependencies the scheduler is to see. What has ended is decided here: a queue takes a dependency on a job that it
 * has forgotten for met, whatever became of that job.
 *
 * @param see - the newest that is known of a job
 */
export function resolveParents(
  dependencies: readonly JobDependency[],
  see: (dependency: JobDependency) => JobObservation | undefined,
): ResolvedParents {
  const ids = new Map<DependencyKind, string[]>()
  for (const dependency of dependencies) {
    const { kind, on } = dependency
    const seen = see(dependency)
    const verdict = judge(kind, seen, on.nativeId !== rowIdOf(on.nativeId))
    if (verdict === 'met') continue
    if (verdict === 'never') {
      return {
        outcome: 'invalid',
        code: 'E_UPSTREAM_FAILED',
        message: `job ${on.nativeId}, on which it depends (${kind}), has ended: ${describe(seen)}`,
      }
    }
    if (verdict !== 'wait') {
      return {
        outcome: 'rejected',
        code: 'E_SUBMIT_REJECTED',
        message: `not sent: it depends on job ${on.nativeId}, and ${verdict.unknown}`,
      }
    }
    // The element of an array stands for itself here.
    const sent = kind === 'aftercorr' ? 'afterok' : kind
    const list = ids.get(sent)
    if (list === undefined) ids.set(sent, [rowIdOf(on.nativeId)])
    else list.push(rowIdOf(on.nativeId))
  }
  return { dependencies: [...ids].map(([kind, list]) => ({ kind, ids: [...new Set(list)] })) }
}

function judge(kind: DependencyKind, seen: JobObservation | undefined, isMember: boolean): Verdict {
  switch (seen?.state) {
    case 'ended':
      return judgeEnded(kind, seen)
    case 'running':
    case 'ending':
      if (kind === 'after') return 'met'
      return isMember ? { unknown: 'that is one of several jobs in one place of the queue: it is sent when that one has ended' } : 'wait'
    case 'pending':
    case 'held':
      return isMember ? { unknown: 'that is one of several jobs in one place of the queue: it is sent when that one has ended' } : 'wait'
    default:
      return { unknown: 'what became of that one is not known (yet): it is not in the queue' }
  }
}

function judgeEnded(kind: DependencyKind, seen: JobObservation): Verdict {
  if (kind === 'after' || kind === 'afterany') return 'met'
  const isGood = succeeded(seen)
  if (isGood === undefined) return { unknown: 'how that one ended is not known (yet)' }
  return isGood === (kind !== 'afternotok') ? 'met' : 'never'
}

function succeeded({ end, exitCode, signal, neverBegan }: JobObservation): boolean | undefined {
  if (neverBegan === true) return false
  if (end !== undefined && end !== 'completed') return false
  if (exitCode !== undefined) return exitCode === 0 && signal === undefined
  return end === 'completed' ? true : undefined
}

function describe(seen: JobObservation | undefined): string {
  const code = seen?.exitCode === undefined ? '' : `exit code ${seen.exitCode}`
  return [seen?.rawState, seen?.end, code, seen?.reason].filter((word) => word !== undefined && word !== '').join(', ') || 'badly'
}
