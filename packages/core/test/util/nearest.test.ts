import { describe, expect, it } from 'vitest'
import { nearestName } from '../../src/util/nearest.js'

describe('nearestName', () => {
  const known = ['repetitions', 'resources', 'results', 'report', 'retry', 'x']

  it.each([
    ['repetition', 'repetitions'],
    ['repetitoins', 'repetitions'],
    ['Results', 'results'],
    ['resorces', 'resources'],
    ['retyr', 'retry'],
  ])('finds for %s the name %s', (word, name) => {
    expect(nearestName(word, known)).toBe(name)
  })

  it.each(['factors', 'walltime', '', 'zzzzz', 'y'.repeat(100_000)])('finds nothing near %s', (word) => {
    expect(nearestName(word.slice(0, 100_000), known.slice(0, -1))).toBeUndefined()
  })

  it('finds nothing among nothing', () => {
    expect(nearestName('x', [])).toBeUndefined()
  })
})
