import type { CommandAnswer, JobRow, RowsAnswer, SchedulerDialect } from '../../packages/core/src/ports/scheduler-dialect.js'

/** A language of a batch system with one rule of the port broken. */
export interface DialectMutant {
  /** What it does wrong. */
  readonly fault: string
  /** The case that must notice. */
  readonly caughtBy: string
  readonly make: (honest: SchedulerDialect) => SchedulerDialect
}

/** Changes the lines of every answer of the queue, or of the accounting. */
function changingRows(
  which: 'parseQueue' | 'parseAccounting',
  change: (rows: readonly JobRow[]) => readonly JobRow[],
): DialectMutant['make'] {
  return (honest) => ({
    ...honest,
    [which](answer: CommandAnswer): RowsAnswer {
      const said = honest[which]?.(answer) ?? { rows: [] }
      return 'rows' in said ? { rows: change(said.rows) } : said
    },
  })
}

export const dialectMutants: readonly DialectMutant[] = [
  {
    fault: 'takes the first word of the answer for the id',
    caughtBy: 'submit-handle',
    make: (honest) => ({
      ...honest,
      parseSubmit: ({ stdout }) => ({ outcome: 'submitted', nativeId: stdout.trim().split(/\s/)[0] ?? '' }),
    }),
  },
  {
    fault: 'takes the first number of the answer for the id',
    caughtBy: 'submit-chatter',
    make: (honest) => ({
      ...honest,
      parseSubmit(answer, submission) {
        const nativeId = /\d+/.exec(answer.stdout)?.[0]
        return nativeId === undefined ? honest.parseSubmit(answer, submission) : { outcome: 'submitted', nativeId }
      },
    }),
  },
  {
    fault: 'takes a submission without a clear answer for a refusal',
    caughtBy: 'fault-accepted',
    make: (honest) => ({
      ...honest,
      parseSubmit(answer, submission) {
        const said = honest.parseSubmit(answer, submission)
        return said.outcome === 'uncertain' ? { ...said, outcome: 'rejected' } : said
      },
    }),
  },
  {
    fault: 'gives the submission a quoted tag, which no shell will unquote',
    caughtBy: 'find-tag',
    make: (honest) => ({
      ...honest,
      submit: (submission) => honest.submit({ ...submission, tag: `"${submission.tag}"` }),
    }),
  },
  {
    fault: 'cuts tags short',
    caughtBy: 'find-tag',
    make: changingRows('parseQueue', (rows) =>
      rows.map((row) => ({ ...row, ...(row.tag === undefined ? {} : { tag: row.tag.slice(0, 8) }) })),
    ),
  },
  {
    fault: 'takes a question that failed for an empty queue',
    caughtBy: 'fault-silent',
    make: (honest) => ({
      ...honest,
      parseQueue(answer) {
        const said = honest.parseQueue(answer)
        return 'silent' in said ? { rows: [] } : said
      },
    }),
  },
  {
    fault: 'crashes at a word that it does not know',
    caughtBy: 'observe-strange-state',
    make: changingRows('parseQueue', (rows) =>
      rows.map((row) => {
        if (row.state === 'unknown') throw new TypeError(`Cannot read properties of undefined (reading '${row.rawState}')`)
        return row
      }),
    ),
  },
  {
    fault: 'passes over lines whose word it does not know',
    caughtBy: 'observe-strange-state',
    make: changingRows('parseQueue', (rows) => rows.filter(({ state }) => state !== 'unknown')),
  },
  {
    fault: 'takes a word that it does not know for an end',
    caughtBy: 'observe-strange-state',
    make: changingRows('parseQueue', (rows) =>
      rows.map((row) => (row.state === 'unknown' ? { ...row, state: 'ended' as const, end: 'failed' as const } : row)),
    ),
  },
  {
    fault: 'says pending of jobs that run, now and then',
    caughtBy: 'observe-forward',
    make(honest) {
      let answers = 0
      return changingRows('parseQueue', (rows) => {
        if (rows.some(({ state }) => state === 'running')) answers += 1
        return rows.map((row) => (row.state === 'running' && answers % 2 === 0 ? { ...row, state: 'pending' as const } : row))
      })(honest)
    },
  },
  {
    fault: 'takes one element of an array for its neighbour',
    caughtBy: 'cancel-one',
    make: (honest) => ({ ...honest, elementId: (nativeId, index) => honest.elementId(nativeId, (index + 1) % 3) }),
  },
  {
    fault: 'cancels the whole array for one of its elements',
    caughtBy: 'cancel-one',
    make: (honest) => ({ ...honest, cancel: (ids) => honest.cancel(ids.map((id) => id.replace(/_\d+$/, ''))) }),
  },
  {
    fault: 'takes 128 from exit codes, as some accountings do',
    caughtBy: 'observe-killed',
    make: (honest) => {
      const smaller = (rows: readonly JobRow[]): readonly JobRow[] =>
        rows.map((row) => (row.exitCode === undefined ? row : { ...row, exitCode: row.exitCode % 128 }))
      return changingRows('parseAccounting', smaller)(changingRows('parseQueue', smaller)(honest))
    },
  },
  {
    fault: 'asks for a cancel that does nothing, and calls it taken',
    caughtBy: 'cancel-running',
    make: (honest) => ({ ...honest, cancel: () => ({ argv: ['true'] }) }),
  },
  {
    fault: 'takes every cancel for taken, whatever was answered',
    caughtBy: 'cancel-silent',
    make: (honest) => ({ ...honest, parseCancel: () => ({ ok: true }) }),
  },
  {
    fault: 'waits for any end where a good one was asked for',
    caughtBy: 'depend-afterok-failed-never',
    make: (honest) => ({
      ...honest,
      submit: (submission) =>
        honest.submit({ ...submission, dependencies: submission.dependencies.map(({ ids }) => ({ kind: 'afterany', ids })) }),
    }),
  },
  {
    fault: 'leaves jobs waiting that can never start',
    caughtBy: 'depend-cascade',
    make: changingRows('parseQueue', (rows) => rows.map(({ never: _never, ...row }) => row)),
  },
  {
    fault: 'counts every start of a job as the first',
    caughtBy: 'run-requeued',
    make: (honest) => ({ ...honest, startNumber: '1' }),
  },
]
