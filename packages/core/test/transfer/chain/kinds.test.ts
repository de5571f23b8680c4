import { describe, expect, it } from 'vitest'
import { chooseAgents } from '../../../src/transfer/chain/kinds.js'

describe('chooseAgents', () => {
  it.each([
    [0, 'pl'],
    [100e6, 'pl'],
    [128e6 - 1, 'pl'],
    [128e6, 'py'],
    [10e9, 'py'],
  ])('takes for %d bytes %s first, and the other where it is missing', (bytes, first) => {
    const kinds = chooseAgents(bytes)
    expect(kinds[0]).toBe(first)
    expect([...kinds].sort()).toEqual(['pl', 'py'])
  })
})
