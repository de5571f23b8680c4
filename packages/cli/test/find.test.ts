import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findCampaignFile } from '../src/campaign-file.js'
import { findRunDirectory, findRunOf } from '../src/run-directory.js'
import { makeFolder } from './cahier.js'

describe('findCampaignFile', () => {
  it.each([
    ['campaign.ts', { 'campaign.ts': '', 'solver.mjs': '', 'cahier.config.yaml': '' }],
    ['campaign.yaml', { 'campaign.yaml': '', 'other.yaml': '', 'nightly.campaign.yaml': '' }],
    ['onset.campaign.js', { 'onset.campaign.js': '', 'solver.js': '' }],
    ['onset.yml', { 'onset.yml': '', 'cahier.config.yaml': '', 'solver.js': '' }],
  ])('takes %s of a folder', async (name, files) => {
    const folder = makeFolder(files)
    expect(await findCampaignFile(folder)).toBe(join(folder, name))
  })

  it('takes the file that is named, whatever its name', async () => {
    const folder = makeFolder({ 'odd name.js': '' })
    expect(await findCampaignFile(join(folder, 'odd name.js'))).toBe(join(folder, 'odd name.js'))
  })

  it.each([
    ['an empty folder', {}, 'there is no campaign file in'],
    ['a folder with programs only', { 'solver.mjs': '' }, 'there is no campaign file in'],
    ['two that could be meant', { 'campaign.ts': '', 'campaign.yaml': '' }, 'has several campaign files: campaign.ts, campaign.yaml'],
    ['two without that name', { 'a.yaml': '', 'b.yaml': '' }, 'has several campaign files: a.yaml, b.yaml'],
  ])('refuses %s', async (_what, files: Record<string, string>, message) => {
    await expect(findCampaignFile(makeFolder(files))).rejects.toMatchObject({
      code: 'E_CAMPAIGN_NOT_FOUND',
      message: expect.stringContaining(message),
    })
  })

  it('refuses a path that does not exist', async () => {
    await expect(findCampaignFile(join(makeFolder(), 'nowhere.ts'))).rejects.toMatchObject({ code: 'E_CAMPAIGN_NOT_FOUND' })
  })
})

describe('findRunDirectory', () => {
  it('takes the folder itself when it is a run', async () => {
    const folder = makeFolder({ 'cahier.json': '{}', 'below/cahier.json': '{}' })
    expect(await findRunDirectory(folder)).toBe(folder)
  })

  it('takes the newest run of a folder', async () => {
    const folder = makeFolder({ 'b/cahier.json': '', 'a/cahier.json': '', 'c/cahier.json': '', 'd/notes.md': '' })
    utimesSync(join(folder, 'a/cahier.json'), 2000, 2000)
    utimesSync(join(folder, 'b/cahier.json'), 1000, 1000)
    utimesSync(join(folder, 'c/cahier.json'), 1000, 1000)
    expect(await findRunDirectory(folder)).toBe(join(folder, 'a'))
  })

  it('refuses a folder without runs, and one that is not there', async () => {
    await expect(findRunDirectory(makeFolder({ 'x/notes.md': '' }))).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    await expect(findRunDirectory('/nowhere/at/all')).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
})

describe('findRunOf', () => {
  it('takes the newest run of this campaign file, also a finished one', async () => {
    const folder = makeFolder({
      'a/cahier.json': '{"campaignFile":"/w/x.yaml"}',
      'b/cahier.json': '{"campaignFile":"/w/y.yaml"}',
      'c/cahier.json': '{"campaignFile":"/w/x.yaml"}',
      'd/cahier.json': '{ torn',
    })
    utimesSync(join(folder, 'a/cahier.json'), 2000, 2000)
    expect(await findRunOf('/w/x.yaml', folder)).toBe(join(folder, 'c'))
    utimesSync(join(folder, 'c/cahier.json'), 1000, 1000)
    expect(await findRunOf('/w/x.yaml', folder)).toBe(join(folder, 'a'))
    expect(await findRunOf('/w/z.yaml', folder)).toBeUndefined()
  })
})
