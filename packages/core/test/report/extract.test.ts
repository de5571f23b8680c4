import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { ExtractSpec } from '../../src/model/campaign.js'
import { openCollectedFiles } from '../../src/report/collected-files.js'
import { describeProblems, extractValues } from '../../src/report/extract.js'
import { readNumber } from '../../src/report/read-number.js'
import { resultFieldsOf, resultSchemaOf } from '../../src/report/result-schema.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cahier-extract-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

const put = (name: string, text: string) => writeFileSync(join(directory, name), text)
const extract = (spec: Record<string, ExtractSpec>, schema?: z.ZodObject) =>
  extractValues(spec, openCollectedFiles(directory, { x: 1 }), schema)
const pattern = (text: string | RegExp, more: object = {}): ExtractSpec =>
  ({ from: 'stdout', pattern: text, take: 'last', ...more }) as ExtractSpec

describe('readNumber', () => {
  it.each([
    ['1', 1],
    [' -1.5e-3 ', -0.0015],
    ['+.5', 0.5],
    ['5.', 5],
    ['1.5D-03', 0.0015],
    ['1.5d3', 1500],
    ['0.123-104', 0.123e-104],
    ['2.5Q+10', 2.5e10],
    ['nan', Number.NaN],
    ['-Inf', -Infinity],
    ['Infinity', Infinity],
  ])('reads %j', (text, wanted) => {
    expect(readNumber(text)).toBe(wanted)
  })
  it.each(['', '1,5', '1 s', '1 2', '0x10', '*****', '1.5D', 'e5', '1_000', '--1', '1.2.3', '3-4'])('refuses %j', (text) => {
    expect(readNumber(text)).toBeUndefined()
  })
})

describe('patterns', () => {
  beforeEach(() => put('stdout', 'step 1: elapsed 1.5 s\nstep 2: elapsed 2.5D+00 s\nname: a b\nok: T\n'))

  it('take the first group of the last match, or of the first', async () => {
    const schema = z.object({ last: z.number(), first: z.number(), named: z.string(), whole: z.string(), ok: z.boolean() })
    const spec = {
      last: pattern(/elapsed (\S+) s/),
      first: pattern('^step \\d+: elapsed (\\S+)', { take: 'first' }),
      named: pattern(/(name): (?<value>.*)/),
      whole: pattern(/step \d/),
      ok: pattern(/^ok: (\w)$/m),
    }
    expect(await extract(spec, schema)).toEqual({ ok: true, values: { last: 2.5, first: 1.5, named: 'a b', whole: 'step 2', ok: true } })
  })

  it('keep text as text where the schema wants text', async () => {
    expect(await extract({ v: pattern(/step (\d)/) }, z.object({ v: z.string() }))).toEqual({ ok: true, values: { v: '2' } })
    expect(await extract({ v: pattern(/step (\d)/) })).toEqual({ ok: true, values: { v: 2 } })
  })

  it('show the line that does not fit', async () => {
    put('stdout', 'a\nelapsed ***** s\n')
    const result = await extract({ seconds: pattern(/elapsed (\S+) s/) }, z.object({ seconds: z.number() }))
    expect(result).toMatchObject({ ok: false, problems: [{ field: 'seconds', line: 'stdout:2: elapsed ***** s' }] })
    if (result.ok) throw new Error('the line was taken')
    expect(describeProblems(result.problems)).toContain('stdout:2: elapsed ***** s')
  })

  it('say what the last line was when nothing matches', async () => {
    expect(await extract({ seconds: pattern(/time (\S+)/) }, z.object({ seconds: z.number() }))).toEqual({
      ok: false,
      problems: [{ field: 'seconds', message: '/time (\\S+)/ is not in stdout', line: 'last line of stdout: ok: T' }],
    })
  })

  it('leave an optional result out, and refuse one that is out of bounds', async () => {
    expect(await extract({ a: pattern(/nope/) }, z.object({ a: z.number().optional() }))).toEqual({ ok: true, values: {} })
    expect(await extract({ a: pattern(/elapsed (\S+)/) }, z.object({ a: z.number().max(1) }))).toMatchObject({
      ok: false,
      problems: [{ field: 'a' }],
    })
    expect(await extract({}, z.object({ a: z.number() }))).toMatchObject({
      ok: false,
      problems: [{ field: 'a', message: expect.stringContaining('collect') }],
    })
  })

  it('find the last match of a large file from its end, and the first from its beginning', async () => {
    const filler = `${'x'.repeat(99)}\n`.repeat(60_000)
    put('stdout', `value 1\n${filler}value 2\n${filler}`)
    const schema = z.object({ first: z.number(), last: z.number(), whole: z.number() })
    const spec = { first: pattern(/^value (\d)$/m, { take: 'first' }), last: pattern('^value (\\d)$'), whole: pattern(/^value (\d)/) }
    expect(await extract(spec, schema)).toEqual({ ok: true, values: { first: 1, last: 2, whole: 1 } })
  })

  it('refuse to read a file that is too large as a whole', async () => {
    put('big', 'x'.repeat(2000))
    const files = openCollectedFiles(directory, {}, { limitBytes: 1000 })
    expect(() => files.text('big')).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
    expect(files.tail('big', 10)).toBe('x'.repeat(10))
    expect(files.head('big', 10)).toBe('x'.repeat(10))
  })

  it('refuse files outside of the job and say which file is missing', async () => {
    expect(await extract({ a: pattern(/x/, { from: '../../etc/passwd' }) })).toMatchObject({ ok: false })
    expect(await extract({ a: pattern(/x/, { from: '/etc/passwd' }) })).toMatchObject({ ok: false })
    expect(await extract({ a: pattern(/x/, { from: 'out.dat' }) })).toMatchObject({
      ok: false,
      problems: [{ message: 'there is no file out.dat' }],
    })
  })
})

describe('JSON, CSV and functions', () => {
  it('read a path of a JSON document, also on the last line of other output', async () => {
    put('stdout', 'hello\n{"times":[{"wall":1.5}],"name":"a","none":null}\n')
    const spec: Record<string, ExtractSpec> = {
      wall: { from: 'stdout', json: 'times[0].wall' },
      name: { from: 'stdout', json: 'name' },
      all: { from: 'stdout', json: '' },
    }
    expect(await extract(spec)).toMatchObject({ ok: true, values: { wall: 1.5, name: 'a', all: { name: 'a' } } })
    const missing = await extract({ a: { from: 'stdout', json: 'times[1].wall' } })
    expect(missing).toMatchObject({ ok: false, problems: [{ message: expect.stringContaining('times.1') }] })
    expect(await extract({ a: { from: 'stdout', json: 'toString' } })).toMatchObject({ ok: false })
  })
  it('do not turn JSON text into numbers', async () => {
    put('stdout', '{"a":"1.5"}')
    expect(await extract({ a: { from: 'stdout', json: 'a' } }, z.object({ a: z.number() }))).toMatchObject({ ok: false })
  })
  it.each(['', 'no json', '{"a": NaN}', '{"a": 1'])('refuse %j as JSON', async (text) => {
    put('stdout', text)
    expect(await extract({ a: { from: 'stdout', json: 'a' } })).toMatchObject({ ok: false })
  })
  it('read a column of a CSV file', async () => {
    put('t.csv', '# made by solver\nstep,residual\n1, 1e-3\n2,"2e-4"\n')
    const spec = (row: 'first' | 'last' | number): Record<string, ExtractSpec> => ({ r: { from: 't.csv', csv: 'residual', row } })
    expect(await extract(spec('last'))).toEqual({ ok: true, values: { r: 2e-4 } })
    expect(await extract(spec('first'))).toEqual({ ok: true, values: { r: 1e-3 } })
    expect(await extract(spec(-2))).toEqual({ ok: true, values: { r: 1e-3 } })
    expect(await extract(spec(2))).toMatchObject({ ok: false })
    expect(await extract({ r: { from: 't.csv', csv: 'nope', row: 'last' } })).toMatchObject({ ok: false })
  })
  it('call a function, and turn what it throws into a problem', async () => {
    put('stdout', 'a b c')
    expect(await extract({ words: (files) => files.stdout().split(' ').length })).toEqual({ ok: true, values: { words: 3 } })
    expect(await extract({ words: async () => 3 })).toEqual({ ok: true, values: { words: 3 } })
    expect(
      await extract({
        words: () => {
          throw new Error('no words')
        },
      }),
    ).toEqual({ ok: false, problems: [{ field: 'words', message: 'no words' }] })
  })
})

describe('resultSchemaOf', () => {
  const words = {
    s: { type: 'number', positive: true, unit: 's' },
    n: { type: 'integer', min: 0, max: 9 },
    w: { type: 'string', values: ['a', 'b'], optional: true },
    b: { type: 'boolean' },
  } as const
  it('makes the schema that the words say', () => {
    const schema = resultSchemaOf(words as never)
    expect(schema.safeParse({ s: 1, n: 0, b: true }).success).toBe(true)
    for (const wrong of [
      { s: 0, n: 0, b: true },
      { s: 1, n: 0.5, b: true },
      { s: 1, n: 10, b: true },
      { s: 1, n: 1, w: 'c', b: true },
      { s: 1, n: 1 },
      { s: Number.NaN, n: 1, b: true },
    ]) {
      expect(schema.safeParse(wrong).success).toBe(false)
    }
  })
  it('reads names, types and units from words and from a zod object alike', () => {
    const wanted = [
      { name: 's', type: 'number', unit: 's' },
      { name: 'n', type: 'integer', unit: undefined },
      { name: 'w', type: 'string', unit: undefined },
      { name: 'b', type: 'boolean', unit: undefined },
    ]
    expect(resultFieldsOf(words as never)).toEqual(wanted)
    expect(
      resultFieldsOf(z.object({ s: z.number().meta({ unit: 's' }), n: z.number().int(), w: z.enum(['a']).optional(), b: z.boolean() })),
    ).toEqual(wanted)
    expect(resultFieldsOf(undefined)).toEqual([])
  })
})
