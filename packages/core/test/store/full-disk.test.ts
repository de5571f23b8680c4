import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { JournalStore } from '../../src/store/journal-store.js'
import { Lease } from '../../src/store/lease.js'
import { JournalSweeper } from '../../src/sweep/journal-sweeper.js'
import { listSpace } from '../../src/sweep/list-space.js'
import { openCollecting, scratch } from './scratch.js'

const withCode = (code: string): unknown => expect.objectContaining({ code })

/** Only root may mount; everywhere else the limit of the file size below stands in. */
function mountSmall(directory: string): boolean {
  if (process.getuid?.() !== 0) return false
  const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=400k', 'cahier-test', directory])
  if (status === 0) onTestFinished(() => void execFileSync('umount', ['-l', directory]))
  return status === 0
}

/** A small file system of its own, unmounted before its folder is removed. */
function smallDisk(): string | undefined {
  const directory = scratch()
  return mountSmall(directory) ? directory : undefined
}

describe('a full disk', () => {
  it('loses nothing that was acknowledged, shows nothing that was not, and works again when there is room', async (context) => {
    const disk = smallDisk()
    if (disk === undefined) return context.skip('only root may mount a small file system')
    const { store, seen } = await openCollecting(disk)
    const acknowledged: unknown[] = []
    const append = async (n: number): Promise<void> => {
      const event = { type: 'n', n, text: 'x'.repeat(1000) }
      await store.append([event])
      acknowledged.push(event)
    }
    const fill = async (): Promise<void> => {
      for (let n = 0; ; n++) await append(n)
    }
    await expect(fill()).rejects.toEqual(withCode('E_STORE_FULL'))
    expect(acknowledged.length).toBeGreaterThan(50)
    expect(seen).toEqual(acknowledged)
    // again and again: refused before anything is decided
    let decisions = 0
    const decide = (): { events: []; value: undefined } => {
      decisions++
      return { events: [], value: undefined }
    }
    await expect(store.transact(decide)).rejects.toEqual(withCode('E_STORE_FULL'))
    expect(decisions).toBe(0)
    const reader = await openCollecting(disk, { readOnly: true })
    expect(reader.seen).toEqual(acknowledged)
    await reader.store[Symbol.asyncDispose]()
    await expect(openCollecting(disk)).rejects.toEqual(withCode('E_STORE_FULL'))
    await store[Symbol.asyncDispose]()
  })

  it('goes on after room was made, without being opened again', async (context) => {
    const disk = smallDisk()
    if (disk === undefined) return context.skip('only root may mount a small file system')
    const { store, seen } = await openCollecting(disk)
    await store.append([{ type: 'before' }])
    fs.writeFileSync(join(disk, 'other'), Buffer.alloc(200_000))
    const big = { type: 'big', text: 'x'.repeat(150_000) }
    await store.append([big])
    await expect(store.append([big])).rejects.toEqual(withCode('E_STORE_FULL'))
    fs.rmSync(join(disk, 'other'))
    await store.append([big])
    expect(seen).toEqual([{ type: 'before' }, big, big])
    await store[Symbol.asyncDispose]()
    const again = await openCollecting(disk, { readOnly: true })
    expect(again.seen).toEqual(seen)
    expect(fs.readdirSync(join(disk, 'journal')).filter((name) => name.startsWith('torn'))).toEqual([])
    await again.store[Symbol.asyncDispose]()
  })

  it('gives no claim that is not written, and the claims made before can be ended later', async (context) => {
    const disk = smallDisk()
    if (disk === undefined) return context.skip('only root may mount a small file system')
    const store = new JournalStore(disk)
    const sweeper = new JournalSweeper(store, listSpace(Array.from({ length: 100 }, (_, n) => n)), { directory: store.journalDirectory })
    await store.open()
    await sweeper.open()
    const claim = await sweeper.next()
    // the last page of the journal is in use: fill the disk, then the rest of that page
    const filler = fs.openSync(join(disk, 'other'), 'w')
    expect(() => {
      for (;;) fs.writeSync(filler, Buffer.alloc(4096))
    }).toThrow(expect.objectContaining({ code: 'ENOSPC' }))
    fs.closeSync(filler)
    await expect(claim!.fail('x'.repeat(5000))).rejects.toEqual(withCode('E_STORE_FULL'))
    await expect(sweeper.next()).rejects.toEqual(withCode('E_STORE_FULL'))
    expect(sweeper.stats()).toMatchObject({ todo: 99, claimed: 1, failed: 0 })
    fs.rmSync(join(disk, 'other'))
    await claim!.done()
    expect((await sweeper.next())?.index).toBe(1)
    expect(sweeper.stats()).toMatchObject({ todo: 98, claimed: 1, done: 1 })
    await sweeper[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  })

  it('is told by a limit of the file size as well', () => {
    const directory = scratch()
    const program = `
      import { JournalStore } from ${JSON.stringify(new URL('../../dist/store/journal-store.js', import.meta.url).href)}
      const store = new JournalStore(${JSON.stringify(directory)})
      let seen = 0
      store.fold(() => { seen++ }, { reset: () => { seen = 0 } })
      await store.open()
      let acknowledged = 0
      try { for (;;) { await store.append([{ type: 'n', text: 'x'.repeat(100) }]); acknowledged++ } }
      catch (error) { console.log(JSON.stringify({ code: error.code, seen, acknowledged })) }
      await store[Symbol.asyncDispose]()`
    // blocks of 512 bytes
    const { stdout } = spawnSync('sh', ['-c', `ulimit -f 32; exec "$0" --input-type=module -e "$1"`, process.execPath, program], {
      encoding: 'utf8',
    })
    const { code, seen, acknowledged } = JSON.parse(stdout) as { code: string; seen: number; acknowledged: number }
    expect(code).toBe('E_STORE_FULL')
    expect(acknowledged).toBeGreaterThan(50)
    expect(seen).toBe(acknowledged)
  })
})

describe('a read-only disk', () => {
  it('can be read, and says what it is when something is to be written', async (context) => {
    const disk = smallDisk()
    if (disk === undefined) return context.skip('only root may mount a small file system')
    const { store } = await openCollecting(disk)
    await store.append([{ type: 'a' }])
    await store[Symbol.asyncDispose]()
    execFileSync('mount', ['-o', 'remount,ro', disk])
    const reader = await openCollecting(disk, { readOnly: true })
    expect(reader.seen).toEqual([{ type: 'a' }])
    await reader.store.refresh()
    await reader.store[Symbol.asyncDispose]()
    await expect(openCollecting(disk)).rejects.toEqual(withCode('E_STORE_IO'))
    await expect(Lease.acquire(disk)).rejects.toEqual(withCode('E_STORE_IO'))
    await expect(openCollecting(join(disk, 'new'))).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
  })

  it.skipIf(process.getuid?.() === 0)('is refused like a directory without the right to write (not as root)', async () => {
    const directory = scratch()
    fs.chmodSync(directory, 0o500)
    await expect(openCollecting(directory)).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
  })
})
