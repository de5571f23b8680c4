import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import type { StoredEvent } from '../../src/ports/store.js'
import { JournalStore } from '../../src/store/journal-store.js'
import { eventsFile, openCollecting, scratch } from './scratch.js'

const withCode = (code: string): unknown => expect.objectContaining({ code })

describe('JournalStore', () => {
  it('shows a later reader what was appended, in order, with numbers without a gap', async () => {
    const directory = scratch()
    const { store } = await openCollecting(directory)
    expect(await store.append([{ type: 'a', n: 1 }, { type: 'b' }])).toEqual([1, 2])
    expect(await store.append([{ type: 'a', n: 2 }])).toEqual([3])
    await store[Symbol.asyncDispose]()
    const again = await openCollecting(directory)
    expect(again.seen).toEqual([{ type: 'a', n: 1 }, { type: 'b' }, { type: 'a', n: 2 }])
    expect(again.store.lastSeq).toBe(3)
    await again.store[Symbol.asyncDispose]()
  })

  it('keeps hostile text and numbers as they are', async () => {
    const directory = scratch()
    const events = [
      { type: 't', text: 'tab\t lf\n cr\r nul\0 quote" \\ é € 🜚 \u2028 ' },
      { type: 't', lone: '\ud800', __proto__x: 1 },
      { type: 't', deep: [{ a: [null, true, 1e-300, Number.MAX_SAFE_INTEGER] }] },
    ]
    const { store, seen } = await openCollecting(directory)
    await store.append(events)
    expect(seen).toEqual(events)
    await store[Symbol.asyncDispose]()
    const again = await openCollecting(directory)
    expect(again.seen).toEqual(events)
    await again.store[Symbol.asyncDispose]()
  })

  it('lets each decision see the events of the one before, in one group', async () => {
    const { store, seen } = await openCollecting(scratch())
    const take = (): Promise<number> => store.transact(() => ({ events: [{ type: 'take', n: seen.length }], value: seen.length }))
    expect(await Promise.all([take(), take(), take()])).toEqual([0, 1, 2])
    await store[Symbol.asyncDispose]()
  })

  it('writes nothing for a decision that throws or cannot be written, and goes on with the others', async () => {
    const { store, seen } = await openCollecting(scratch())
    const results = await Promise.allSettled([
      store.append([{ type: 'before' }]),
      store.transact(() => {
        throw new Error('not now')
      }),
      store.append([{ type: 'half' }, { type: 'bad', n: 1n }]),
      store.append([{ type: 'after' }]),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    expect(seen).toEqual([{ type: 'before' }, { type: 'after' }])
    await store[Symbol.asyncDispose]()
  })

  it('decides again what another host may have overtaken, but not what was refused', async () => {
    const directory = scratch()
    const { store, seen } = await openCollecting(directory)
    const lock = join(directory, 'journal', 'lock')
    let refused = 0
    let taken = 0
    const results = await Promise.allSettled([
      store.transact(() => {
        refused += 1
        throw new Error('not now')
      }),
      store.transact(() => {
        taken += 1
        // another host finds the lock abandoned in just this moment
        if (taken === 1) fs.unlinkSync(lock)
        return { events: [{ type: 'take' }], value: taken }
      }),
    ])
    expect(results).toEqual([
      { status: 'rejected', reason: new Error('not now') },
      { status: 'fulfilled', value: 2 },
    ])
    expect(refused).toBe(1)
    expect(seen).toEqual([{ type: 'take' }])
    await store[Symbol.asyncDispose]()
  })

  it('shows each of two stores on one directory what the other appended before it decides', async () => {
    const directory = scratch()
    const one = await openCollecting(directory)
    const two = await openCollecting(directory)
    const take = ({ store, seen }: typeof one): Promise<number> =>
      store.transact(() => ({ events: [{ type: 'take' }], value: seen.length }), { durable: false })
    const numbers = await Promise.all(Array.from({ length: 200 }, (_, i) => take(i % 2 === 0 ? one : two)))
    expect([...numbers].sort((a, b) => a - b)).toEqual(Array.from({ length: 200 }, (_, i) => i))
    await one.store.refresh()
    expect(one.seen.length).toBe(200)
    await one.store[Symbol.asyncDispose]()
    await two.store[Symbol.asyncDispose]()
  })

  it('works as on a shared file system too', async () => {
    const directory = scratch()
    const one = await openCollecting(directory, { shared: true })
    const two = await openCollecting(directory, { shared: true })
    await Promise.all([one.store.append([{ type: 'a' }]), two.store.append([{ type: 'b' }])])
    await one.store.refresh()
    await two.store.refresh()
    expect(one.seen).toEqual(two.seen)
    expect(one.seen.length).toBe(2)
    await one.store[Symbol.asyncDispose]()
    await two.store[Symbol.asyncDispose]()
  })

  it('gives up a call whose signal is aborted before its turn', async () => {
    const { store, seen } = await openCollecting(scratch())
    const controller = new AbortController()
    const call = store.append([{ type: 'never' }], { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    await expect(store.append([{ type: 'x' }], { signal: controller.signal })).rejects.toThrow('enough')
    await store.append([{ type: 'y' }])
    expect(seen).toEqual([{ type: 'y' }])
    await store[Symbol.asyncDispose]()
  })

  it('reads without writing anything when it is opened for reading', async () => {
    const directory = scratch()
    const { store } = await openCollecting(directory)
    await store.append([{ type: 'a' }])
    const before = fs.readdirSync(join(directory, 'journal'))
    const reader = await openCollecting(directory, { readOnly: true })
    await store.append([{ type: 'b' }])
    await reader.store.refresh()
    expect(reader.seen).toEqual([{ type: 'a' }, { type: 'b' }])
    await expect(reader.store.append([{ type: 'c' }])).rejects.toThrow(/for reading only/)
    await reader.store[Symbol.asyncDispose]()
    expect(fs.readdirSync(join(directory, 'journal'))).toEqual(before)
    await store[Symbol.asyncDispose]()
  })

  it('refuses to read a directory without a journal', async () => {
    await expect(new JournalStore(scratch()).open({ readOnly: true })).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
  })

  it('refuses a directory that cannot be made', async () => {
    const directory = scratch()
    fs.writeFileSync(join(directory, 'journal'), 'a file')
    await expect(new JournalStore(directory).open()).rejects.toEqual(withCode('E_RUN_DIRECTORY'))
  })

  it('refuses a journal of a newer version, and says which', async () => {
    const directory = scratch()
    const { store } = await openCollecting(directory)
    await store[Symbol.asyncDispose]()
    const { encodeLine } = await import('../../src/store/journal-format.js')
    const header = encodeLine(JSON.stringify({ cahier: 'journal', version: 2, id: 'x', at: 1, more: true }), 0).line
    fs.writeFileSync(eventsFile(directory), `${header}something else entirely\n`)
    await expect(openCollecting(directory)).rejects.toEqual(withCode('E_JOURNAL_NEWER'))
    await expect(openCollecting(directory, { readOnly: true })).rejects.toEqual(withCode('E_JOURNAL_NEWER'))
  })

  it('notices that the journal was removed or emptied after it had been closed in order', async () => {
    const directory = scratch()
    const { store } = await openCollecting(directory)
    await store.append([{ type: 'a' }])
    await store[Symbol.asyncDispose]()
    fs.truncateSync(eventsFile(directory), 0)
    await expect(openCollecting(directory)).rejects.toEqual(withCode('E_JOURNAL_DAMAGED'))
    fs.rmSync(eventsFile(directory))
    await expect(openCollecting(directory)).rejects.toEqual(withCode('E_JOURNAL_DAMAGED'))
    expect(fs.existsSync(eventsFile(directory))).toBe(false)
  })

  it('notices that the journal is cut while it is open', async () => {
    const directory = scratch()
    const { store } = await openCollecting(directory)
    await store.append([{ type: 'a' }, { type: 'b' }])
    fs.truncateSync(eventsFile(directory), fs.statSync(eventsFile(directory)).size - 10)
    await expect(store.append([{ type: 'c' }])).rejects.toEqual(withCode('E_JOURNAL_DAMAGED'))
    await store[Symbol.asyncDispose]()
  })

  it('reads a journal of many pieces and lines longer than a piece', async () => {
    const directory = scratch()
    const { store, seen } = await openCollecting(directory)
    const long = 'é'.repeat(300_000)
    await store.append([{ type: 'long', long }, ...Array.from({ length: 5000 }, (_, n) => ({ type: 'n', n })), { type: 'long', long }])
    await store[Symbol.asyncDispose]()
    const again = await openCollecting(directory)
    expect(again.seen).toEqual(seen)
    await again.store[Symbol.asyncDispose]()
  })

  it('opens from a snapshot without showing old events to folds that can be loaded', async () => {
    const directory = scratch()
    const open = async (): Promise<{ store: JournalStore; fold: ReturnType<typeof vi.fn>; sum: () => number; plain: number[] }> => {
      const store = new JournalStore(directory)
      let sum = 0
      const plain: number[] = []
      const fold = vi.fn((event: StoredEvent) => {
        sum += Number(event['n'])
      })
      store.fold(fold, {
        name: 'sum',
        reset: () => {
          sum = 0
        },
        save: () => sum,
        load: (saved) => {
          sum = saved as number
          return true
        },
      })
      await store.open()
      return { store, fold, sum: () => sum, plain }
    }
    const first = await open()
    await first.store.append(Array.from({ length: 30_000 }, (_, n) => ({ type: 'n', n })))
    await first.store[Symbol.asyncDispose]()
    expect(fs.existsSync(join(directory, 'journal', 'snapshot.json'))).toBe(true)
    const second = await open()
    expect(second.fold).not.toHaveBeenCalled()
    expect(second.sum()).toBe(first.sum())
    await second.store[Symbol.asyncDispose]()
    // any change of the snapshot, and any change of the journal before it, make it count for nothing
    const snapshot = join(directory, 'journal', 'snapshot.json')
    const bytes = fs.readFileSync(snapshot)
    bytes[bytes.length >> 1]! ^= 1
    fs.writeFileSync(snapshot, bytes)
    const third = await open()
    expect(third.fold).toHaveBeenCalledTimes(30_000)
    expect(third.sum()).toBe(first.sum())
    await third.store[Symbol.asyncDispose]()
  })

  it('shows every event to a fold that a snapshot does not know', async () => {
    const directory = scratch()
    const first = new JournalStore(directory)
    const options = { name: 'count', reset: () => undefined, save: () => 1, load: () => true }
    first.fold(() => undefined, options)
    await first.open()
    await first.append(Array.from({ length: 25_000 }, (_, n) => ({ type: 'n', n })))
    await first[Symbol.asyncDispose]()
    const second = new JournalStore(directory)
    const known = vi.fn()
    const seen: number[] = []
    second.fold(known, options)
    second.fold(({ seq }) => seen.push(seq), { reset: () => seen.splice(0) })
    await second.open()
    expect(known).not.toHaveBeenCalled()
    expect(seen.length).toBe(25_000)
    await second[Symbol.asyncDispose]()
  })

  it('follows a journal that was replaced by a repair', async () => {
    const directory = scratch()
    const { store, seen } = await openCollecting(directory)
    await store.append([{ type: 'a' }, { type: 'b' }])
    const lines = fs.readFileSync(eventsFile(directory), 'utf8').split('\n')
    fs.writeFileSync(`${eventsFile(directory)}.new`, `${lines[0]}\n${lines[1]}\n`)
    fs.renameSync(`${eventsFile(directory)}.new`, eventsFile(directory))
    await store.append([{ type: 'c' }])
    expect(seen).toEqual([{ type: 'a' }, { type: 'c' }])
    await store[Symbol.asyncDispose]()
  })
})
