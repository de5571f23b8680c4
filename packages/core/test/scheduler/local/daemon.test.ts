import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { JobSpec } from '../../../src/model/job.js'
import { LocalDaemon } from '../../../src/scheduler/local/daemon.js'
import { SpawnStarter } from '../../../src/scheduler/local/job-starter.js'
import { silentLogger } from '../../../src/system/log.js'

let directory = ''
let daemon: LocalDaemon
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'cahier-daemon-'))
  daemon = new LocalDaemon({ directory, starter: new SpawnStarter(), log: silentLogger })
  await daemon.open()
})
afterEach(async () => {
  await daemon.close()
  // A job outlives its daemon, so it may be making its files in this moment.
  await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
})

describe('LocalDaemon', () => {
  it('says "there is none" only after it has noted what was given to it before', async () => {
    const job: JobSpec = { tag: 'tag-1', name: 'job', script: '#!/bin/sh\n', directory, resources: {}, environment: {} }
    const submitted = daemon.submit([job], daemon.addBase({ PATH: '/usr/bin:/bin' }))
    const found = daemon.find(['tag-1'])
    expect(await found).toEqual({ 'tag-1': '1' })
    expect(await submitted).toEqual([{ id: '1' }])
    await daemon.cancel([{ id: '1', tag: 'tag-1' }])
  })
})
