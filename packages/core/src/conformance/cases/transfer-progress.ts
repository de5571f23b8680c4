import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import type { TransferProgress } from '../../ports/transfer.js'
import { content, get, isDone, isRefused, openEnd, openEnds, put } from '../transfer-steps.js'
import { file, makeSource, plant } from '../transfer-trees.js'
import type { TransferCase } from '../transfer-types.js'

export const progressCases: readonly TransferCase[] = [
  {
    id: 'transfer-progress',
    title: 'progress grows, knows the whole, and ends once for each end with its result',
    declared: 'put',
    why: 'A bar that jumps, stands still or never ends says nothing.',
    async run(world) {
      const size = 400_000
      const source = await makeSource(world, { data: file(content(size)) })
      const ends = await openEnds(world, 3)
      const seen: TransferProgress[] = []
      const results = await put(world, [join(source, 'data')], ends, {}, { onProgress: (progress) => seen.push(progress) })
      for (const index of ends.keys()) {
        isDone(results[index], 1, size)
        const own = seen.filter((progress) => progress.index === index)
        const ended = own.filter(({ phase }) => phase === 'ended')
        strictEqual(ended.length, 1, `${ended.length} ends of end ${index}`)
        const last = own.at(-1)
        deepStrictEqual(
          { phase: last?.phase, bytes: last?.bytes, total: last?.total, result: last?.result },
          { phase: 'ended', bytes: size, total: size, result: results[index] },
        )
        own.reduce((before, { bytes, total }) => {
          ok(bytes >= before && bytes <= (total ?? size), `progress went from ${before} to ${bytes} of ${total}`)
          return bytes
        }, 0)
      }
      ok(
        seen.every(({ index }) => index >= 0 && index < ends.length),
        'progress of an end that is none',
      )
      const again: TransferProgress[] = []
      await put(world, [join(source, 'data')], ends, {}, { onProgress: (progress) => again.push(progress) })
      const last = again.filter(({ phase }) => phase === 'ended')
      deepStrictEqual(
        last.map(({ bytes }) => bytes),
        ends.map(() => size),
        'what was there before is not counted',
      )
    },
  },
  {
    id: 'transfer-limit',
    title: 'the limit of bytes per second is kept',
    declared: 'limit',
    why: 'The line of the institute belongs to all.',
    async run(world) {
      const source = await makeSource(world, { data: file(content(1_200_000)) })
      const end = await openEnd(world)
      const began = performance.now()
      isDone((await put(world, [join(source, 'data')], [end], { limit: 500_000 }))[0], 1)
      const tookMs = performance.now() - began
      // A burst at the beginning and buffers on the way are taken in good part; without a limit it takes a moment, also on a busy machine.
      ok(tookMs >= 1_500, `1.2 MB at 500 kB/s took ${Math.round(tookMs)} ms`)
    },
  },
  {
    id: 'transfer-limit-undeclared',
    title: 'a limit that cannot be kept is refused',
    undeclared: 'limit',
    why: 'Silently ignored, it takes the line of the institute.',
    async run(world) {
      const end = await openEnd(world)
      const source = await makeSource(world, { data: file('x') })
      if (world.supports.put === true)
        await isRefused(world, put(world, [join(source, 'data')], [end], { limit: 1_000_000 }), 'E_NOT_SUPPORTED')
      if (world.supports.get === true) {
        await plant(end.here, { data: file('x') })
        const into = await world.lab.makeDirectory()
        await isRefused(world, get(world, [`${end.there}/data`], [{ lab: end.lab, into }], { limit: 1_000_000 }), 'E_NOT_SUPPORTED')
      }
    },
  },
  {
    id: 'transfer-get-undeclared',
    title: 'a driver that brings nothing home says so',
    undeclared: 'get',
    why: 'An empty list of files would look like no results.',
    async run(world) {
      const end = await openEnd(world)
      await plant(end.here, { a: file('a') })
      const into = await world.lab.makeDirectory()
      await isRefused(world, get(world, [`${end.there}/a`], [{ lab: end.lab, into }]), 'E_NOT_SUPPORTED')
    },
  },
  {
    id: 'transfer-put-undeclared',
    title: 'a driver that brings nothing to hosts says so',
    undeclared: 'put',
    why: 'A campaign must not begin without its files.',
    async run(world) {
      const end = await openEnd(world)
      const source = await makeSource(world, { a: file('a') })
      await isRefused(world, put(world, [join(source, 'a')], [end]), 'E_NOT_SUPPORTED')
    },
  },
  {
    id: 'transfer-supports',
    title: 'what it declares is what it says',
    why: 'The choice of a driver is made by it.',
    run({ transfer, supports }) {
      const said = Object.fromEntries(Object.keys(supports).map((name) => [name, transfer.supports[name as keyof typeof supports]]))
      deepStrictEqual(said, { ...supports })
      ok(transfer.name.length > 0, 'it has no name')
      return Promise.resolve()
    },
  },
]
