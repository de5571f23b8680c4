import { chmodSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadCampaign, runCampaign } from '../../../src/api/runs.js'
import { MemoryScheduler } from '../../../src/testing/memory-scheduler.js'
import { runSquares, scratch, site, squares } from './lab.js'

describe('a campaign file that cannot be read', () => {
  it('is told from one that is not there', async () => {
    const folder = scratch()
    symlinkSync('loop.yaml', join(folder, 'loop.yaml'))
    mkdirSync(join(folder, 'folder.yaml'))
    writeFileSync(join(folder, 'plain.yaml'), 'name: x\n')
    await expect(loadCampaign(join(folder, 'gone.yaml'))).rejects.toMatchObject({ code: 'E_CAMPAIGN_NOT_FOUND' })
    await expect(loadCampaign(join(folder, 'plain.yaml', 'campaign.yaml'))).rejects.toMatchObject({ code: 'E_CAMPAIGN_NOT_FOUND' })
    await expect(loadCampaign(join(folder, 'loop.yaml'))).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringMatching(/loop\.yaml cannot be read: ELOOP/),
    })
    await expect(loadCampaign(join(folder, 'folder.yaml'))).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringMatching(/is not a file/),
    })
  })

  it.skipIf(process.getuid?.() === 0).each(['campaign.yaml', 'campaign.ts'])('%s without the right to read (not as root)', async (name) => {
    const file = join(scratch(), name)
    writeFileSync(file, 'name: x\n')
    chmodSync(file, 0o000)
    await expect(loadCampaign(file)).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringMatching(/cannot be read: EACCES/),
    })
  })

  it('says the line of a mistake in YAML and in code', async () => {
    const folder = scratch()
    writeFileSync(join(folder, 'broken.yaml'), 'name: x\nfactors: [1\njob: {}\n')
    writeFileSync(join(folder, 'broken.mjs'), 'const a = 1\nthrow new Error("no such table")\n')
    await expect(loadCampaign(join(folder, 'broken.yaml'))).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringMatching(/broken\.yaml, line \d/),
    })
    await expect(loadCampaign(join(folder, 'broken.mjs'))).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringMatching(/no such table/),
      suggestions: [expect.stringMatching(/^Look at line 2 /)],
    })
  })
})

describe('a script or input that cannot be read', () => {
  it.each([
    ['a template', { job: { script: 'loop.sh' } }, /the template loop\.sh does not exist or cannot be read/],
    ['an input file', { files: ['loop.sh'] }, /the file loop\.sh does not exist or cannot be read/],
  ])('%s is refused before anything runs', async (_what, more, message) => {
    const folder = scratch()
    symlinkSync('loop.sh', join(folder, 'loop.sh'))
    const definition = squares(more as never).options
    writeFileSync(join(folder, 'campaign.json'), JSON.stringify(definition))
    const scheduler = new MemoryScheduler()
    const directory = join(folder, 'run')
    await expect(runCampaign({ campaign: join(folder, 'campaign.json'), directory, site, scheduler })).rejects.toMatchObject({
      code: 'E_CAMPAIGN_NOT_FOUND',
      message: expect.stringMatching(message),
      suggestions: [expect.stringContaining(folder)],
    })
    expect(scheduler.entries).toHaveLength(0)
    expect(existsSync(directory)).toBe(false)
  })
})

describe('a run directory', () => {
  it.skipIf(process.getuid?.() === 0)('without the right to write is refused before anything runs (not as root)', async () => {
    const directory = join(scratch(), 'run')
    const scheduler = new MemoryScheduler()
    mkdirSync(directory)
    chmodSync(directory, 0o555)
    await expect(runSquares(directory, scheduler)).rejects.toMatchObject({ code: 'E_RUN_DIRECTORY' })
    expect(scheduler.entries).toHaveLength(0)
  })
})
