import type { ErrorCode } from '../../error-codes.js'
import type { JobSpec } from '../../model/job.js'
import type { SchedulerDialect, UserDirectives } from '../../ports/scheduler-dialect.js'
import { checkJob } from '../check-job.js'

/** A job with what its script and its options say. */
export interface CheckedJob {
  readonly job: JobSpec
  readonly user: UserDirectives
  readonly options: Readonly<Record<string, unknown>>
}

export interface Fault {
  readonly code: ErrorCode
  readonly message: string
}

/** Reads what the user's directive lines and options say about a job, and finds what no scheduler would run. */
export function prepareJob(
  spec: JobSpec,
  dialect: SchedulerDialect,
  siteOptions: Readonly<Record<string, unknown>>,
): CheckedJob | { readonly fault: Fault; readonly user?: UserDirectives } {
  const fault = checkJob(spec)
  if (fault !== undefined) return { fault }
  if ((spec.dependencies ?? []).length > 0 && !dialect.supports.dependencies) {
    return { fault: { code: 'E_NOT_SUPPORTED', message: `${dialect.name} knows no jobs that wait for others` } }
  }
  const user = dialect.readDirectives(spec.script)
  if (user.fault !== undefined) return { fault: { code: 'E_JOB_INVALID', message: user.fault }, user }
  const checked = dialect.jobOptions({ ...siteOptions, ...spec.options })
  if ('fault' in checked) {
    const hints = checked.suggestions ?? []
    return {
      fault: { code: 'E_JOB_INVALID', message: hints.length === 0 ? checked.fault : `${checked.fault} (${hints.join('; ')})` },
      user,
    }
  }
  const queue = user.queue ?? spec.queue
  const account = user.account ?? spec.account
  const job: JobSpec = {
    ...spec,
    resources: { ...spec.resources, ...user.resources },
    ...(queue === undefined ? {} : { queue }),
    ...(account === undefined ? {} : { account }),
  }
  const second = checkJob(job)
  return second === undefined ? { job, user, options: checked.options } : { fault: second, user }
}
