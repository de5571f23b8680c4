import { chownSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MuxControl } from '../../src/ssh/mux-control.js'

const isRoot = process.getuid?.() === 0

/** Says what a master says: its version, and that it lives. */
const words = Buffer.from('0000000800000001000000040000000c80000005000000000000002a', 'hex')

describe('the control socket of a master', () => {
  let directory: string
  let path: string
  let server: Server
  let asked = 0
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'cahier-mux-'))
    path = join(directory, 'm1')
    asked = 0
    server = createServer((socket) => {
      asked += 1
      socket
        .on('error', () => {})
        .resume()
        .write(words)
    })
    await new Promise<void>((resolve) => server.listen(path, resolve))
  })
  afterEach(async () => {
    await new Promise((resolve) => server.close(resolve))
    rmSync(directory, { recursive: true })
  })

  it('is used when a master of ours answers there', async () => {
    const control = await MuxControl.open(path)
    expect(control?.pid).toBe(42)
    control?.close()
    expect(await MuxControl.isLive(path)).toBe(true)
  })

  it('is none where nothing is', async () => {
    expect(await MuxControl.open(join(directory, 'm2'))).toBeUndefined()
    expect(await MuxControl.isLive(join(directory, 'm2'))).toBe(false)
  })

  it.skipIf(!isRoot)(`is not used when it is somebody else's${isRoot ? '' : ' (needs root)'}`, async () => {
    chownSync(path, 65_534, 65_534)
    expect(await MuxControl.open(path)).toBeUndefined()
    expect(await MuxControl.isLive(path)).toBe(false)
    expect(asked).toBe(0)
  })
})
