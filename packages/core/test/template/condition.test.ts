import { describe, expect, it } from 'vitest'
import { LiquidRenderer } from '../../src/template/liquid-renderer.js'

const renderer = new LiquidRenderer()
const values = { cores: 8, python: 'system', on: true, off: false, nothing: null, big: 8n, list: [1, 'a'], deep: { tol: 0.5 } }

describe('evaluateCondition', () => {
  it.each([
    ["cores <= 16 and python == 'system'", true],
    ['cores < 8', false],
    ['cores >= 8 and cores <= 8', true],
    ['not on or off', false],
    ['not (on and off)', true],
    ['(cores == 4 or cores == 8) and python != "x"', true],
    ['cores == "8"', false],
    ['cores == big', true],
    ['nothing == nil', true],
    ['list contains "a"', true],
    ["python contains 'sys'", true],
    ['deep.tol == .5', true],
    ['list[0] == 1', true],
    ['cores > -1e3', true],
    ['off and missing == 1', false],
    ['on', true],
    ['nothing', false],
  ])('reads %s as %s', (text, wanted) => {
    expect(renderer.evaluateCondition(text, values)).toBe(wanted)
  })

  it.each([
    ['cores = 8', 'Write == to compare'],
    ['cores == 8 && on', 'Write and'],
    ['cores == 8 junk', undefined],
    ['', undefined],
    ['cores ==', undefined],
    ['(on', undefined],
    ['on and off or on', 'Put parentheses around the part that belongs together'],
    ['cores < python', 'Compare numbers with numbers, text with text'],
    ['cores == 8 %}{{ x', undefined],
  ])('refuses %j', (text, suggestion) => {
    expect(() => renderer.evaluateCondition(text, values)).toThrow(
      expect.objectContaining({ code: 'E_TEMPLATE', suggestions: [suggestion ?? expect.any(String)] }),
    )
  })

  it('names the nearest name of one that is not there', () => {
    expect(() => renderer.evaluateCondition('core == 8', values)).toThrow(
      expect.objectContaining({ code: 'E_TEMPLATE_NAME', suggestions: ['Write cores'] }),
    )
    expect(() => renderer.evaluateCondition('constructor == 8', values)).toThrow(expect.objectContaining({ code: 'E_TEMPLATE_NAME' }))
  })
})
