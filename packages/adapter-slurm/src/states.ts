import type { JobRow, JobState } from '@cahier/core/spi'

/** What a state word of SLURM means to us. */
export interface StateMeaning {
  /** The long form. */
  readonly word: string
  readonly state: JobState
  readonly end?: NonNullable<JobRow['end']>
}

type Line = readonly [compact: string | undefined, word: string, state: JobState, end?: NonNullable<JobRow['end']>]

/**
 * Every state, with the manual's words.
 *
 * @source squeue(1), JOB STATE CODES, Slurm 22.05; those without a compact form: "Job State Codes" of the Slurm documentation, 24.05 to 25.11
 */
const LINES: readonly Line[] = [
  // Job terminated due to launch failure, typically due to a hardware failure.
  ['BF', 'BOOT_FAIL', 'ended', 'node-failed'],
  // Job was explicitly cancelled by the user or system administrator. The job may or may not have been initiated.
  ['CA', 'CANCELLED', 'ended', 'canceled'],
  // Job has terminated all processes on all nodes with an exit code of zero.
  ['CD', 'COMPLETED', 'ended', 'completed'],
  // Job has been allocated resources, but are waiting for them to become ready for use (e.g. booting).
  ['CF', 'CONFIGURING', 'pending'],
  // Job is in the process of completing. Some processes on some nodes may still be active.
  ['CG', 'COMPLETING', 'ending'],
  // Terminated due to reaching the latest acceptable start time specified for the job.
  ['DL', 'DEADLINE', 'ended', 'refused'],
  // Requeued with expedited priority.
  [undefined, 'EXPEDITING', 'pending'],
  // Job terminated with non-zero exit code or other failure condition.
  ['F', 'FAILED', 'ended', 'failed'],
  // Failed to launch on the chosen node(s): a flag beside the state, SLURM puts the job back into the queue.
  [undefined, 'LAUNCH_FAILED', 'pending'],
  // Job terminated due to failure of one or more allocated nodes.
  ['NF', 'NODE_FAIL', 'ended', 'node-failed'],
  // Job experienced out of memory error.
  ['OOM', 'OUT_OF_MEMORY', 'ended', 'out-of-memory'],
  // Job is awaiting resource allocation.
  ['PD', 'PENDING', 'pending'],
  // Allocated powered down nodes and waiting for them to boot.
  [undefined, 'POWER_UP_NODE', 'pending'],
  // Job terminated due to preemption.
  ['PR', 'PREEMPTED', 'ended', 'preempted'],
  // Job currently has an allocation.
  ['R', 'RUNNING', 'running'],
  // Node configuration for job failed: a flag beside the state.
  [undefined, 'RECONFIG_FAIL', 'pending'],
  // Job is being held after requested reservation was deleted.
  ['RD', 'RESV_DEL_HOLD', 'held'],
  // Job is being requeued by a federation.
  ['RF', 'REQUEUE_FED', 'pending'],
  // Held job is being requeued.
  ['RH', 'REQUEUE_HOLD', 'held'],
  // Completing job is being requeued.
  ['RQ', 'REQUEUED', 'pending'],
  // Job is about to change size.
  ['RS', 'RESIZING', 'running'],
  // Sibling was removed from cluster due to other cluster starting the job: it lives on, elsewhere, so that nothing can be said of it here.
  ['RV', 'REVOKED', 'unknown'],
  // Job is being signaled.
  ['SI', 'SIGNALING', 'running'],
  // The job was requeued in a special state: it is held.
  ['SE', 'SPECIAL_EXIT', 'held'],
  // Job is staging out files.
  ['SO', 'STAGE_OUT', 'ending'],
  // Job has an allocation, but execution has been stopped with SIGSTOP signal. CPUS have been retained by this job.
  ['ST', 'STOPPED', 'running'],
  // Job has an allocation, but execution has been suspended and CPUs have been released for other jobs.
  ['S', 'SUSPENDED', 'running'],
  // Job terminated upon reaching its time limit.
  ['TO', 'TIMEOUT', 'ended', 'timed-out'],
]

const MEANINGS = LINES.map(([compact, word, state, end]) => ({ compact, word, meaning: { word, state, ...(end && { end }) } }))
const BY_WORD = new Map(
  MEANINGS.flatMap(({ compact, word, meaning }) => [
    [word, meaning] as const,
    ...(compact === undefined ? [] : [[compact, meaning] as const]),
  ]),
)

/** The long words that are known. */
export const STATE_WORDS: readonly string[] = MEANINGS.map(({ word }) => word)

/**
 * Reads a state in any form that SLURM prints: long, compact, cut (`OUT_OF_ME+`), with its author (`CANCELLED by 1000`).
 *
 * @returns `unknown` with the word kept for what is none of them
 */
export function readState(text: string): StateMeaning {
  const first = /^[A-Za-z_]+\+?(?=\s|$)/.exec(text.trim())?.[0].toUpperCase() ?? ''
  const word = first.replace(/\+$/, '')
  const known = BY_WORD.get(word)
  if (known !== undefined) return known
  // Columns of sacct are ten characters wide; one letter alone would be anything.
  const cut = first.endsWith('+') && word.length >= 4 ? MEANINGS.filter((each) => each.word.startsWith(word)) : []
  return cut.length === 1 ? cut[0]!.meaning : { word: text.trim(), state: 'unknown' }
}

/** Linux, as on every machine that SLURM runs jobs on. */
const SIGNALS =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  )

/** How a job ended, from `code:signal`. */
export interface ReadExit {
  readonly exitCode?: number
  readonly signal?: string
  /** What the pair says beyond a code and a signal. */
  readonly explanation?: string
}

/**
 * Reads `ExitCode`: `3:0` is exit code 3, `0:9` signal 9. Some numbers behind the colon are no signals.
 *
 * @source scontrol(1), Slurm 22.05: `ExitCode=<status>:<signal>`; transcripts/slurm-22.05/scontrol-show-job.txt
 */
export function readExit(text: string): ReadExit {
  const found = /^(\d{1,3}):(\d{1,3})$/.exec(text.trim())
  if (found === null) return {}
  const code = Number(found[1])
  const number = Number(found[2])
  if (number === 53) {
    return {
      explanation:
        'the node could not start the job (0:53): its working directory or the folder of its output does not exist there, or may not be written',
    }
  }
  if (number === 125) return { explanation: 'out of memory (0:125)' }
  if (number === 0) return { exitCode: code }
  const name = SIGNALS[number - 1]
  return { signal: name === undefined ? String(number) : `SIG${name}` }
}
