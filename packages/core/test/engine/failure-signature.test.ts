import { describe, expect, it } from 'vitest'
import { FailureRow, failureSignature } from '../../src/engine/failure-signature.js'

describe('failureSignature', () => {
  it('is the same for failures that differ in numbers, paths and addresses', () => {
    const a = failureSignature('failed', 1, 'line 12: /tmp/run/n-1/bench.py: segfault at 0x7ffe')
    const b = failureSignature('failed', 1, 'line 7:  /tmp/run/n-22/bench.py: segfault at 0xdead')
    expect(a).toBe(b)
  })

  it('is the same for refusals that name different jobs', () => {
    const refusal = (tag: string, id: number) =>
      failureSignature('not-submitted', undefined, `sbatch: error: job ${tag} (${id}): Invalid partition name specified`)
    expect(refusal('cx-1f3a9c0b2d4e5f60-r2a1-x7k2m9', 1)).toBe(refusal('cx-00ff9c0b2d4e5f61-r1a1-x7k2m9', 27))
    expect(failureSignature('failed', 1, 'deadbeef is a word')).not.toBe(failureSignature('failed', 1, 'faceface is a word'))
  })

  it.each([
    ['exit code', failureSignature('failed', 1, 'x'), failureSignature('failed', 2, 'x')],
    ['outcome', failureSignature('failed', 1, 'x'), failureSignature('killed', 1, 'x')],
    ['last line', failureSignature('failed', 1, 'no module a'), failureSignature('failed', 1, 'no module b')],
  ])('differs by %s', (_what, a, b) => expect(a).not.toBe(b))
})

describe('FailureRow', () => {
  it('counts the same failure in a row and begins again after a success or another failure', () => {
    const row = new FailureRow()
    expect([row.failed('a'), row.failed('a'), row.failed('b'), row.failed('b')]).toEqual([1, 2, 1, 2])
    row.succeeded()
    expect(row.failed('b')).toBe(1)
  })
})
