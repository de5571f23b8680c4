import { describe, expect, it } from 'vitest'
import { lastLine } from '../../src/engine/attempt-files.js'

describe('what a failed job said last', () => {
  it('is its last line', () => {
    expect(lastLine('first\n  second  \n\n')).toBe('second')
  })

  it('is no line of dashes, in which Open MPI frames its messages', () => {
    expect(lastLine('-----\nThere are not enough slots available\n-----\n')).toBe('There are not enough slots available')
  })

  it('may be in any script', () => {
    expect(lastLine('erreur: mémoire épuisée\n不足\n***\n')).toBe('不足')
  })

  it('is what there is, when it said nothing in words, or nothing', () => {
    expect(lastLine('...\n')).toBe('...')
    expect(lastLine(' \n\n')).toBe('')
  })
})
