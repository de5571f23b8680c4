import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defaultDirectory, makePrivateDirectory, socketPath } from '../../../src/scheduler/local/places.js'
import { LineReader } from '../../../src/scheduler/local/protocol.js'
import { holdsQueueLock, takeQueueLock } from '../../../src/scheduler/local/queue-lock.js'
import { Spool, type SpoolEntry } from '../../../src/scheduler/local/spool.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cahier-queue-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe('takeQueueLock', () => {
  it('is refused while its holder lives', () => {
    expect(takeQueueLock(directory)).toBe(1)
    expect(takeQueueLock(directory)).toBeUndefined()
    expect(holdsQueueLock(directory, 1)).toBe(true)
  })

  it.each([
    ['died', { pid: 2 ** 22 + 1, identity: '1' }],
    ['is another process with its number', { pid: process.pid, identity: 'another' }],
    ['was of an earlier boot', { pid: process.pid, identity: 'x', boot: 'earlier' }],
  ])('goes on to the next number when the holder %s', (_what, holder) => {
    writeFileSync(join(directory, 'lock.4'), JSON.stringify(holder))
    expect(takeQueueLock(directory)).toBe(5)
    expect(readdirSync(directory)).toEqual(['lock.5'])
  })

  it('goes on when a power cut left an empty lock', () => {
    writeFileSync(join(directory, 'lock.1'), '')
    expect(takeQueueLock(directory)).toBe(2)
  })
})

describe('Spool', () => {
  const entry = (id: string): SpoolEntry => ({ o: 'cancel', id })

  it('reads back what was committed and noted, in order', async () => {
    const spool = await Spool.write(directory, [{ o: 'spool', version: 1, next: 3 }])
    spool.note(entry('1'))
    await Promise.all([spool.commit([entry('2'), entry('3')]), spool.commit([entry('4')])])
    spool.note(entry('5'))
    await spool.close()
    expect(Spool.read(directory).slice(1)).toEqual(['1', '2', '3', '4', '5'].map(entry))
  })

  it('drops a torn last line and keeps the file aside', async () => {
    const spool = await Spool.write(directory, [entry('1')])
    await spool.close()
    appendFileSync(join(directory, 'jobs.jsonl'), '{"o":"cancel","id')
    expect(Spool.read(directory)).toEqual([entry('1')])
    expect(readFileSync(join(directory, 'jobs.jsonl.damaged'), 'utf8')).toContain('"id')
  })

  it('is empty where there is none', () => {
    expect(Spool.read(directory)).toEqual([])
  })

  it('loses nothing that is committed while it is written anew', async () => {
    const spool = await Spool.write(directory, [])
    const kept: SpoolEntry[] = []
    const commits = Array.from({ length: 50 }, async (_, n) => {
      if (n === 20) await spool.rewrite(() => [...kept])
      await spool.commit([entry(String(n))])
      kept.push(entry(String(n)))
    })
    await Promise.all(commits)
    await spool.close()
    const ids = new Set(Spool.read(directory).map((one) => ('id' in one ? one.id : '')))
    for (let n = 0; n < 50; n += 1) expect(ids).toContain(String(n))
  })
})

describe('places', () => {
  it('finds a short name for the socket of a deep directory', () => {
    expect(socketPath('/short')).toBe('/short/socket')
    const deep = `/${'deep/'.repeat(40)}queue`
    expect(Buffer.byteLength(socketPath(deep))).toBeLessThanOrEqual(100)
    expect(socketPath(deep)).not.toBe(socketPath(`${deep}2`))
  })

  it('makes a directory that only its owner can enter', () => {
    const own = join(directory, 'a', 'b')
    makePrivateDirectory(own)
    expect(statSync(own).mode & 0o777).toBe(0o700)
    writeFileSync(join(directory, 'file'), '')
    expect(() => makePrivateDirectory(join(directory, 'file', 'x'))).toThrow(expect.objectContaining({ code: 'E_SCHEDULER_SILENT' }))
    expect(existsSync(join(directory, 'file', 'x'))).toBe(false)
  })

  it('takes the state directory of the user only when it is absolute', () => {
    expect(defaultDirectory({ XDG_STATE_HOME: '/state' })).toMatch(/^\/state\/cahier\/local-/)
    expect(defaultDirectory({ XDG_STATE_HOME: 'state' })).toMatch(/^\/.*\.local\/state\/cahier\/local-/)
  })
})

describe('LineReader', () => {
  it('gives whole lines, wherever the chunks were cut', () => {
    const text = Buffer.from('{"a":"é"}\n\n{"b":1}\nrest')
    for (let size = 1; size <= text.length; size += 1) {
      const lines: string[] = []
      const reader = new LineReader((line) => lines.push(line))
      for (let from = 0; from < text.length; from += size) reader.push(text.subarray(from, from + size))
      expect(lines).toEqual(['{"a":"é"}', '', '{"b":1}'])
    }
  })
})
