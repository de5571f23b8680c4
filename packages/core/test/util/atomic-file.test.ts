import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { writeFileAtomic, writeFileAtomicSync } from '../../src/util/atomic-file.js'
import { scratch } from '../store/scratch.js'

describe.each([
  ['writeFileAtomic', writeFileAtomic],
  ['writeFileAtomicSync', async (...args: Parameters<typeof writeFileAtomicSync>): Promise<void> => writeFileAtomicSync(...args)],
] as const)('%s', (_name, write) => {
  it.each([true, false])('replaces a file and leaves nothing else (durable: %s)', async (durable) => {
    const directory = scratch()
    const path = join(directory, 'file.json')
    await write(path, 'old', { durable })
    await write(path, Buffer.from('new'), { durable })
    expect(fs.readFileSync(path, 'utf8')).toBe('new')
    expect(fs.readdirSync(directory)).toEqual(['file.json'])
  })

  it('takes names as long as the file system does', async () => {
    const path = join(scratch(), 'n'.repeat(255))
    await write(path, 'x')
    expect(fs.readFileSync(path, 'utf8')).toBe('x')
  })

  it('refuses with the error of the system and leaves nothing behind', async () => {
    const directory = scratch()
    fs.mkdirSync(join(directory, 'taken'))
    fs.writeFileSync(join(directory, 'taken', 'x'), '')
    await expect(write(join(directory, 'taken'), 'x')).rejects.toEqual(
      expect.objectContaining({ code: expect.stringMatching(/EISDIR|ENOTEMPTY/) }),
    )
    await expect(write(join(directory, 'missing', 'file'), 'x')).rejects.toEqual(expect.objectContaining({ code: 'ENOENT' }))
    expect(fs.readdirSync(directory)).toEqual(['taken'])
  })
})
