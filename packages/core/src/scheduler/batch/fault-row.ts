import type { ErrorCode } from '../../error-codes.js'
import type { SubmitOutcome } from '../../model/job.js'

/** Jobs that may be refused in a row for the same reason before no more of their kind are sent. */
const MOST_EQUAL_FAULTS = 3

/** A refusal of a job: everything but its tag. */
export interface Refusal {
  readonly outcome: 'invalid' | 'rejected' | 'uncertain'
  readonly code: ErrorCode
  readonly message: string
}

/** Refusals for good, one after the other. The first few are told as such; a thousand twins of them need not fail one by one. */
export class FaultRow {
  #stem = ''
  #count = 0

  /** True when so many were equal that more of the kind would fare the same. */
  get isFull(): boolean {
    return this.#count >= MOST_EQUAL_FAULTS
  }

  refuse(tag: string, code: ErrorCode, message: string): SubmitOutcome {
    // Numbers in it may be ids or sizes.
    const stem = message.replace(/\d+/g, '#')
    this.#count = stem === this.#stem ? this.#count + 1 : 1
    this.#stem = stem
    return this.#count > MOST_EQUAL_FAULTS ? { tag, ...keptBack(message) } : { outcome: 'invalid', tag, code, message }
  }
}

/** Of a job that is not sent because those before it were refused for good, all in the same way. */
export function keptBack(message: string): Refusal {
  return {
    outcome: 'rejected',
    code: 'E_SCHEDULER_BREAKER',
    message: `not sent: ${MOST_EQUAL_FAULTS} jobs before it were refused in the same way: ${message}`,
  }
}
