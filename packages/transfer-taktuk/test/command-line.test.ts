import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isPlainName, renderCommandLine } from '../src/command-line.js'
import { taktukOptions } from '../src/options.js'
import { closeWords, execWords, inputWords, renderSet } from '../src/words.js'

const host = (destination: string, connector = 'ssh', connectTimeoutMs = 1500) => ({ destination, connector, connectTimeoutMs })
/** What follows the templates. */
const tail = (words: readonly string[]) => words.slice(words.lastIndexOf('-o') + 2)

describe('renderCommandLine', () => {
  it('names hosts after their connector and its limit, in whole seconds that are not less', () => {
    const words = renderCommandLine([host('a'), host('b')], taktukOptions.parse({}))
    expect(tail(words)).toEqual(['-c', 'ssh', '-t', '2', '-m', 'a', '-m', 'b'])
  })

  it('keeps hosts apart that are reached in other ways', () => {
    const words = renderCommandLine([host('a'), host('b', 'ssh -p 23'), host('c', 'ssh -p 23')], taktukOptions.parse({}))
    expect(tail(words)).toEqual(
      ['-b', '-c', 'ssh', '-t', '2', '-m', 'a', '-e'].concat(['-b', '-c', 'ssh -p 23', '-t', '2', '-m', 'b', '-m', 'c', '-e']),
    )
  })

  it.each([
    ['flat', '-1'],
    ['chain', '1'],
    ['dynamic', '0'],
    [3, '3'],
  ])('says the topology %s as %s', (topology, arity) => {
    const words = renderCommandLine([host('a')], taktukOptions.parse({ topology }))
    expect(words[words.indexOf('-d') + 1]).toBe(arity)
  })

  it('holds no blank in what is passed on to hosts', () => {
    const words = renderCommandLine([host('a')], taktukOptions.parse({}))
    const templates = words.filter((_, index) => words[index - 1] === '-o')
    expect(templates.length).toBeGreaterThan(5)
    expect(templates.filter((template) => /\s/.test(template))).toEqual([])
  })

  it.each(['n[1-3]', 'a,b', 'a/b', '-x', '', 'a b', 'a;b'])('refuses %j as the name of one host', (name) => {
    expect(isPlainName(name)).toBe(false)
  })

  it.each(['node1', 'n.example.org', 'me@n', '::1', '10.0.0.1', 'a_b'])('takes %j', (name) => {
    expect(isPlainName(name)).toBe(true)
  })
})

describe('words for taktuk', () => {
  it.each([
    [[1], '1'],
    [[3, 1, 2], '1-3'],
    [[1, 2, 4, 6, 7], '1-2/4/6-7'],
  ])('writes the ranks %j as %s', (ranks, text) => {
    expect(renderSet(ranks)).toBe(text)
  })

  it('separates words with what text does not hold', () => {
    expect(execWords('2', 7, 'echo a; b').toString('latin1')).toBe('2\x1fexec\x1ftarget\x1f7\x1f[\x1fecho a; b\x1f]\x1e')
    expect(closeWords('1-3', 7).toString('latin1')).toBe('1-3\x1finput\x1ftarget\x1f7\x1fclose\x1e')
  })

  it('escapes separators in text, and a text that would close itself', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (data) => {
        const words = inputWords('1', 2, data).toString('latin1')
        const text = words.slice('1\x1finput\x1ftarget\x1f2\x1fdata\x1f[\x1f'.length, -'\x1f]\x1e'.length)
        expect(text.replace(/\x1d[\x1d-\x1f]/g, '')).not.toMatch(/[\x1e\x1f]/)
        expect(text).not.toBe(']')
        expect(text.replace(/\x1d([\s\S])/g, '$1')).toBe(Buffer.from(data).toString('latin1'))
      }),
    )
    expect(inputWords('1', 2, Buffer.from(']')).toString('latin1')).toMatch(/\x1d\]\x1f\]\x1e$/)
  })
})
