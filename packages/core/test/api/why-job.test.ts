import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { readSchedulerWords } from '../../src/api/jobs/why-job.js'
import type { AttemptReport, ItemReport } from '../../src/model/run.js'

describe('readSchedulerWords', () => {
  let run = ''
  let directory = ''
  const item = (): ItemReport => ({
    id: 'x/r1',
    combination: {},
    repetition: 1,
    state: 'failed',
    detail: '',
    attempts: [{ attempt: 1, directory, detail: '' } as AttemptReport],
  })
  const words = () => readSchedulerWords(run, item())

  beforeEach(() => {
    run = mkdtempSync(join(tmpdir(), 'cahier-words-'))
    onTestFinished(() => rmSync(run, { recursive: true, force: true }))
    directory = join(run, 'combinations/x/r1-a1')
    mkdirSync(directory, { recursive: true })
    mkdirSync(join(run, 'submissions'))
  })

  it('gives the last lines about a job that was submitted alone', () => {
    writeFileSync(join(directory, 'scheduler.log'), `${[1, 2, 3, 4, 5, 6, 7].join('\n')}\n`)
    expect(words()).toEqual({ text: '3\n4\n5\n6\n7', file: join(directory, 'scheduler.log'), isOfGroup: false })
  })

  it('gives those about the array that a job came with, in its last submission', () => {
    writeFileSync(join(directory, 'submission'), 'g-0 1\ng-1 4\n')
    writeFileSync(join(run, 'submissions/g-0.log'), 'old\n')
    writeFileSync(join(run, 'submissions/g-1.log'), 'out of memory\n')
    expect(words()).toEqual({ text: 'out of memory', file: join(run, 'submissions/g-1.log'), isOfGroup: true })
  })

  it('gives what came home of them where the array was submitted on another machine', () => {
    writeFileSync(join(directory, 'submission'), 'g-1 4\n')
    writeFileSync(join(directory, 'scheduler.log'), '# the end of /there/g-1.log\nout of memory\n')
    expect(words()).toMatchObject({ text: '# the end of /there/g-1.log\nout of memory', isOfGroup: true })
  })

  it('has nothing where the scheduler wrote nothing, or the job was never tried', () => {
    expect(words()).toBeUndefined()
    writeFileSync(join(directory, 'scheduler.log'), '\n')
    expect(words()).toBeUndefined()
    expect(readSchedulerWords(run, { ...item(), attempts: [] })).toBeUndefined()
  })
})
