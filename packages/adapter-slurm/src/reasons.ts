/** What it means that a job waits for this reason. */
export type ReasonMeaning =
  /** With an advice: it waits for somebody, not for its turn. */
  | { readonly kind: 'waits'; readonly advice?: string }
  /** Somebody has to release it. */
  | { readonly kind: 'held'; readonly advice: string }
  /** It will not start by itself, however long it waits. */
  | { readonly kind: 'never'; readonly end: 'upstream-failed' | 'refused'; readonly explanation: string }

const never = (explanation: string, end: 'upstream-failed' | 'refused' = 'refused'): ReasonMeaning => ({ kind: 'never', end, explanation })
const held = (advice: string): ReasonMeaning => ({ kind: 'held', advice })
const needs = (advice: string): ReasonMeaning => ({ kind: 'waits', advice })
const WAITS: ReasonMeaning = { kind: 'waits' }

const LAUNCH_FAILED =
  'SLURM could not start it on a node and holds it: ask the site about that node, then release the job (cahier jobs release) or cancel it'
const NODES_DOWN =
  'nodes that it needs are down or drained: the administrators of the site know until when; another partition may have others'
const REQUEUED =
  'SLURM put it back into the queue too often and holds it: ask the site why, then release it (cahier jobs release) or cancel it'
const TIME_USED_UP = 'the account, or its QOS, has used up the time that it was given: ask the site for more, or name another account'

/**
 * Reasons that are not simply a matter of time, without blanks and underscores, in small letters.
 *
 * @source squeue(1), JOB REASON CODES, Slurm 22.05, and "Job Reason Codes" of the Slurm documentation; transcripts/slurm-22.05/squeue-reasons.txt
 */
const REASONS: ReadonlyMap<string, ReasonMeaning> = new Map([
  // This job has a dependency on another job that will never be satisfied.
  ['dependencyneversatisfied', never('a job that it depends on did not end as it should', 'upstream-failed')],
  // The job's time limit exceeds its partition's current time limit.
  ['partitiontimelimit', never('its walltime is longer than the partition allows: ask for less, or for another partition')],
  // The number of nodes required by this job is outside of its partition's current limits. (Nodes that are down give another reason.)
  ['partitionnodelimit', never('it asks for more nodes than the partition has or gives to one job')],
  // The requested resources are not those of the partition's nodes.
  ['partitionconfig', never('no node of the partition has what it asks for: fewer cores per node, less memory, or another partition')],
  // The job's constraints can not be satisfied.
  ['badconstraints', never('no nodes fit what it asks for: look at the constraint, the cores and the memory')],
  ['invalidaccount', never('its account is not valid: "sacctmgr show assoc user=$USER" shows yours')],
  ['invalidqos', never('its QOS is not valid: "sacctmgr show assoc user=$USER format=account,qos" shows yours')],
  ['accountnotallowed', never('its account may not use this partition')],
  ['qosnotallowed', never('its QOS may not be used in this partition')],
  // The job could not be run before its deadline.
  ['deadline', never('it could not be run before its deadline')],
  // The job is held by the user, by an administrator.
  ['jobhelduser', held('its user holds it, or a program of theirs: cahier jobs release lets it go')],
  ['jobheldadmin', held('only an administrator of the site can release it')],
  ['launchfailedrequeuedheld', held(LAUNCH_FAILED)],
  ['joblaunchfailurerequeuedheld', held(LAUNCH_FAILED)],
  ['jobrequeuedinheldstate', held('SLURM put it back into the queue and holds it: release it (cahier jobs release) or cancel it')],
  ['reservationdeleted', held('its reservation was deleted: release it (cahier jobs release) to run it without')],
  ['jobholdmaxrequeue', held(REQUEUED)],
  ['maxrequeue', held(REQUEUED)],
  // The partition required by this job is in a DOWN state, in an Inactive state.
  ['partitiondown', needs('its partition is down: the administrators of the site know until when; or name another one')],
  ['partitioninactive', needs('its partition starts no jobs: the administrators of the site know until when; or name another one')],
  // A node required by the job is down.
  ['nodedown', needs(NODES_DOWN)],
  ['frontenddown', needs('the front end node is down: the administrators of the site know until when')],
  // The job's QOS, its association has reached its time limit.
  ['qostimelimit', needs(TIME_USED_UP)],
  ['associationtimelimit', needs(TIME_USED_UP)],
  // Required QOS threshold has been breached.
  ['qosusagethreshold', needs(TIME_USED_UP)],
])

/**
 * Limits of one job that no end of another job will lift: `QOSMaxWallDurationPerJobLimit`. Those of a group, a user or an account pass.
 *
 * @source "Job Reason Codes" of the Slurm documentation: AssocMax…PerJobLimit, QOSMax…PerJobLimit, QOSMin… "is not satisfied"
 */
const LIMIT_OF_ONE_JOB = /^(?:(?:assoc|association|qos)max\w*per(?:job|node)(?:limit)?|qosmin\w*|partitionmin\w*|partitionmax\w*perjob\w*)$/

/**
 * Budgets: `AssocGrpCPUMinutesLimit`. Those of what runs at the same time (`AssocGrpCPURunMinutesLimit`) pass when other jobs end.
 *
 * @source "Job Reason Codes" of the Slurm documentation: AssocGrp…Minutes, QOSGrp…Minutes, …GrpWallLimit
 */
const BUDGET = /^(?:assoc|association|qos)grp(?!\w*run)\w*(?:minutes|wall)(?:limit)?$/

/** Sentences that SLURM prints in place of a word. */
const SENTENCES: readonly (readonly [pattern: RegExp, meaning: ReasonMeaning])[] = [
  [
    /^Job's (account|QOS|group) not permitted to use this partition/i,
    never('it may not use this partition: ask for another one, or under another account'),
  ],
  [/^Requested node configuration is not available/i, never('no nodes fit what it asks for')],
  // Those without a name of a node are in use, or reserved for a time: as are most of "DOWN, DRAINED or reserved for jobs in higher priority partitions".
  [/^ReqNodeNotAvail, ?UnavailableNodes:\S/i, needs(NODES_DOWN)],
]

/**
 * Reads why a job waits.
 *
 * Several reasons in one line are those of an array's elements: it never starts only when that holds for all of them, and somebody is needed as
 * soon as one of them needs somebody.
 *
 * @param reason - squeue's `%r`, in either spelling (`launch failed requeued held`, `launch_failed_requeued_held`)
 * @returns `waits` for everything that is not known
 */
export function readReason(reason: string): ReasonMeaning {
  // Thousands of jobs wait for the same few reasons.
  const known = REMEMBERED.get(reason)
  if (known !== undefined) return known
  const meaning = understand(reason)
  if (REMEMBERED.size > 1000) REMEMBERED.clear()
  REMEMBERED.set(reason, meaning)
  return meaning
}

const REMEMBERED = new Map<string, ReasonMeaning>()

function understand(reason: string): ReasonMeaning {
  const text = reason.trim().replace(/^\((.*)\)$/, '$1')
  const sentence = SENTENCES.find(([pattern]) => pattern.test(text))
  if (sentence !== undefined) return sentence[1]
  const meanings = text.split(',').map(meaningOf)
  if (meanings.every(({ kind }) => kind === 'never')) return meanings[0] ?? WAITS
  return meanings.find(({ kind }) => kind === 'held') ?? meanings.find((meaning) => 'advice' in meaning) ?? WAITS
}

function meaningOf(word: string): ReasonMeaning {
  const plain = word.replaceAll(/[\s_]/g, '').toLowerCase()
  const known = REASONS.get(plain)
  if (known !== undefined) return known
  if (LIMIT_OF_ONE_JOB.test(plain)) return never('it asks for more than this account or QOS gives to one job')
  return BUDGET.test(plain) ? needs(TIME_USED_UP) : WAITS
}
