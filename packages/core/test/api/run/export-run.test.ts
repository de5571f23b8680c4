import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { exportResults } from '../../../src/api/runs.js'
import { runSquares, scratch, squares, squaring, upTo } from './lab.js'

describe('exportResults', () => {
  it('gives the table as text, or the same bytes to a file', async () => {
    const folder = scratch()
    const directory = join(folder, 'run')
    // More rows than one piece of the table has.
    const campaign = squares({ factors: { n: upTo(550) }, repetitions: 2 })
    await runSquares(directory, squaring(), { campaign })
    for (const format of ['csv', 'jsonl'] as const) {
      const { rows, file, text } = await exportResults(directory, { format })
      expect([rows, file]).toEqual([1100, undefined])
      const to = join(folder, `table.${format}`)
      expect(await exportResults(directory, { format, to })).toEqual({ rows: 1100, file: to, text: '' })
      expect(readFileSync(to, 'utf8')).toBe(text)
      expect(text).toBe(readFileSync(join(directory, `results.${format}`), 'utf8'))
    }
    const { text } = await exportResults(directory, { format: 'csv' })
    expect(text.split('\n').slice(0, 2)).toEqual([
      'n,repetition,attempt,square,seconds,host,started,ended,id',
      expect.stringMatching(/^1,1,1,1,1,memory,/),
    ])
  })

  it('leaves out what failed', async () => {
    const directory = join(scratch(), 'run')
    await runSquares(
      directory,
      squaring([], (n) => (n === 2 ? { exitCode: 1 } : {})),
    )
    const { rows, text } = await exportResults(directory, { format: 'jsonl' })
    expect(rows).toBe(3)
    expect(
      text
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as { n: number }).n),
    ).toEqual([1, 3, 4])
  })

  it('says which file could not be written', async () => {
    const folder = scratch()
    const directory = join(folder, 'run')
    await runSquares(directory, squaring())
    mkdirSync(join(folder, 'taken'))
    for (const to of [join(folder, 'no', 'such', 'folder.csv'), join(folder, 'taken')]) {
      await expect(exportResults(directory, { format: 'csv', to })).rejects.toMatchObject({
        code: 'E_STORE_IO',
        message: expect.stringContaining(to),
      })
    }
    expect(existsSync(join(folder, 'no'))).toBe(false)
  })
})
