import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { parseExitRecord, readExitRecord } from '../../src/scheduler/exit-record.js'

const whole = { version: 1, tag: 't', exitCode: 3, reason: 'exited', startedAt: 1, endedAt: 2.5, host: 'h', start: 1 }

describe('parseExitRecord', () => {
  it('reads what the wrapper writes', () => {
    expect(parseExitRecord(`${JSON.stringify(whole)}\n`, 't')).toEqual(whole)
  })

  it.each([
    ['', 't'],
    ['{"version":1,"tag":"t"', 't'],
    ['[]', 't'],
    [JSON.stringify({ ...whole, version: 2 }), 't'],
    [JSON.stringify({ ...whole, exitCode: 256 }), 't'],
    [JSON.stringify({ ...whole, reason: 'bored' }), 't'],
    [JSON.stringify(whole), 'other'],
  ])('refuses %j for the job %j', (text, tag) => {
    expect(parseExitRecord(text, tag)).toBeUndefined()
  })
})

describe('readExitRecord', () => {
  const directory = mkdtempSync(join(tmpdir(), 'cahier-record-'))
  afterAll(() => rmSync(directory, { recursive: true }))

  it('reads the one that is there', async () => {
    const there = mkdtempSync(join(directory, 'there-'))
    writeFileSync(join(there, 'exit.json'), JSON.stringify(whole))
    expect(await readExitRecord({ directory: there, tag: 't' })).toEqual(whole)
  })

  it('finds none where there is none', async () => {
    expect(await readExitRecord({ directory, tag: 't' })).toBeUndefined()
    expect(await readExitRecord({ directory: join(directory, 'gone'), tag: 't' })).toBeUndefined()
  })

  it('does not take a file that cannot be read for an absent one', async () => {
    mkdirSync(join(directory, 'exit.json'))
    await expect(readExitRecord({ directory, tag: 't' })).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT' })
  })
})
