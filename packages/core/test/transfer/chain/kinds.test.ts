import { describe, expect, it } from 'vitest'
import { chooseAgents } from '../../../src/transfer/chain/kinds.js'

describe('chooseAgents', () => {
  it.each([
    [0, 1, 'pl'],
    [10e6, 999, 'pl'],
    [10e6, 1000, 'py'],
    [16e6 - 1, 1, 'pl'],
    [16e6, 1, 'py'],
    [10e9, 1, 'py'],
  ])('takes for %d bytes in %d files %s first, and the other where it is missing', (bytes, files, first) => {
    const kinds = chooseAgents(bytes, files)
    expect(kinds[0]).toBe(first)
    expect([...kinds].sort()).toEqual(['pl', 'py'])
  })
})
