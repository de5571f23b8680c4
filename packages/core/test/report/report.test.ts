import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { renderReport } from '../../src/report/html.js'
import { formatSpread } from '../../src/report/html-tables.js'
import { writeReportFiles } from '../../src/report/write-report.js'
import { sampleInput } from './sample-report.js'

describe('renderReport', () => {
  const html = renderReport(sampleInput())

  it('is one page that loads nothing', () => {
    expect(html).toMatch(/^<!doctype html>/)
    expect(html).not.toMatch(/<(?:link|img|iframe|object|embed)\b|\bsrc=|@import|url\(/)
    const addresses = [...html.matchAll(/(?:href|xmlns)="([^"]*)"/g)].map((match) => match[1]!)
    expect(addresses.filter((address) => address.includes(':'))).toEqual(
      addresses.filter((address) => address === 'http://www.w3.org/2000/svg'),
    )
    expect(html).toContain("default-src 'none'")
  })
  it('shows counts, findings, figures, tables, failures, notes and provenance', () => {
    for (const text of [
      '<b>1050</b> done',
      '<b>3</b> failed',
      'The textbook says 657.511',
      'Where convection starts',
      '95 % interval',
      'no convergence after 500 iterations',
      'Ask Anne',
      '4f2c9d1e0b7a, with changes',
      'results.csv',
      '5 failures',
    ]) {
      expect(html).toContain(text)
    }
  })
  it('is the same for the same input', () => {
    expect(renderReport(sampleInput())).toBe(html)
  })
  it('escapes every text of the user', () => {
    const bad = '"><script>alert(1)</script><img src=x onerror=alert(1)>\u0007'
    const sample = sampleInput()
    const evil = renderReport({
      ...sample,
      campaign: { name: bad, description: bad },
      factors: [bad],
      results: [{ name: bad, unit: bad }, { name: 'word' }],
      records: [{ ...sample.records[0]!, combination: { [bad]: bad }, values: { [bad]: 3, word: bad }, host: bad, id: bad }],
      figures: [
        { kind: 'line', x: bad, y: bad, by: bad, scale: 'linear', title: bad },
        { kind: 'regime', x: bad, y: bad, outcome: 'word', by: bad, scale: 'linear' },
      ],
      findings: [{ title: bad, text: bad, ok: true }],
      failures: [{ ...sample.failures[0]!, combination: { [bad]: bad }, id: bad, detail: bad, tail: bad }],
      notes: bad,
      provenance: { command: bad, host: bad, site: bad, gitCommit: bad, directory: bad, more: [[bad, bad]] },
    })
    expect(evil.match(/<script/g)).toHaveLength(1)
    expect(evil).not.toMatch(/<img|\u0007/)
  })
  it('reads well before there is any result', () => {
    const empty = renderReport({
      ...sampleInput(),
      records: [],
      findings: [],
      failures: [],
      notes: '',
      counts: { total: 9, todo: 9, submitted: 0, running: 0, done: 0, failed: 0, invalid: 0, orphaned: 0 },
      provenance: {},
    })
    expect(empty).toContain('No results yet')
    expect(empty.slice(0, empty.indexOf('<script'))).not.toMatch(/NaN|undefined|Findings|failures/)
  })
})

describe('formatSpread', () => {
  it.each([
    [12.34567, 0.0123, '12.346'],
    [12.34567, 1.23, '12.3'],
    [12.34567, 123, '12'],
    [0.000012346, 0.0000002, '1.235×10⁻⁵'],
    [5, undefined, '5'],
    [-0.5, 0.1, '−0.50'],
    [1234567, 1000, '1.2346×10⁶'],
  ])('writes %f with a spread of %f as %s', (value, spread, wanted) => {
    expect(formatSpread(value, spread)).toBe(wanted)
  })
})

describe('writeReportFiles', () => {
  let directory: string
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'cahier-report-'))
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  it('writes tables, figures and the page, and nothing else stays', async () => {
    const input = sampleInput()
    const files = await writeReportFiles(directory, input)
    expect(readdirSync(directory).sort()).toEqual(['figures', 'report.html', 'results.csv', 'results.jsonl'])
    expect(files.figures.map((file) => readFileSync(file, 'utf8').startsWith('<svg'))).toEqual([true, true])
    const rows = parse(readFileSync(join(directory, 'results.csv')), { columns: true }) as Record<string, string>[]
    expect(rows).toHaveLength(input.records.length)
    // The campaign has a result of this name, so the time of the job is in another column.
    expect(Object.keys(rows[0]!)).toEqual([
      'boundary',
      'k',
      'Ra',
      'repetition',
      'attempt',
      'growth_rate',
      'seconds',
      'iterations',
      'job_seconds',
      'host',
      'started',
      'ended',
      'id',
    ])
    expect(JSON.parse(readFileSync(join(directory, 'results.jsonl'), 'utf8').split('\n')[0]!)).toMatchObject({
      boundary: 'free-slip',
      k: 1,
    })
    expect(readFileSync(files.file, 'utf8')).toBe(renderReport(input))
  })
  it('removes its figures of an earlier report, and no file of anybody else', async () => {
    await writeReportFiles(directory, sampleInput())
    writeFileSync(join(directory, 'figures', 'mine.svg'), '')
    await writeReportFiles(directory, { ...sampleInput(), figures: [] })
    expect(readdirSync(join(directory, 'figures'))).toEqual(['mine.svg'])
  })
})
