import type { CommandAnswer, RowsAnswer } from '@cahier/core/spi'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../test/any-text.js'
import { readAccounting, readCancel, readDetails, readOrder, readQueue, readSubmit, SEPARATOR } from '../src/parse.js'
import { readProbe } from '../src/probe.js'
import { recorded, transcriptText } from './transcripts.js'

const NAMES = ['squeue', 'sacct', 'scontrol-show-job', 'probe', 'sbatch-refused', 'munge-down']
/** Pieces of true answers among anything else. */
const text = fc
  .array(
    fc.oneof(
      fc.string(),
      anyText(),
      fc.constantFrom(
        '\n',
        SEPARATOR,
        '|',
        '1234_[5-900%10]',
        'RUNNING',
        'JobId=7 JobName=',
        ' JobState=FAILED',
        ' ExitCode=3:0',
        '1795371041',
        ';main',
      ),
      fc
        .tuple(fc.constantFrom(...NAMES), fc.nat(4000), fc.nat(400))
        .map(([name, from, length]) => transcriptText(name).slice(from, from + length)),
    ),
  )
  .map((parts) => parts.join(''))
const anyAnswer: fc.Arbitrary<CommandAnswer> = fc.record({
  exitCode: fc.option(fc.nat(255), { nil: undefined }),
  timedOut: fc.boolean(),
  stdout: text,
  stderr: text,
})

const rowsOf = (read: RowsAnswer) => ('rows' in read ? read.rows : [])

describe('parsers', () => {
  it('never throw, and say only what they understood', () => {
    fc.assert(
      fc.property(anyAnswer, (said) => {
        for (const read of [readQueue, readAccounting, readDetails]) {
          for (const { nativeId, elements = [] } of rowsOf(read(said))) {
            expect(nativeId).toMatch(/^[1-9]\d*(_\d+)?$/)
            for (const [from, to] of elements) expect(to).toBeGreaterThanOrEqual(from)
          }
        }
        const submitted = readSubmit(said)
        if (submitted.outcome === 'submitted') expect([said.exitCode, submitted.nativeId]).toEqual([0, expect.stringMatching(/^[1-9]\d*$/)])
        else expect(submitted.message).toMatch(/^[^\n]+$/)
        if (said.exitCode === undefined) expect(submitted.outcome).toBe('uncertain')
        for (const order of [readCancel(said), readOrder(said)]) expect(Object.keys(order)).toHaveLength(1)
        expect(readProbe([said, said])).toBeTypeOf('object')
      }),
      { numRuns: 300 },
    )
  })

  it('read the same jobs wherever foreign text stands between the lines', () => {
    const { stdout } = recorded('squeue')
    const jobs = rowsOf(readQueue(recorded('squeue')))
    // A line of a foreign name: it has not all the columns of a job.
    const foreign = fc.string().filter((line) => !line.includes('\n') && line.split(SEPARATOR).length < 11)
    fc.assert(
      fc.property(fc.array(foreign, { minLength: 1, maxLength: 30 }), (lines) => {
        const noisy = stdout.split('\n').flatMap((line, at) => [line, lines[at % lines.length]!])
        const read = rowsOf(readQueue({ ...recorded('squeue'), stdout: noisy.join('\n') }))
        expect(read.map(({ nativeId }) => nativeId)).toEqual(jobs.map(({ nativeId }) => nativeId))
      }),
      { numRuns: 50 },
    )
  })
})
