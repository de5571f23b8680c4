import { ok } from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { byteName, pathBelow } from '../../util/byte-names.js'
import { content, endOf, get, hasFailed, hasFields, isDone, openEnd } from '../transfer-steps.js'
import { directory, file, holds, link, plant, type Tree } from '../transfer-trees.js'
import type { LabHost, TransferCase, TransferWorld } from '../transfer-types.js'

/** A directory of this machine for what comes from one host. */
async function target({ lab }: TransferWorld, host: LabHost): Promise<{ readonly lab: LabHost; readonly into: string }> {
  return { lab: host, into: await lab.makeDirectory() }
}

interface HostWithHome {
  readonly host: LabHost
  /** As it is seen from here. */
  readonly home: string
}

/** The hosts of the lab, without those that share the home directory of another one. */
function withOwnHome({ lab }: TransferWorld): HostWithHome[] {
  const byHome = new Map<string, HostWithHome>()
  for (const host of lab.hosts) {
    const home = lab.home?.(host).here ?? ''
    if (!byHome.has(home)) byHome.set(home, { host, home })
  }
  return [...byHome.values()]
}

/** A name that nothing has in these homes, and that nothing has there afterwards. */
async function inHomes(hosts: readonly HostWithHome[], act: (name: string) => Promise<void>): Promise<void> {
  const name = `conformance ${process.pid} ${Date.now()}`
  try {
    await act(name)
  } finally {
    for (const { home } of hosts) await rm(join(home, name), { recursive: true, force: true })
  }
}

export const getCases: readonly TransferCase[] = [
  {
    id: 'transfer-get',
    title: 'files and directories come home with their modes and times, links and empty ones included',
    declared: 'get',
    why: 'Results are read by programs that look at all of it.',
    async run(world) {
      const tree: Tree = {
        'out/data': file(content(300_001), { mode: 0o640, timeMs: 1_600_000_000_123 }),
        'out/run': file('#!/bin/sh', { mode: 0o755 }),
        'out/empty': file(''),
        'out/none': directory({ mode: 0o700 }),
        'out/latest': link('data'),
        out: directory({ mode: 0o750, timeMs: 1_600_000_001_000 }),
        log: file('log'),
      }
      const end = await openEnd(world)
      await plant(end.here, tree)
      const one = await target(world, end.lab)
      const [result] = await get(world, [`${end.there}/out`, `${end.there}/log`], [one])
      isDone(result, 4, 300_001 + 9 + 3)
      await holds(world, one.into, tree)
    },
  },
  {
    id: 'transfer-get-names',
    title: 'odd names come home as they are, also those that are no UTF-8',
    declared: 'get',
    why: 'A name that is mended on the way is another one.',
    async run(world) {
      const names = [' a  b ', "it's", '-rf', 'a\nb', '$HOME', '*', '\\', 'é 日本', 'x'.repeat(255)].map(byteName)
      const bytes = '\xff\xfe \x80'
      const tree: Tree = {
        ...Object.fromEntries(names.map((name) => [`d/${name}/${name}`, file(name.length.toString())])),
        [bytes]: file('b'),
        [`d/${bytes}`]: file('c'),
      }
      const end = await openEnd(world)
      await plant(end.here, tree)
      const one = await target(world, end.lab)
      isDone((await get(world, [`${end.there}/d`, pathBelow(end.there, bytes)], [one]))[0], names.length + 2)
      await holds(world, one.into, tree)
    },
  },
  {
    id: 'transfer-get-pattern',
    title: 'a pattern brings what it fits, unless a file has just that name',
    declared: 'get',
    why: 'Nobody knows the numbers of all results beforehand.',
    async run(world) {
      const end = await openEnd(world)
      await plant(end.here, {
        'r1.csv': file('1'),
        'r2.csv': file('2'),
        'r22.csv': file('22'),
        's.txt': file('s'),
        'what?': file('q'),
        whatx: file('x'),
      })
      const one = await target(world, end.lab)
      isDone((await get(world, [`${end.there}/r*.csv`], [one]))[0], 3)
      await holds(world, one.into, { 'r1.csv': file('1'), 'r2.csv': file('2'), 'r22.csv': file('22') })
      const two = await target(world, end.lab)
      isDone((await get(world, [`${end.there}/r?.csv`, `${end.there}/[st].txt`], [two]))[0], 3)
      await holds(world, two.into, { 'r1.csv': file('1'), 'r2.csv': file('2'), 's.txt': file('s') })
      const three = await target(world, end.lab)
      isDone((await get(world, [`${end.there}/what?`], [three]))[0], 1)
      await holds(world, three.into, { 'what?': file('q') })
    },
  },
  {
    id: 'transfer-get-several',
    title: 'each host has its own directory, and its result says which',
    declared: 'get',
    needs: ['home'],
    why: 'All hosts call their results the same.',
    async run(world) {
      const hosts = withOwnHome(world)
      await inHomes(hosts, async (name) => {
        for (const [index, { home }] of hosts.entries()) await plant(home, { [byteName(name)]: file(`of host ${index}`) })
        const targets = await Promise.all(hosts.map(({ host }) => target(world, host)))
        const results = await get(world, [name], targets)
        for (const [index, one] of targets.entries()) {
          isDone(results[index], 1)
          hasFields(results[index], { directory: one.into })
          await holds(world, one.into, { [byteName(name)]: file(`of host ${index}`) })
        }
      })
    },
  },
  {
    id: 'transfer-get-missing',
    title: 'a file that one host does not have is a failure of that host, and the others bring theirs',
    declared: 'get',
    needs: ['home'],
    why: 'A job that failed on one host has left no results there.',
    async run(world) {
      const hosts = withOwnHome(world)
      await inHomes(hosts, async (name) => {
        for (const { home } of hosts.slice(1)) await plant(home, { [byteName(name)]: file('result') })
        const targets = await Promise.all(hosts.map(({ host }) => target(world, host)))
        const results = await get(world, [name], targets)
        for (const [index, one] of targets.entries()) {
          if (index === 0) hasFailed(results[0], 'E_SOURCE_MISSING')
          else isDone(results[index], 1)
          await holds(world, one.into, index === 0 ? {} : { [byteName(name)]: file('result') })
        }
      })
    },
  },
  {
    id: 'transfer-get-nothing-fits',
    title: 'a pattern that fits nothing is a failure',
    declared: 'get',
    why: 'No result and no error is what a campaign must never have.',
    async run(world) {
      const end = await openEnd(world)
      const one = await target(world, end.lab)
      hasFailed((await get(world, [`${end.there}/*.csv`], [one]))[0], 'E_SOURCE_MISSING')
      await holds(world, one.into, {})
    },
  },
  {
    id: 'transfer-get-again',
    title: 'what came home already does not come again, and what has changed replaces it',
    declared: 'get',
    why: 'Results are fetched every few minutes.',
    async run(world) {
      const end = await openEnd(world)
      await plant(end.here, { 'out/a': file('first'), 'out/b': file('second') })
      const one = await target(world, end.lab)
      const files = [`${end.there}/out`]
      isDone((await get(world, files, [one]))[0], 2, 11)
      hasFields((await get(world, files, [one]))[0], { outcome: 'skipped-same', bytes: 0, files: 0, same: 2 })
      await plant(end.here, { 'out/b': file('second, longer') })
      const [result] = await get(world, files, [one])
      isDone(result, 1, 14)
      hasFields(result, { same: 1 })
      await holds(world, one.into, { 'out/a': file('first'), 'out/b': file('second, longer') })
    },
  },
  {
    id: 'transfer-get-target-missing',
    title: 'a target directory that is not there is a failure, and is made when that is asked for',
    declared: 'get',
    why: 'The same rule in both directions.',
    async run(world) {
      const end = await openEnd(world)
      await plant(end.here, { a: file('a') })
      const { into } = await target(world, end.lab)
      const deeper = { lab: end.lab, into: join(into, 'x/y') }
      hasFailed((await get(world, [`${end.there}/a`], [deeper]))[0], 'E_TARGET_MISSING')
      await holds(world, into, {})
      isDone((await get(world, [`${end.there}/a`], [deeper], { create: true }))[0], 1)
      await holds(world, into, { 'x/y/a': file('a') })
    },
  },
  {
    id: 'transfer-get-unreachable',
    title: 'a host that cannot be reached is told in its place, and the others bring theirs',
    declared: 'get',
    needs: ['unreachable'],
    why: 'The results of the others are there, and wanted.',
    async run(world) {
      const end = await openEnd(world)
      await plant(end.here, { a: file('a') })
      const nobody = world.lab.unreachable?.()
      ok(nobody !== undefined)
      const [one, lost] = [await target(world, end.lab), await world.lab.makeDirectory()]
      const ghost: LabHost = { ...endOf({ lab: nobody, there: '' }), makeDirectory: () => Promise.reject(new Error('nobody is there')) }
      const results = await get(world, [`${end.there}/a`], [{ lab: ghost, into: lost }, one])
      hasFields(results[0], { outcome: 'unreachable', files: 0 })
      isDone(results[1], 1)
      await holds(world, lost, {})
      await holds(world, one.into, { a: file('a') })
    },
  },
  {
    id: 'transfer-get-replace',
    title: 'at home, too, what cannot be written stays what it was',
    declared: 'get',
    why: 'A folder of notes beside the results.',
    async run(world) {
      const end = await openEnd(world)
      await plant(end.here, { 'out/a': file('a'), 'out/b': file('b') })
      const one = await target(world, end.lab)
      await plant(one.into, { 'out/a/mine': file('mine') })
      const [result] = await get(world, [`${end.there}/out`], [one])
      hasFailed(result, 'E_TARGET_KIND')
      await holds(world, one.into, { 'out/a/mine': file('mine'), 'out/b': file('b') })
    },
  },
]
