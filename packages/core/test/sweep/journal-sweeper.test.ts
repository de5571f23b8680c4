import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Combination } from '../../src/model/combination.js'
import type { Space } from '../../src/model/space.js'
import { JournalStore } from '../../src/store/journal-store.js'
import { withRepetitions } from '../../src/sweep/derived-spaces.js'
import { JournalSweeper, type JournalSweeperOptions } from '../../src/sweep/journal-sweeper.js'
import { listSpace } from '../../src/sweep/list-space.js'
import { sweep } from '../../src/sweep/sweep.js'
import { thisProcess } from '../../src/util/process-identity.js'
import { scratch, until } from '../store/scratch.js'

const withCode = (code: string): unknown => expect.objectContaining({ code })

async function open<T>(
  directory: string,
  space?: Space<T>,
  options: JournalSweeperOptions<T> = {},
): Promise<{ store: JournalStore; sweeper: JournalSweeper<T>; close: () => Promise<void> }> {
  const store = new JournalStore(directory)
  const sweeper = new JournalSweeper<T>(store, space, { directory: store.journalDirectory, ...options })
  await store.open()
  await sweeper.open()
  const close = async (): Promise<void> => {
    await sweeper[Symbol.asyncDispose]()
    await store[Symbol.asyncDispose]()
  }
  return { store, sweeper, close }
}

/** What a killed process leaves: its claims, and no living process. */
async function abandon(store: JournalStore, indexes: string, identity = { ...thisProcess(), start: '1' }): Promise<void> {
  await store.append([
    { type: 'sweep.worker', w: 'gone', ...identity },
    { type: 'sweep.claim', w: 'gone', t: 1, g: 1, i: indexes },
  ])
  fs.mkdirSync(join(store.journalDirectory, 'workers'), { recursive: true })
  fs.writeFileSync(join(store.journalDirectory, 'workers', 'gone'), '')
}

const abc = (): Space<Combination> => sweep({ a: [1, 2, 3], b: ['x', 'y'] }) as Space<Combination>

describe('JournalSweeper', () => {
  it('gives the items in order, each once, then none', async () => {
    const { sweeper, close } = await open(scratch(), abc())
    const items: unknown[] = []
    for (let claim = await sweeper.next(); claim !== undefined; claim = await sweeper.next()) {
      items.push(claim.item)
      await claim.done()
    }
    expect(items).toEqual([...abc()])
    expect(sweeper.stats()).toEqual({ total: 6, todo: 0, claimed: 0, done: 6, skipped: 0, failed: 0, orphaned: 0 })
    await close()
  })

  it('remembers everything when it is opened again, without being told the space', async () => {
    const directory = scratch()
    const first = await open(directory, abc())
    const [a, b, c] = await first.sweeper.nextBatch(3)
    await a!.done()
    await b!.skip('too large\n"quoted"')
    await c!.fail('exit code 1')
    await first.close()
    const { sweeper, close } = await open<Combination>(directory)
    expect(sweeper.stats()).toMatchObject({ total: 6, todo: 3, done: 1, skipped: 1, failed: 1 })
    expect([...sweeper.items()].slice(0, 3).map(({ state, reason }) => [state, reason])).toEqual([
      ['done', undefined],
      ['skipped', 'too large\n"quoted"'],
      ['failed', 'exit code 1'],
    ])
    expect((await sweeper.next())?.item).toEqual({ a: 2, b: 'y' })
    await close()
  })

  it('refuses a journal without a sweep when none is given', async () => {
    await expect(open(scratch())).rejects.toEqual(withCode('E_NOT_FOUND'))
  })

  it('gives an item back that is left without a word, cancelled, or held at the end', async () => {
    const directory = scratch()
    const { sweeper, close } = await open(directory, abc())
    {
      await using claim = await sweeper.next()
      expect(claim?.index).toBe(0)
    }
    const again = await sweeper.next()
    expect(again?.index).toBe(0)
    const second = await sweeper.next()
    await again!.cancel()
    expect((await sweeper.next())?.index).toBe(0)
    expect(second?.index).toBe(1)
    await close()
    const later = await open<Combination>(directory)
    expect(later.sweeper.stats()).toMatchObject({ todo: 6, claimed: 0 })
    await later.close()
  })

  it('takes the first item that the filter lets through and leaves the others', async () => {
    const { sweeper, close } = await open(scratch(), abc())
    const claims = await sweeper.nextBatch(2, { filter: ({ b }) => b === 'y' })
    expect(claims.map(({ index }) => index)).toEqual([1, 3])
    expect((await sweeper.next({ filter: ({ b }) => b === 'y' }))?.index).toBe(5)
    expect(await sweeper.next({ filter: ({ b }) => b === 'y' })).toBeUndefined()
    expect((await sweeper.next())?.index).toBe(0)
    await close()
  })

  it('never gives one item to two stores, in one process', async () => {
    const directory = scratch()
    const space = sweep({ n: Array.from({ length: 60 }, (_, i) => i) }) as Space<Combination>
    const all = await Promise.all([open(directory, space), open(directory, space), open(directory, space)])
    const taken: number[] = []
    await Promise.all(
      all.map(async ({ sweeper }, who) => {
        const options = who === 1 ? { filter: () => true } : {}
        for (let claim = await sweeper.next(options); claim !== undefined; claim = await sweeper.next(options)) {
          taken.push(claim.index)
          await claim.done()
        }
      }),
    )
    expect(taken.sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i))
    for (const { close } of all) await close()
  })

  it('frees the claims of a dead process at once for whoever needs work', async () => {
    const { store, sweeper, close } = await open(scratch(), abc())
    await abandon(store, '0-5')
    expect(sweeper.stats().claimed).toBe(6)
    const claim = await sweeper.next()
    expect(claim?.index).toBe(0)
    expect(claim!.token).toBeGreaterThan(6)
    expect(sweeper.stats()).toMatchObject({ claimed: 1, todo: 5 })
    await close()
  })

  it('frees the claims of another host only when it was silent for longer than the lease', async () => {
    const { store, sweeper, close } = await open(scratch(), abc(), { leaseMs: 60_000 })
    await abandon(store, '0-5', { ...thisProcess(), boot: 'another' })
    expect(await sweeper.next()).toBeUndefined()
    const then = new Date(Date.now() - 61_000)
    fs.utimesSync(join(store.journalDirectory, 'workers', 'gone'), then, then)
    expect((await sweeper.next())?.index).toBe(0)
    await close()
  })

  it('refuses what the former holder says about a claim that it lost', async () => {
    const { store, sweeper, close } = await open(scratch(), abc())
    const claim = await sweeper.next()
    await store.append([{ type: 'sweep.expire', w: sweeper.worker, g: 1, i: 0 }])
    await expect(claim!.done()).rejects.toEqual(withCode('E_CLAIM_LOST'))
    const later = await sweeper.next()
    expect(later?.index).toBe(0)
    await expect(claim!.done()).rejects.toEqual(withCode('E_CLAIM_LOST'))
    await expect(sweeper.finishAll([later!, claim!], 'done')).rejects.toEqual(withCode('E_CLAIM_LOST'))
    expect(sweeper.stats().done).toBe(0)
    await claim![Symbol.asyncDispose]()
    await later!.done()
    await later!.done()
    expect(sweeper.stats().done).toBe(1)
    await close()
  })

  it('keeps the claims of a dead controller until they are adopted, and then only the new tokens count', async () => {
    const directory = scratch()
    const items = withRepetitions(sweep({ a: [1, 2] }) as Space<Combination>, 2)
    const first = await open(directory, items, { deadClaims: 'keep' })
    const old = await first.sweeper.nextBatch(2)
    await first.close()
    const { sweeper, close } = await open(directory, items, { deadClaims: 'keep' })
    expect((await sweeper.next())?.index).toBe(2)
    expect(sweeper.listClaims().map(({ index }) => index)).toEqual([0, 1, 2])
    const adopted = await sweeper.adoptClaims()
    expect(adopted.map(({ index, item }) => [index, item])).toEqual([
      [0, { combination: { a: 1 }, repetition: 1 }],
      [1, { combination: { a: 2 }, repetition: 1 }],
    ])
    expect(adopted[0]!.token).toBeGreaterThan(old[1]!.token)
    await adopted[0]!.done()
    await adopted[1]!.cancel()
    expect((await sweeper.next())?.index).toBe(1)
    expect(await sweeper.adoptClaims()).toEqual([])
    await close()
  })

  it('persists skips and failures until they are reset', async () => {
    const { sweeper, close } = await open(scratch(), abc())
    const [a, b, c, d] = await sweeper.nextBatch(4)
    await a!.skip('no')
    await b!.fail('crash')
    await c!.done()
    expect((await sweeper.nextBatch(9)).map(({ index }) => index)).toEqual([4, 5])
    expect(await sweeper.reset()).toEqual({ count: 2 })
    expect((await sweeper.nextBatch(9)).map(({ index }) => index)).toEqual([0, 1])
    expect(await sweeper.reset({ states: ['claimed', 'done'] })).toEqual({ count: 6 })
    await expect(d!.done()).rejects.toEqual(withCode('E_CLAIM_LOST'))
    expect((await sweeper.nextBatch(9)).length).toBe(6)
    await expect(sweeper.reset({ states: ['wrong' as never] })).rejects.toEqual(withCode('E_ARGUMENT'))
    await close()
  })

  it('changes the sweep in mid-run: shows the difference, keeps what is done, brings it back', async () => {
    const { sweeper, close } = await open(scratch(), abc())
    const claims = await sweeper.nextBatch(4)
    for (const claim of claims.slice(0, 3)) await claim.done()
    const next = sweep({ b: ['y', 'z'], a: [2, 3, 4] }) as Space<Combination>
    const shown = await sweeper.setSweeps(next, { apply: false })
    expect(shown).toMatchObject({ added: 4, kept: 2, removed: 4, orphaned: 3, applied: false })
    expect(sweeper.stats().total).toBe(6)
    const applied = await sweeper.setSweeps(next)
    expect(applied.applied).toBe(true)
    expect([...applied.addedItems()]).toEqual([
      { b: 'y', a: 4 },
      { b: 'z', a: 2 },
      { b: 'z', a: 3 },
      { b: 'z', a: 4 },
    ])
    expect([...applied.removedItems()].length).toBe(4)
    expect(sweeper.stats()).toEqual({ total: 6, todo: 5, claimed: 1, done: 0, skipped: 0, failed: 0, orphaned: 3 })
    expect([...sweeper.orphans()].map(({ item }) => item)).toEqual([
      { a: 1, b: 'x' },
      { a: 1, b: 'y' },
      { a: 2, b: 'x' },
    ])
    await claims[3]!.done()
    expect(sweeper.find({ a: 2, b: 'y' })).toMatchObject({ index: 0, state: 'done' })
    expect(await sweeper.setSweeps(next)).toMatchObject({ added: 0, kept: 6, removed: 0, applied: false })
    await sweeper.setSweeps(abc())
    expect(sweeper.stats()).toEqual({ total: 6, todo: 2, claimed: 0, done: 4, skipped: 0, failed: 0, orphaned: 0 })
    await close()
  })

  it('records what is finished after its item left the sweep', async () => {
    const directory = scratch()
    const { sweeper, close } = await open(directory, abc())
    const claim = await sweeper.next()
    await sweeper.setSweeps(listSpace<Combination>([{ other: 1 }]))
    expect(sweeper.listClaims()).toMatchObject([{ index: -1, item: { a: 1, b: 'x' } }])
    await claim!.done()
    expect(sweeper.stats()).toMatchObject({ total: 1, orphaned: 1 })
    await close()
    const later = await open(directory, abc())
    expect(later.sweeper.stats()).toMatchObject({ total: 6, done: 1, orphaned: 0 })
    await later.close()
  })

  it('puts a long definition into a file of its own and refuses it when it was changed', async () => {
    const directory = scratch()
    const items = Array.from({ length: 5000 }, (_, n) => ({ n, text: `item number ${n}` }))
    const first = await open(directory, listSpace(items))
    await (await first.sweeper.next())!.done()
    const journal = first.store.journalDirectory
    await first.close()
    expect(fs.statSync(join(journal, 'events.jsonl')).size).toBeLessThan(2000)
    const again = await open<Combination>(directory)
    expect(again.sweeper.stats()).toMatchObject({ total: 5000, done: 1 })
    await again.close()
    const file = join(journal, fs.readdirSync(journal).find((name) => name.startsWith('space-'))!)
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('item number 7"', 'item number 8"'))
    await expect(open(directory)).rejects.toEqual(withCode('E_JOURNAL_DAMAGED'))
  })

  it('opens from a snapshot with claims, reasons, orphans and workers as they were', async () => {
    const directory = scratch()
    const big = sweep({ a: Array.from({ length: 200 }, (_, i) => i), b: Array.from({ length: 200 }, (_, i) => i) }) as Space<Combination>
    const first = await open(directory, big, { deadClaims: 'keep' })
    for (let i = 0; i < 30; i++) {
      const claims = await first.sweeper.nextBatch(1000)
      await Promise.all(claims.slice(1).map((claim, n) => (n % 3 === 0 ? claim.fail(`because ${n}`) : claim.done())))
    }
    await first.sweeper.setSweeps(sweep({ a: Array.from({ length: 100 }, (_, i) => i + 50), b: [1, 2, 3] }) as Space<Combination>)
    const before = [first.sweeper.stats(), first.sweeper.listClaims(), [...first.sweeper.items('failed')]]
    await first.close()
    const journal = join(directory, 'journal')
    expect(fs.existsSync(join(journal, 'snapshot.json'))).toBe(true)
    const look = async (): Promise<unknown> => {
      const { sweeper, close } = await open<Combination>(directory, undefined, { deadClaims: 'keep' })
      const after = [sweeper.stats(), sweeper.listClaims(), [...sweeper.items('failed')]]
      await close()
      return after
    }
    expect(await look()).toEqual(before)
    fs.rmSync(join(journal, 'snapshot.json'))
    expect(await look()).toEqual(before)
  })

  it('sees through the death of a process that holds claims, by its number alone', async () => {
    const directory = scratch()
    const { sweeper, close } = await open(directory, abc())
    const dist = new URL('../../dist/index.js', import.meta.url).href
    const program = `import { ParamSweeper } from ${JSON.stringify(dist)}
      const sweeper = new ParamSweeper(${JSON.stringify(directory)})
      await sweeper.getNextBatch(6); console.log('claimed'); setInterval(() => {}, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    expect(await sweeper.next()).toBeUndefined()
    child.kill('SIGKILL')
    await once(child, 'exit')
    expect((await sweeper.nextBatch(6)).length).toBe(6)
    await close()
  })

  it('becomes a new worker when its sign of life was removed', async () => {
    const { store, sweeper, close } = await open(scratch(), abc(), { leaseMs: 40 })
    await sweeper.next()
    const before = sweeper.worker
    fs.rmSync(join(store.journalDirectory, 'workers', before))
    await until(() => sweeper.worker !== before, 'the loss is noticed')
    expect((await sweeper.next())?.index).toBe(1)
    await close()
  })

  it('refuses items that are not in the sweep and batches that are not numbers', async () => {
    const { sweeper, close } = await open(scratch(), abc())
    await expect(sweeper.mark([{ a: 1, b: 'x' }, { a: 9 }], 'done')).rejects.toEqual(withCode('E_NOT_FOUND'))
    expect(sweeper.stats().done).toBe(0)
    await expect(sweeper.nextBatch(-1)).rejects.toEqual(withCode('E_ARGUMENT'))
    await expect(sweeper.nextBatch(1.5)).rejects.toEqual(withCode('E_ARGUMENT'))
    expect(await sweeper.nextBatch(0)).toEqual([])
    await close()
  })
})
