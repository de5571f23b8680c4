import { parse } from 'csv-parse/sync'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import type { ResultRecord } from '../../src/model/result.js'
import { columnsOf, csvChunks, tableRows, tableToCsv, tableToJsonl } from '../../src/report/table.js'

const record = (
  combination: ResultRecord['combination'],
  values: ResultRecord['values'],
  more: Partial<ResultRecord> = {},
): ResultRecord => ({
  id: 'abc',
  combination,
  repetition: 1,
  attempt: 2,
  values,
  startedAt: 1_700_000_000_000,
  endedAt: 1_700_000_001_500,
  host: 'newton',
  ...more,
})

describe('the tidy table', () => {
  it('has factors, repetition, attempt, results, then how the attempt ran', () => {
    const records = [record({ cores: 8 }, { speed: 1.5 })]
    const columns = columnsOf(records, { factors: ['cores'], results: ['speed'] })
    expect(tableToCsv(tableRows(records, columns), columns.all)).toBe(
      'cores,repetition,attempt,speed,seconds,host,started,ended,id\n8,1,2,1.5,1.5,newton,2023-11-14T22:13:20.000Z,2023-11-14T22:13:21.500Z,abc\n',
    )
  })
  it('leaves the names seconds and host to the campaign when it uses them', () => {
    expect(columnsOf([], { factors: ['host'], results: ['seconds'] }).all).toEqual([
      'host',
      'repetition',
      'attempt',
      'seconds',
      'job_seconds',
      'job_host',
      'started',
      'ended',
      'id',
    ])
  })
  it('has an empty cell where a combination has no such factor or an attempt no such result', () => {
    const records = [record({ a: 1 }, {}), record({ a: 1, tol: 0.1 }, { r: 'x' }, { startedAt: undefined, host: undefined })]
    expect(tableToCsv(tableRows(records, columnsOf(records)))).toBe(
      'a,tol,repetition,attempt,r,seconds,host,started,ended,id\n1,,1,2,,1.5,newton,2023-11-14T22:13:20.000Z,2023-11-14T22:13:21.500Z,abc\n1,0.1,1,2,x,,,,2023-11-14T22:13:21.500Z,abc\n',
    )
  })
  it('writes a head line also without rows, when the columns are known', () => {
    expect(tableToCsv([], ['a', 'b'])).toBe('a,b\n')
    expect(tableToCsv([])).toBe('')
  })
  it('writes every kind of value', () => {
    expect(tableToCsv([{ a: true, b: 12n, c: [1, 'x'], d: Number.NaN, e: -0, f: '', g: null, h: 1e-7, i: '=1+1' }])).toBe(
      'a,b,c,d,e,f,g,h,i\ntrue,12,"[1,""x""]",NaN,-0,"",,1e-7,=1+1\n',
    )
    expect(tableToJsonl([{ a: Number.NaN, b: 12n, c: 2n ** 70n, d: Infinity, e: 'x\ny' }])).toBe(
      '{"a":"NaN","b":12,"c":"1180591620717411303424","d":"Infinity","e":"x\\ny"}\n',
    )
  })
  it('gives every text back byte for byte', () => {
    fc.assert(
      fc.property(fc.array(anyText(), { minLength: 1, maxLength: 20 }), (texts) => {
        const csv = tableToCsv(texts.map((text) => ({ text, last: 'x' })))
        const back = parse(csv, { columns: true, record_delimiter: '\n' }) as { text: string }[]
        expect(back.map(({ text }) => text)).toEqual(texts)
      }),
    )
  })
  it('comes in pieces that make the same text', () => {
    const rows = Array.from({ length: 2500 }, (_, i) => ({ i, t: `a,${i}` }))
    const chunks = [...csvChunks(rows)]
    expect(chunks.length).toBe(3)
    expect(chunks.join('').split('\n').length).toBe(2502)
  })
})
