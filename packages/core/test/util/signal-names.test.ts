import { describe, expect, it } from 'vitest'
import { signalName } from '../../src/util/signal-names.js'

describe('signalName', () => {
  it.each([
    [9, 'SIGKILL'],
    [15, 'SIGTERM'],
    [6, 'SIGABRT'],
  ])('names %i', (number, name) => {
    expect(signalName(number)).toBe(name)
  })

  it.each([0, 127, -1])('refuses %i', (number) => {
    expect(signalName(number)).toBeUndefined()
  })
})
