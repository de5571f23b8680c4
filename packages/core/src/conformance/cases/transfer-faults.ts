import { deepStrictEqual, ok } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import {
  content,
  endOf,
  hasFailed,
  hasFields,
  inTheMiddle,
  isDone,
  isRefused,
  type OpenEnd,
  openEnd,
  openEnds,
  put,
  slowly,
} from '../transfer-steps.js'
import { bytesBelow, directory, file, hasNothingFinal, holds, makeSource, namesBelow, pipe } from '../transfer-trees.js'
import type { TransferCase, TransferWorld } from '../transfer-types.js'

/** More than what drivers write beside the parts, as who uses them. */
const CONTENT_BYTES = 10_000

/** Interrupts the transfer of one file in its middle. @returns the sizes, and whether it was in time */
async function interrupt(world: TransferWorld, source: string, ends: readonly OpenEnd[], resume: boolean): Promise<boolean> {
  const { size, options, isSure } = slowly(world)
  const stop = new AbortController()
  // Only what lies on a disk can be gone on from: rsync keeps the first 256 KiB in its memory.
  const middle = inTheMiddle(
    () => stop.abort(),
    0,
    () => !resume || ends.some((end) => bytesBelow(end.here) > CONTENT_BYTES),
  )
  const limit = resume && isSure ? { limit: size / 2 } : {}
  const results = await put(world, [join(source, 'data')], ends, { ...options, ...limit, resume }, { ...middle, signal: stop.signal })
  ok(middle.hasActed() || !isSure, 'the transfer was over before it was seen to move')
  for (const [index, end] of ends.entries()) {
    // One of several may have been ready.
    if (results[index]?.outcome === 'done') await holds(world, end.here, { data: file(await readFile(join(source, 'data'))) })
    else {
      hasFailed(results[index], 'E_ABORTED')
      await hasNothingFinal(end.here)
    }
  }
  return results[0]?.outcome === 'failed'
}

/** After a disturbance: each end has the whole file, or nothing under its name and a failure. */
async function isWholeOrFailed(
  world: TransferWorld,
  ends: readonly OpenEnd[],
  results: Awaited<ReturnType<typeof put>>,
  bytes: Buffer,
): Promise<void> {
  for (const [index, end] of ends.entries()) {
    if (results[index]?.outcome === 'done') await holds(world, end.here, { data: file(bytes) })
    else await hasNothingFinal(end.here)
  }
}

/** Disturbs one host in the middle; the others must have it all, and the next transfer must succeed everywhere. */
async function disturb(world: TransferWorld, disturbance: (end: OpenEnd) => void): Promise<void> {
  const { size, options, isSure } = slowly(world)
  const bytes = content(size)
  const source = await makeSource(world, { data: file(bytes) })
  const ends = await openEnds(world, 3)
  const [victim] = ends
  ok(victim !== undefined)
  const middle = inTheMiddle(() => disturbance(victim))
  const results = await put(world, [join(source, 'data')], ends, options, middle)
  ok(middle.hasActed() || !isSure, 'the transfer was over before it was seen to move')
  await isWholeOrFailed(world, ends, results, bytes)
  for (const result of results.slice(1)) isDone(result, 1)
  const again = await put(world, [join(source, 'data')], ends)
  for (const result of again) ok(['done', 'skipped-same'].includes(result.outcome), `it does not recover: ${JSON.stringify(result)}`)
  for (const end of ends) await holds(world, end.here, { data: file(bytes) })
}

export const faultCases: readonly TransferCase[] = [
  {
    id: 'transfer-source-missing',
    title: 'a source that is not there is thrown before any host is asked',
    declared: 'put',
    why: 'Half a set of files on a thousand hosts because of a misspelt name.',
    async run(world) {
      const source = await makeSource(world, { a: file('a') })
      const end = await openEnd(world)
      const files = [join(source, 'a'), join(source, 'no such file')]
      await isRefused(world, put(world, files, [{ ...end, there: `${end.there}/made` }], { create: true }), 'E_SOURCE_MISSING')
      await isRefused(world, put(world, [join(source, 'a/b')], [end]), 'E_SOURCE_MISSING')
      await holds(world, end.here, {})
    },
  },
  {
    id: 'transfer-source-special',
    title: 'a named pipe that is named as a source is refused, and nobody waits for it',
    declared: 'put',
    why: 'Opened for reading it hangs for ever.',
    async run(world) {
      const source = await makeSource(world, { pipe })
      const end = await openEnd(world)
      await isRefused(world, put(world, [join(source, 'pipe')], [end], { special: 'refuse' }), 'E_SOURCE_SPECIAL')
      await holds(world, end.here, {})
    },
  },
  {
    id: 'transfer-source-unreadable',
    title: 'a source that may not be read is thrown before any host is asked',
    declared: 'put',
    needs: ['forbid'],
    why: 'An empty file in its place would look like one.',
    async run(world) {
      const source = await makeSource(world, { 'd/a': file('a'), 'd/secret/b': file('b') })
      const end = await openEnd(world)
      const allow = await world.lab.forbid?.(join(source, 'd/secret'))
      try {
        await isRefused(world, put(world, [join(source, 'd')], [end]), 'E_SOURCE_UNREADABLE')
      } finally {
        await allow?.()
      }
      await holds(world, end.here, {})
    },
  },
  {
    id: 'transfer-source-changing',
    title: 'a file that is written to during its copy is never placed in a state that it did not have, and that is told',
    declared: 'put',
    why: 'The beginning of one state and the end of another is data that nobody measured.',
    async run(world) {
      const { size, options } = slowly(world)
      const bytes = Buffer.alloc(size, 'state 000\n')
      const source = await makeSource(world, { data: file(bytes), other: file('quiet') })
      const end = await openEnd(world)
      const states = new Set<string>()
      const remember = () => states.add(createHash('sha256').update(bytes).digest('hex'))
      remember()
      let isOver = false
      const copied = put(world, [join(source, 'data'), join(source, 'other')], [end], options).finally(() => {
        isOver = true
      })
      // A rejection is for the one who waits below.
      copied.catch(() => undefined)
      const writer = await open(join(source, 'data'), 'r+')
      try {
        for (let count = 1; !isOver; count++) {
          const stamp = Buffer.from(`state ${String(count % 1000).padStart(3, '0')}\n`)
          for (const at of [0, Math.floor(size / 20) * 10, size - 10]) {
            stamp.copy(bytes, at)
            await writer.write(stamp, 0, stamp.length, at)
          }
          remember()
          await pause(50)
        }
      } finally {
        await writer.close()
      }
      const [result] = await copied
      if (result?.outcome !== 'done') {
        hasFailed(result, 'E_SOURCE_CHANGED')
        ok(!(await namesBelow(end.here)).includes('data'), 'it lies under its final name although it failed')
        return
      }
      const found = createHash('sha256')
        .update(await readFile(join(end.here, 'data')))
        .digest('hex')
      ok(states.has(found), 'what was placed is no state that the file ever had')
    },
  },
  {
    id: 'transfer-unreachable',
    title: 'a host that cannot be reached is told in its place, and does not touch the others',
    declared: 'put',
    needs: ['unreachable'],
    why: 'Of a thousand hosts one is always down.',
    async run(world) {
      const source = await makeSource(world, { a: file('a') })
      const ends = await openEnds(world, 2)
      const nobody = world.lab.unreachable?.()
      ok(nobody !== undefined)
      const lost = endOf({ lab: nobody, there: '/tmp' })
      const [first, ...rest] = ends
      ok(first !== undefined)
      const results = await put(world, [join(source, 'a')], [first, lost, ...rest])
      deepStrictEqual(
        results.map(({ outcome }) => outcome),
        ['done', 'unreachable', ...rest.map(() => 'done')],
      )
      hasFields(results[1], { bytes: 0, files: 0 })
      for (const end of ends) await holds(world, end.here, { a: file('a') })
      const [alone] = await put(world, [join(source, 'a')], [lost])
      hasFields(alone, { outcome: 'unreachable' })
    },
  },
  {
    id: 'transfer-abort-before',
    title: 'what was given up before it began moves nothing, and says so for every end',
    declared: 'put',
    why: 'Ctrl-C comes at any moment.',
    async run(world) {
      const source = await makeSource(world, { data: file(content(10_000)) })
      const ends = await openEnds(world, 2)
      const results = await put(world, [join(source, 'data')], ends, {}, { signal: AbortSignal.abort() })
      for (const [index, end] of ends.entries()) {
        hasFailed(results[index], 'E_ABORTED')
        await hasNothingFinal(end.here)
      }
    },
  },
  {
    id: 'transfer-abort',
    title: 'what is given up in its middle failed, and there is nothing under the final name',
    declared: 'put',
    why: 'Half a file with the right name is believed.',
    async run(world) {
      const source = await makeSource(world, { data: file(content(slowly(world).size)) })
      await interrupt(world, source, await openEnds(world, 2), true)
    },
  },
  {
    id: 'transfer-abort-old',
    title: 'what was there before is there after a transfer that was given up',
    declared: 'put',
    why: 'Between the old file and the new one there must be no time without any.',
    async run(world) {
      const { size, options, isSure } = slowly(world)
      const source = await makeSource(world, { data: file('old') })
      const end = await openEnd(world)
      const files = [join(source, 'data')]
      await put(world, files, [end])
      const bytes = content(size)
      await writeFile(join(source, 'data'), bytes)
      const stop = new AbortController()
      const [result] = await put(world, files, [end], options, { ...inTheMiddle(() => stop.abort()), signal: stop.signal })
      if (isSure) hasFailed(result, 'E_ABORTED')
      const found = await readFile(join(end.here, 'data'))
      ok(found.equals(result?.outcome === 'done' ? bytes : Buffer.from('old')), 'the old file is gone, or changed')
    },
  },
  {
    id: 'transfer-abort-no-parts',
    title: 'without resume nothing at all is left of a transfer that was given up',
    declared: 'put',
    why: 'Parts that nobody will use fill the disk of the site.',
    async run(world) {
      const source = await makeSource(world, { data: file(content(slowly(world).size)) })
      const end = await openEnd(world)
      if (await interrupt(world, source, [end], false)) await holds(world, end.here, {})
    },
  },
  {
    id: 'transfer-resume',
    title: 'an interrupted transfer goes on where it was, and leaves no parts',
    declared: 'resume',
    why: 'The last hour of a night over a slow line.',
    async run(world) {
      const { size } = slowly(world)
      const bytes = content(size)
      const source = await makeSource(world, { data: file(bytes) })
      const end = await openEnd(world)
      if (!(await interrupt(world, source, [end], true))) return
      const [result] = await put(world, [join(source, 'data')], [end])
      isDone(result, 1)
      // All of it may have been on its way there already.
      ok(result !== undefined && result.bytes < size, `${result?.bytes} of ${size} bytes were moved again`)
      await holds(world, end.here, { data: file(bytes) })
    },
  },
  {
    id: 'transfer-resume-changed',
    title: 'it does not go on with a source that is another one now',
    declared: 'resume',
    why: 'The beginning of the old file and the end of the new one.',
    async run(world) {
      const { size } = slowly(world)
      const source = await makeSource(world, { data: file(content(size)) })
      const end = await openEnd(world)
      await interrupt(world, source, [end], true)
      const bytes = content(size)
      await writeFile(join(source, 'data'), bytes)
      isDone((await put(world, [join(source, 'data')], [end]))[0], 1)
      ok((await readFile(join(end.here, 'data'))).equals(bytes), 'what was placed is not the source')
    },
  },
  {
    id: 'transfer-resume-damaged',
    title: 'a part that was damaged meanwhile is noticed, and never placed',
    declared: 'resume',
    why: 'Whatever lies on a disk for a night may be changed there.',
    async run(world) {
      const { size } = slowly(world)
      const bytes = content(size)
      const source = await makeSource(world, { data: file(bytes) })
      const end = await openEnd(world)
      if (!(await interrupt(world, source, [end], true))) return
      for (const name of await namesBelow(end.here)) await damage(join(end.here, name))
      const [result] = await put(world, [join(source, 'data')], [end])
      await isWholeOrFailed(world, [end], result === undefined ? [] : [result], bytes)
      // What failed because of the part has thrown it away.
      const [again] = await put(world, [join(source, 'data')], [end])
      ok(again?.outcome === 'done' || again?.outcome === 'skipped-same', `it does not recover: ${JSON.stringify(again)}`)
      await holds(world, end.here, { data: file(bytes) })
    },
  },
  {
    id: 'transfer-dropped',
    title: 'a host whose connections end in the middle has the whole file or none, and the others have it',
    declared: 'put',
    needs: ['drop'],
    why: 'Between here and there, anybody may restart anything.',
    run: (world) => disturb(world, ({ lab }) => world.lab.drop?.(lab)),
  },
  {
    id: 'transfer-workers-killed',
    title: 'a host on which the programs that receive are killed has the whole file or none, and the others have it',
    declared: 'put',
    needs: ['killWorkers'],
    why: 'Memory runs out on a host, and the system chooses a victim.',
    run: (world) => disturb(world, ({ lab }) => world.lab.killWorkers?.(lab)),
  },
  {
    id: 'transfer-full',
    title: 'a disk without enough room is a failure that says so, with nothing half under final names; the others are served',
    declared: 'put',
    needs: ['full'],
    why: 'Quotas end transfers every day, and what is cut off looks like a file.',
    async run(world) {
      const tree = { 'd/small': file('small'), 'd/large': file(content(4_000_000)) }
      const source = await makeSource(world, tree)
      const [first, ...others] = await openEnds(world, 2)
      const room = await world.lab.full?.()
      ok(first !== undefined && room !== undefined)
      const results = await put(world, [join(source, 'd')], [{ ...first, ...room }, ...others])
      hasFailed(results[0], 'E_TARGET_FULL')
      ok(!(await namesBelow(room.here)).includes('d/large'), 'it lies under its final name although it failed')
      for (const [index, end] of others.entries()) {
        isDone(results[index + 1], 2)
        await holds(world, end.here, tree)
      }
    },
  },
  {
    id: 'transfer-read-only',
    title: 'a directory that cannot be written is a failure that says so; the others are served',
    declared: 'put',
    needs: ['readOnly'],
    why: 'The usual reason, and it has a usual remedy.',
    async run(world) {
      const tree = { a: file('a'), d: directory() }
      const source = await makeSource(world, tree)
      const [first, ...others] = await openEnds(world, 2)
      const locked = await world.lab.readOnly?.()
      ok(first !== undefined && locked !== undefined)
      const before = await namesBelow(locked.here)
      const results = await put(world, [join(source, 'a'), join(source, 'd')], [{ ...first, ...locked }, ...others])
      hasFailed(results[0], 'E_TARGET_DENIED')
      deepStrictEqual(await namesBelow(locked.here), before)
      for (const [index, end] of others.entries()) {
        isDone(results[index + 1], 1)
        await holds(world, end.here, tree)
      }
    },
  },
  {
    id: 'transfer-busy',
    title: 'two transfers of the same file into the same directory at once end with the whole file',
    declared: 'put',
    why: 'Two people start the same campaign.',
    async run(world) {
      const bytes = content(200_000)
      const source = await makeSource(world, { data: file(bytes) })
      const end = await openEnd(world)
      const attempts = await Promise.all([1, 2].map(() => put(world, [join(source, 'data')], [end])))
      const outcomes = attempts.map(([result]) => result?.outcome)
      ok(outcomes.includes('done'), `nobody brought it: ${JSON.stringify(attempts)}`)
      for (const [result] of attempts) if (result?.outcome === 'failed') hasFailed(result, 'E_TARGET_BUSY')
      await holds(world, end.here, { data: file(bytes) })
    },
  },
  {
    id: 'transfer-beside',
    title: 'transfers of different files into the same directory at once do not disturb each other',
    declared: 'put',
    why: 'Two campaigns share a directory.',
    async run(world) {
      const tree = { a: file(content(100_000)), b: file(content(100_000)), c: file(content(100_000)) }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      const attempts = await Promise.all(Object.keys(tree).map((name) => put(world, [join(source, name)], [end])))
      for (const [result] of attempts) isDone(result, 1)
      await holds(world, end.here, tree)
    },
  },
]

/** Changes the first byte of a file; directories are left. */
async function damage(path: string): Promise<void> {
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined || bytes.length < 1_000) return
  bytes[0] = (bytes[0] ?? 0) ^ 0xff
  await writeFile(path, bytes)
}
