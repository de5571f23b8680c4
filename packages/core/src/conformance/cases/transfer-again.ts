import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { link as hardLink, open, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { below, content, hasFailed, hasFields, isDone, openEnd, openEnds, put, slowly } from '../transfer-steps.js'
import { directory, file, holds, link, makeSource, plant, type Tree } from '../transfer-trees.js'
import type { TransferCase } from '../transfer-types.js'

const TIME_MS = 1_700_000_000_250

export const againCases: readonly TransferCase[] = [
  {
    id: 'transfer-again',
    title: 'what is there already is not moved a second time',
    declared: 'put',
    why: 'A campaign brings its files before every run.',
    async run(world) {
      const tree: Tree = {
        'd/a': file(content(50_000)),
        'd/b': file(''),
        'd/deep/c': file('c'),
        'd/link': link('a'),
        'd/none': directory(),
      }
      const source = await makeSource(world, tree)
      const ends = await openEnds(world, 2)
      const files = [join(source, 'd')]
      await put(world, files, ends)
      const before = await Promise.all(ends.map((end) => stat(join(end.here, 'd/a'))))
      const results = await put(world, files, ends)
      for (const [index, end] of ends.entries()) {
        hasFields(results[index], { outcome: 'skipped-same', bytes: 0, files: 0, same: 3 })
        const after = await stat(join(end.here, 'd/a'))
        deepStrictEqual([after.ino, after.mtimeMs], [before[index]?.ino, before[index]?.mtimeMs], 'it was written again')
        await holds(world, end.here, tree)
      }
    },
  },
  {
    id: 'transfer-again-part',
    title: 'of what has changed only that is moved, and what else is there stays',
    declared: 'put',
    why: 'One line in one program must not cost the whole tree, nor the results beside it.',
    async run(world) {
      const source = await makeSource(world, { 'd/a': file(content(50_000)), 'd/b': file('old') })
      const end = await openEnd(world)
      const files = [join(source, 'd')]
      await put(world, files, [end])
      await plant(end.here, { 'd/result': file('theirs'), other: file('theirs') })
      await plant(source, { 'd/b': file('newer') })
      const [result] = await put(world, files, [end])
      isDone(result, 1, 5)
      hasFields(result, { same: 1 })
      strictEqual(await readFile(join(end.here, 'd/b'), 'utf8'), 'newer')
      strictEqual(await readFile(join(end.here, 'd/result'), 'utf8'), 'theirs')
      strictEqual(await readFile(join(end.here, 'other'), 'utf8'), 'theirs')
    },
  },
  {
    id: 'transfer-again-mode',
    title: 'a mode that has changed is put right without moving the content again',
    declared: 'put',
    why: 'A key that was made private is private everywhere after the next transfer.',
    async run(world) {
      const source = await makeSource(world, { 'd/key': file('key', { mode: 0o644 }), 'd/b': file('b') })
      const end = await openEnd(world)
      await put(world, [join(source, 'd')], [end])
      await plant(source, { 'd/key': file('key', { mode: 0o600, timeMs: TIME_MS }) })
      await plant(end.here, { 'd/key': file('key', { mode: 0o644, timeMs: TIME_MS }) })
      const [result] = await put(world, [join(source, 'd')], [end])
      hasFields(result, { bytes: 0, same: 2 })
      await holds(world, end.here, { 'd/key': file('key', { mode: 0o600 }), 'd/b': file('b') })
    },
  },
  {
    id: 'transfer-again-size',
    title: 'a file of another size is replaced though it has the same time, and one of another time though it has the same size',
    declared: 'put',
    why: 'Either alone calls different things the same.',
    async run(world) {
      const source = await makeSource(world, { a: file('four', { timeMs: TIME_MS }), b: file('four', { timeMs: TIME_MS }) })
      const end = await openEnd(world)
      await plant(end.here, { a: file('sixsix', { timeMs: TIME_MS }), b: file('FOUR', { timeMs: TIME_MS - 2_000 }) })
      isDone((await put(world, [join(source, 'a'), join(source, 'b')], [end]))[0], 2)
      await holds(world, end.here, { a: file('four', { timeMs: TIME_MS }), b: file('four', { timeMs: TIME_MS }) })
    },
  },
  {
    id: 'transfer-checksum',
    title: 'with checksum, other content of the same size and time is found and replaced',
    declared: 'put',
    why: 'Restored backups and damaged disks keep size and time.',
    async run(world) {
      const source = await makeSource(world, { a: file('right', { timeMs: TIME_MS }), b: file('same', { timeMs: TIME_MS }) })
      const end = await openEnd(world)
      const files = [join(source, 'a'), join(source, 'b')]
      await plant(end.here, { a: file('wrong', { timeMs: TIME_MS }), b: file('same', { timeMs: TIME_MS }) })
      hasFields((await put(world, files, [end]))[0], { outcome: 'skipped-same', verified: 'time' })
      const [result] = await put(world, files, [end], { checksum: true })
      isDone(result, 1, 5)
      hasFields(result, { same: 1 })
      await holds(world, end.here, { a: file('right', { timeMs: TIME_MS }), b: file('same', { timeMs: TIME_MS }) })
      hasFields((await put(world, files, [end], { checksum: true }))[0], { outcome: 'skipped-same', verified: 'sha256' })
    },
  },
  {
    id: 'transfer-replace',
    title: 'who looks all the time sees the old file or the new one, never a part of either',
    declared: 'put',
    why: 'Jobs that start meanwhile read it.',
    async run(world) {
      const { size, options } = slowly(world)
      const [old, young] = [Buffer.alloc(size, 'o'), Buffer.alloc(size, 'y')]
      const source = await makeSource(world, { data: file(old, { timeMs: TIME_MS }) })
      const end = await openEnd(world)
      const files = [join(source, 'data')]
      await put(world, files, [end])
      await writeFile(join(source, 'data'), young)
      let isOver = false
      const replaced = put(world, files, [end], options).finally(() => {
        isOver = true
      })
      const seen: string[] = []
      while (!isOver) {
        const bytes = await readFile(join(end.here, 'data')).catch((error: unknown) => String(error))
        seen.push(
          typeof bytes === 'string' ? bytes : bytes.equals(old) ? 'old' : bytes.equals(young) ? 'young' : `${bytes.length} bytes of both`,
        )
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      isDone((await replaced)[0], 1)
      deepStrictEqual([...new Set([...seen, 'young'])].sort(), ['old', 'young'], 'something else was seen meanwhile')
      await holds(world, end.here, { data: file(young) })
    },
  },
  {
    id: 'transfer-replace-readers',
    title: 'who has the old file open, or has another name for it, keeps the old content',
    declared: 'put',
    why: 'A program that runs from a file that is written over crashes.',
    async run(world) {
      const source = await makeSource(world, { data: file('old content') })
      const end = await openEnd(world)
      const files = [join(source, 'data')]
      await put(world, files, [end])
      await hardLink(join(end.here, 'data'), join(end.here, 'kept'))
      const reader = await open(join(end.here, 'data'))
      try {
        await plant(source, { data: file('new, and longer') })
        isDone((await put(world, files, [end]))[0], 1)
        strictEqual(await reader.readFile('utf8'), 'old content')
      } finally {
        await reader.close()
      }
      await holds(world, end.here, { data: file('new, and longer'), kept: file('old content') })
    },
  },
  {
    id: 'transfer-replace-link',
    title: 'a link that stands at the name of a file is replaced; what it points to is not touched',
    declared: 'put',
    why: 'Written through, it changes a file somewhere else that nobody named.',
    async run(world) {
      const source = await makeSource(world, { data: file('new') })
      const end = await openEnd(world)
      await plant(end.here, { elsewhere: file('theirs'), data: link('elsewhere') })
      isDone((await put(world, [join(source, 'data')], [end]))[0], 1)
      await holds(world, end.here, { data: file('new'), elsewhere: file('theirs') })
    },
  },
  {
    id: 'transfer-kind-directory',
    title: 'a directory at the name of a file stays, and the file failed; the others come',
    declared: 'put',
    why: 'Removed on the way, a folder of results is gone.',
    async run(world) {
      const source = await makeSource(world, { 'd/a': file('a'), 'd/b': file('b') })
      const end = await openEnd(world)
      await plant(end.here, { 'd/a/theirs': file('theirs') })
      const [result] = await put(world, [join(source, 'd')], [end])
      hasFailed(result, 'E_TARGET_KIND')
      ok(
        result?.failures?.some((one) => one.file.endsWith('d/a') && one.code === 'E_TARGET_KIND'),
        'the file that failed is not named',
      )
      await holds(world, end.here, { 'd/a/theirs': file('theirs'), 'd/b': file('b') })
    },
  },
  {
    id: 'transfer-kind-file',
    title: 'a file at the name of a directory stays, and what belongs into the directory failed',
    declared: 'put',
    why: 'The other way round, a file of results is gone.',
    async run(world) {
      const source = await makeSource(world, { 'd/a': file('a'), c: file('c') })
      const end = await openEnd(world)
      await plant(end.here, { d: file('theirs') })
      const [result] = await put(world, [join(source, 'd'), join(source, 'c')], [end])
      hasFailed(result, 'E_TARGET_KIND')
      await holds(world, end.here, { d: file('theirs'), c: file('c') })
    },
  },
  {
    id: 'transfer-target-missing',
    title: 'a target directory that is not there is a failure of its host, and is not made; the others are served',
    declared: 'put',
    why: 'A misspelt directory must not become a new one.',
    async run(world) {
      const source = await makeSource(world, { a: file('a') })
      const [end, ...others] = await openEnds(world, 2)
      ok(end !== undefined)
      const results = await put(world, [join(source, 'a')], [below(end, 'no/such'), ...others])
      hasFailed(results[0], 'E_TARGET_MISSING')
      await holds(world, end.here, {})
      for (const [index, other] of others.entries()) {
        isDone(results[index + 1], 1)
        await holds(world, other.here, { a: file('a') })
      }
    },
  },
  {
    id: 'transfer-target-create',
    title: 'it is made when that is asked for, with those above it',
    declared: 'put',
    why: 'New hosts have no directories yet.',
    async run(world) {
      const source = await makeSource(world, { a: file('a') })
      const ends = await openEnds(world, 2)
      const results = await put(
        world,
        [join(source, 'a')],
        ends.map((end) => below(end, "new/one it's")),
        { create: true },
      )
      for (const [index, end] of ends.entries()) {
        isDone(results[index], 1)
        await holds(world, end.here, { "new/one it's/a": file('a') })
      }
      const again = await put(world, [join(source, 'a')], ends, { create: true })
      for (const result of again) isDone(result, 1)
    },
  },
  {
    id: 'transfer-target-file',
    title: 'a file where the target directory is to be stays as it is, and the host failed',
    declared: 'put',
    why: '`--to results.csv` must not write over it.',
    async run(world) {
      const source = await makeSource(world, { a: file('a') })
      const end = await openEnd(world)
      await plant(end.here, { target: file('theirs') })
      for (const create of [false, true]) {
        const [result] = await put(world, [join(source, 'a')], [below(end, 'target')], { create })
        hasFailed(result, 'E_TARGET_KIND', 'E_TARGET_MISSING')
      }
      await holds(world, end.here, { target: file('theirs') })
    },
  },
  {
    id: 'transfer-target-link',
    title: 'a link to a directory is as good as the directory',
    declared: 'put',
    why: '`/scratch` is a link on most clusters.',
    async run(world) {
      const source = await makeSource(world, { a: file('a') })
      const end = await openEnd(world)
      await plant(end.here, { real: directory(), scratch: link('real') })
      isDone((await put(world, [join(source, 'a')], [below(end, 'scratch')]))[0], 1)
      await holds(world, end.here, { 'real/a': file('a'), scratch: link('real') })
    },
  },
  {
    id: 'transfer-target-home',
    title: 'a relative target begins in the home directory of the host, and so does ~',
    declared: 'put',
    needs: ['home'],
    why: 'Everybody writes it so.',
    async run(world) {
      const source = await makeSource(world, { a: file('a'), b: file('b') })
      const [host] = world.lab.hosts
      const home = world.lab.home?.(host) ?? { there: '', here: '' }
      const name = `conformance ${process.pid} ${Date.now()}`
      const made = { lab: host, there: name, here: join(home.here, name) }
      try {
        isDone((await put(world, [join(source, 'a')], [made], { create: true }))[0], 1)
        isDone((await put(world, [join(source, 'b')], [{ ...made, there: `~/${name}` }]))[0], 1)
        await holds(world, made.here, { a: file('a'), b: file('b') })
      } finally {
        await rm(made.here, { recursive: true, force: true })
      }
    },
  },
]
