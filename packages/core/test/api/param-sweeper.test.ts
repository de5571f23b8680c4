import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ParamSweeper } from '../../src/api/param-sweeper.js'
import type { Combination } from '../../src/model/combination.js'
import { igeom } from '../../src/sweep/ranges.js'
import { sweep } from '../../src/sweep/sweep.js'
import { scratch } from '../store/scratch.js'

const withCode = (code: string): unknown => expect.objectContaining({ code })
const HOSTILE = ["'", '"', '\n', '$(touch x)', '-rf', '../..', '', 'x'.repeat(5000), '\u0000', '\ud800', '{{ x }}', 'é🜚']

describe('ParamSweeper', () => {
  it('touches nothing before it is used', () => {
    const directory = join(scratch(), 'sweep')
    new ParamSweeper(directory, [1, 2])
    expect(fs.existsSync(directory)).toBe(false)
  })

  it('gives out every combination of a folder once, over several runs and two objects', async () => {
    const directory = scratch()
    const space = sweep({ cores: igeom(1, 16, 5), python: ['system', '3.6.3'] })
    const first = new ParamSweeper(directory, space)
    const taken = [await first.getNext(), ...(await first.getNextBatch(3))]
    await first.done(taken as never)
    await first.close()
    const one = new ParamSweeper(directory, space)
    const two = new ParamSweeper<(typeof taken)[0]>(directory)
    const rest: unknown[] = []
    for (const sweeper of [one, two, one, two, one, two]) {
      const combination = await sweeper.getNext()
      rest.push(combination)
      await sweeper.done(combination as never)
    }
    expect([...taken, ...rest]).toEqual([...space])
    expect(await one.getNext()).toBeUndefined()
    expect(await two.stats()).toMatchObject({ total: 10, done: 10 })
    expect(await one.describe()).toBe(`${directory}: 10 total, 10 done, 0 skipped, 0 failed, 0 in progress, 0 remaining`)
    await one.close()
    await two.close()
  })

  it('keeps hostile values as they are', async () => {
    const directory = scratch()
    const combinations = HOSTILE.map((value) => ({ [`key ${value.slice(0, 20)}`]: value, deep: [value, { value }] }))
    const sweeper = new ParamSweeper<unknown>(directory, combinations)
    for await (const combination of sweeper) await sweeper.fail(combination, String((combination as { deep: unknown[] }).deep[0]))
    await sweeper.close()
    const again = new ParamSweeper<unknown>(directory)
    expect([...(await again.getFailed())]).toEqual(combinations)
    for (const [i, combination] of combinations.entries()) expect(await again.reasonOf(combination)).toBe(HOSTILE[i])
    await again.close()
  })

  it('knows items by their canonical JSON: 1, true and "1" differ, key order does not count', async () => {
    const sweeper = new ParamSweeper<unknown>(scratch(), [1, true, '1', [1], { a: 1, b: 2 }])
    await sweeper.done({ b: 2, a: 1 })
    await sweeper.done([1])
    await sweeper.done([true, '1'])
    expect([...(await sweeper.getRemaining())]).toEqual([1])
    await expect(sweeper.done(2)).rejects.toEqual(withCode('E_NOT_FOUND'))
    await sweeper.close()
  })

  it('leaves a combination to others while one holds it', async () => {
    const directory = scratch()
    const one = new ParamSweeper(directory, ['a', 'b'])
    const two = new ParamSweeper<string>(directory)
    expect(await one.getNext()).toBe('a')
    await expect(two.done('a')).rejects.toEqual(withCode('E_CLAIM_LOST'))
    await expect(two.cancel('a')).rejects.toEqual(withCode('E_CLAIM_LOST'))
    expect(await two.getNext({ filter: (c) => c < 'b' })).toBeUndefined()
    await one.cancel('a')
    expect(await two.getNext()).toBe('a')
    await two.skip('a', 'not today')
    await one.skip('b')
    expect([...(await one.getSkipped())]).toEqual(['a', 'b'])
    await one.close()
    await two.close()
  })

  it('keeps what another has done since, whatever the one says who lost it', async () => {
    const directory = scratch()
    const one = new ParamSweeper(directory, ['a', 'b'])
    const two = new ParamSweeper<string>(directory)
    expect(await one.getNext()).toBe('a')
    await two.reset({ states: ['claimed'] })
    expect(await two.getNext()).toBe('a')
    await two.done('a')
    await expect(one.cancel('a')).rejects.toEqual(withCode('E_CLAIM_LOST'))
    await expect(one.fail('a', 'too late')).rejects.toEqual(withCode('E_CLAIM_LOST'))
    await expect(one.skip(['b', 'a'])).rejects.toEqual(withCode('E_CLAIM_LOST'))
    await one.done('a')
    expect(await one.stats()).toMatchObject({ todo: 1, done: 1 })
    expect(await one.reset({ states: ['done'] })).toEqual({ count: 1 })
    await one.close()
    await two.close()
  })

  it('gives the last combination back when a loop is left early', async () => {
    const sweeper = new ParamSweeper(scratch(), ['a', 'b', 'c'])
    for await (const combination of sweeper) {
      if (combination === 'b') break
      await sweeper.done(combination)
    }
    expect(await sweeper.stats()).toMatchObject({ todo: 2, done: 1, claimed: 0 })
    const seen: string[] = []
    for await (const combination of sweeper) seen.push(combination)
    expect(seen).toEqual(['b', 'c'])
    expect([...(await sweeper.getInProgress())]).toEqual(['b', 'c'])
    await sweeper.close()
  })

  it('applies another sweep at opening and in mid-run', async () => {
    const directory = scratch()
    const first = new ParamSweeper<Combination>(directory, sweep({ n: [1, 2, 3] }) as never)
    await first.done({ n: 1 })
    await first.done({ n: 2 })
    await first.close()
    const second = new ParamSweeper<Combination>(directory, sweep({ n: [2, 3, 4] }) as never)
    expect(await second.stats()).toMatchObject({ total: 3, done: 1, todo: 2, orphaned: 1 })
    expect(await second.setSweeps([{ n: 1 }, { n: 2 }], { apply: false })).toMatchObject({ added: 1, kept: 1, removed: 2, applied: false })
    await second.setSweeps([{ n: 1 }, { n: 2 }])
    expect([...(await second.getDone())]).toEqual([{ n: 1 }, { n: 2 }])
    expect(await second.reset({ states: ['done'] })).toEqual({ count: 2 })
    await second.close()
  })

  it('counts per factor and level', async () => {
    const sweeper = new ParamSweeper(scratch(), sweep({ n: [1, 2], s: ['x', '1'] }))
    await sweeper.done({ n: 1, s: 'x' })
    const one = { total: 2, todo: 1, claimed: 0, done: 1, skipped: 0, failed: 0 }
    const none = { ...one, todo: 2, done: 0 }
    expect(await sweeper.sweepStats()).toEqual({ n: { 1: one, 2: none }, s: { x: one, 1: none } })
    await sweeper.close()
  })

  it('refuses what is not a sweep, and says so again at the next call', async () => {
    for (const sweeps of [3, 'ab', null]) {
      await expect(new ParamSweeper(scratch(), sweeps as never).open()).rejects.toEqual(withCode('E_ARGUMENT'))
    }
    const empty = new ParamSweeper(scratch())
    await expect(empty.stats()).rejects.toEqual(withCode('E_NOT_FOUND'))
    await expect(empty.stats()).rejects.toEqual(withCode('E_NOT_FOUND'))
    await expect(new ParamSweeper(scratch(), [1, 1]).open()).rejects.toEqual(withCode('E_FACTOR_VALUE'))
  })
})
