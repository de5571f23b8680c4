import { describe, expect, it } from 'vitest'
import { judgeItem, readLedger } from './ledger.mjs'

const DONE = { state: 'done', detail: 'exit code 0', tag: 't1', outcome: 'succeeded', exitCode: 0, value: 8 }
const CALM = { blows: [], leftOpen: () => false }

/** Lines without times get one second each. */
function judge(text: string, { code = 0, item = DONE as typeof DONE | undefined, circumstances = CALM as Circumstances } = {}) {
  const lines = text.split(' | ').map((line, index) => (/^beside/.test(line) ? line : `${line} ${index + 1}`))
  return judgeItem(readLedger(lines.join('\n')), code, item, 8, circumstances).map(({ kind }) => kind)
}
type Circumstances = Parameters<typeof judgeItem>[4]

describe('the judge of the SLURM drill', () => {
  it('has nothing against one full run', () => {
    expect(judge('start t1 1 10 | end t1 1 10')).toEqual([])
  })

  it('has nothing against a full run after one that was cut off', () => {
    expect(judge('start t1 1 10 | start t1 2 11 | end t1 2 11')).toEqual([])
  })

  it.each([
    ['of one attempt', 'start t1 1 10 | end t1 1 10 | start t1 2 11 | end t1 2 11'],
    ['of two attempts', 'start t0 1 10 | end t0 1 10 | start t1 1 11 | end t1 1 11'],
  ])('calls two full runs %s doubled', (_, text) => {
    expect(judge(text)).toEqual(['doubled'])
  })

  it('calls two starts that overlap doubled', () => {
    expect(judge('start t0 1 10 | start t1 1 11 | end t0 1 10')).toContain('doubled')
    expect(judge('start t0 1 10 | beside 10 | start t1 1 11 | end t1 1 11')).toEqual(['doubled'])
  })

  it('forgives a full run only when a blow kept it from leaving its record', () => {
    const text = 'start t1 1 10 | end t1 1 10 | start t1 2 11 | end t1 2 11'
    const leftOpen = ({ start }: { start: number }) => start === 1
    expect(judge(text, { circumstances: { blows: [{ from: 2.5, to: 3 }], leftOpen } })).toEqual([])
    expect(judge(text, { circumstances: { blows: [{ from: 2.5, to: 3 }], leftOpen: () => false } })).toEqual(['doubled'])
    expect(judge(text, { circumstances: { blows: [{ from: 7.5, to: 8 }], leftOpen } })).toEqual(['doubled'])
  })

  it.each([
    ['was said to be done and never ran', '', DONE],
    ['was said to be done and was cut off', 'start t1 1 10', DONE],
    ['ran, and is not concluded', 'start t1 1 10 | end t1 1 10', { ...DONE, state: 'submitted' }],
    ['ran well, and is said to be lost', 'start t1 1 10 | end t1 1 10', { ...DONE, state: 'failed', outcome: 'lost' }],
    ['ran, and nothing is known of it', 'start t1 1 10 | end t1 1 10', undefined],
  ])('calls lost what %s', (_, text, item) => {
    expect(judgeItem(readLedger(text.replaceAll(' | ', '\n')), 0, item, 8, CALM).map(({ kind }) => kind)).toEqual(['lost'])
  })

  it('calls a job that fails and is said to be killed lost', () => {
    const item = { ...DONE, state: 'failed', outcome: 'killed', exitCode: 3 }
    expect(judge('start t1 1 10 | end t1 1 10', { code: 3, item })).toEqual(['lost'])
  })

  it.each([
    ['another exit code', 3, { ...DONE, state: 'failed', outcome: 'failed', exitCode: 1 }],
    ['another result', 0, { ...DONE, value: 9 }],
    ['the result of another attempt', 0, { ...DONE, tag: 't2' }],
  ])('calls %s wrong', (_, code, item) => {
    expect(judge('start t1 1 10 | end t1 1 10', { code, item })).toEqual(['wrong'])
  })
})
