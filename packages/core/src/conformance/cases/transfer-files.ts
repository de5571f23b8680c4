import { ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import { byteName, pathBelow, readableName } from '../../util/byte-names.js'
import { content, hasFields, isDone, isRefused, openEnd, openEnds, put } from '../transfer-steps.js'
import { directory, file, holds, link, makeSource, namesBelow, pipe, type Tree } from '../transfer-trees.js'
import type { TransferCase } from '../transfer-types.js'

/** Names that a shell, an option parser, a listing or a protocol would change on their way. */
const ODD_NAMES: readonly string[] = [
  ' ',
  '  a  b ',
  "it's",
  '"quoted"',
  '$(echo no)',
  '`echo no`',
  '$HOME',
  '\\',
  'a\\nb',
  '-rf',
  '--',
  '*',
  '[a-z]?',
  '~',
  '#',
  'a\nb',
  'end\n',
  '\t',
  '\r',
  '%20',
  '%',
  ';|&<>()',
  '0',
  'C:x',
  'é 日本 🎲',
  '\u0001\u001b[31m\u007f',
  '.hidden',
  '...',
  'x'.repeat(255),
].map(byteName)
const NO_UTF8 = '\xff\xfe bytes \x80'

/** Two thousand and one, and one of them before 1970. */
const TIMES_MS = [1, 999_999_999_123, 1_763_800_000_456, 4_102_444_800_000, -86_400_000]

export const fileCases: readonly TransferCase[] = [
  {
    id: 'transfer-file',
    title: 'a file is there, whole, and the result says how much was moved and that it was checked',
    declared: 'put',
    why: 'The first thing that anybody asks of it.',
    async run(world) {
      const bytes = content(300_001)
      const source = await makeSource(world, { 'data.bin': file(bytes) })
      const ends = await openEnds(world, 3)
      const results = await put(world, [join(source, 'data.bin')], ends)
      for (const [index, end] of ends.entries()) {
        isDone(results[index], 1, bytes.length)
        hasFields(results[index], { same: 0 })
        await holds(world, end.here, { 'data.bin': file(bytes) })
      }
    },
  },
  {
    id: 'transfer-files',
    title: 'several files and directories come in one transfer, each under its own name',
    declared: 'put',
    why: 'A source that is forgotten is noticed when the job fails.',
    async run(world) {
      const tree: Tree = { a: file('first'), 'dir/b': file(content(70_000)), 'dir/deep/er/c': file('third'), 'dir/empty': directory() }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      // A slash at the end of a directory changes nothing.
      const [result] = await put(world, [join(source, 'a'), `${join(source, 'dir')}/`], [end])
      isDone(result, 3, 5 + 70_000 + 5)
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-empty',
    title: 'an empty file and an empty directory are there, too',
    declared: 'put',
    why: 'Markers are empty files; what looks at sizes only leaves them out.',
    async run(world) {
      const tree: Tree = { nothing: file(''), none: directory(), 'some/nothing': file('') }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      const [result] = await put(
        world,
        ['nothing', 'none', 'some'].map((name) => join(source, name)),
        [end],
      )
      isDone(result, 2, 0)
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-empty-directory-alone',
    title: 'a directory without any file is made',
    declared: 'put',
    why: 'A program that writes into it fails where it is missing.',
    async run(world) {
      const tree: Tree = { 'out/logs': directory() }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      const [result] = await put(world, [join(source, 'out')], [end])
      hasFields(result, { outcome: 'done', files: 0, bytes: 0 })
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-many',
    title: 'hundreds of small files in many directories all come',
    declared: 'put',
    why: 'Limits on arguments, open files and buffers show with numbers only.',
    async run(world) {
      const entries = Array.from({ length: 400 }, (_, index) => [`m/${index % 23}/${index}`, file(`content of ${index}`)] as const)
      const tree: Tree = Object.fromEntries(entries)
      const source = await makeSource(world, tree)
      const ends = await openEnds(world, 2)
      const results = await put(world, [join(source, 'm')], ends)
      for (const [index, end] of ends.entries()) {
        isDone(results[index], 400)
        await holds(world, end.here, tree)
      }
    },
  },
  {
    id: 'transfer-names',
    title: 'names with blanks, quotes, line ends, leading dashes and 255 bytes arrive as they are',
    declared: 'put',
    why: 'A name that a shell takes apart writes where nobody looks, or removes what nobody named.',
    async run(world) {
      const tree: Tree = Object.fromEntries(ODD_NAMES.map((name, index) => [`${name}/${name}`, file(`${index}`)]))
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      const [result] = await put(
        world,
        ODD_NAMES.map((name) => `${source}/${readableName(name)}`),
        [end],
      )
      isDone(result, ODD_NAMES.length)
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-name-bytes',
    title: 'a name that is no UTF-8 arrives as it is, named directly and inside of a directory',
    declared: 'put',
    why: 'Old data has such names, and no two of them may become one.',
    async run(world) {
      const other = '\xff\xfd bytes \x80'
      const tree: Tree = { [NO_UTF8]: file('one'), [`in/${NO_UTF8}`]: file('two'), [`in/${other}`]: file('three') }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      isDone((await put(world, [pathBelow(source, NO_UTF8), join(source, 'in')], [end]))[0], 3)
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-modes',
    title: 'modes of files and directories are kept, also of a directory that nobody may write into',
    declared: 'put',
    why: 'A program that cannot be executed, a key that everybody can read.',
    async run(world) {
      const modes = [0o644, 0o600, 0o755, 0o444, 0o666, 0o711]
      const files = modes.map((mode) => [`d/${mode.toString(8)}`, file('x', { mode })] as const)
      const tree: Tree = {
        ...Object.fromEntries(files),
        d: directory({ mode: 0o555 }),
        e: directory({ mode: 0o700 }),
        f: file('', { mode: 0o750 }),
      }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      isDone(
        (
          await put(
            world,
            ['d', 'e', 'f'].map((name) => join(source, name)),
            [end],
          )
        )[0],
      )
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-times',
    title: 'times of files and directories are kept, of the past, of the future and below a second',
    declared: 'put',
    why: 'Build tools and the next transfer tell by time what is new.',
    async run(world) {
      const times = TIMES_MS.filter((timeMs) => timeMs >= (world.lab.earliestMs ?? Number.NEGATIVE_INFINITY))
      const files = times.map((timeMs, index) => [`d/${index}/file`, file('x', { timeMs })] as const)
      const folders = times.map((timeMs, index) => [`d/${index}`, directory({ timeMs })] as const)
      const tree: Tree = { d: directory({ timeMs: 1_600_000_000_500 }), ...Object.fromEntries([...files, ...folders]) }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      isDone((await put(world, [join(source, 'd')], [end]))[0])
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-as',
    title: 'one source can be given another name',
    declared: 'put',
    why: 'Many versions of one program lie beside each other there.',
    async run(world) {
      const source = await makeSource(world, { 'v1/bench.py': file('print()') })
      const end = await openEnd(world)
      isDone((await put(world, [join(source, 'v1/bench.py')], [end], { as: "bench it's.py" }))[0])
      isDone((await put(world, [join(source, 'v1')], [end], { as: 'v2' }))[0])
      await holds(world, end.here, { "bench it's.py": file('print()'), 'v2/bench.py': file('print()') })
    },
  },
  {
    id: 'transfer-same-name',
    title: 'two sources with one name are refused, and so is one new name for two',
    declared: 'put',
    why: 'Which of them would be there is chance.',
    async run(world) {
      const source = await makeSource(world, { 'a/x': file('a'), 'b/x': file('b'), 'b/y': file('c') })
      const end = await openEnd(world)
      await isRefused(world, put(world, [join(source, 'a/x'), join(source, 'b/x')], [end]))
      await isRefused(world, put(world, [join(source, 'a/x'), join(source, 'b/y')], [end], { as: 'z' }))
      await holds(world, end.here, {})
    },
  },
  {
    id: 'transfer-links-keep',
    title: 'symbolic links inside of a source stay links, wherever they point to',
    declared: 'put',
    why: 'A tree of software is full of them; followed, it grows or never ends.',
    async run(world) {
      const tree: Tree = {
        'd/file': file('x'),
        'd/to-file': link('file'),
        'd/up': link('../d'),
        'd/nowhere': link('no such/ place\n'),
        'd/absolute': link('/etc/hostname'),
        'd/odd': { kind: 'link', target: NO_UTF8 },
      }
      const source = await makeSource(world, tree)
      const end = await openEnd(world)
      isDone((await put(world, [join(source, 'd')], [end]))[0], 1)
      await holds(world, end.here, tree)
    },
  },
  {
    id: 'transfer-links-follow',
    title: 'links are followed when that is asked for: what they point to is there instead',
    declared: 'put',
    why: 'A link to the data of somebody else leads nowhere on another machine.',
    async run(world) {
      const source = await makeSource(world, {
        'far/data': file('far', { mode: 0o640 }),
        'd/near': file('near'),
        'd/one': link('near'),
        'd/two': link('../far'),
      })
      const end = await openEnd(world)
      isDone((await put(world, [join(source, 'd')], [end], { links: 'follow' }))[0], 3)
      await holds(world, end.here, { 'd/near': file('near'), 'd/one': file('near'), 'd/two/data': file('far', { mode: 0o640 }) })
    },
  },
  {
    id: 'transfer-links-skip',
    title: 'links are left out when that is asked for, and named in the result',
    declared: 'put',
    why: 'What is left out without a word is missed by nobody until it is too late.',
    async run(world) {
      const source = await makeSource(world, { 'd/near': file('near'), 'd/one': link('near') })
      const end = await openEnd(world)
      const [result] = await put(world, [join(source, 'd')], [end], { links: 'skip' })
      isDone(result, 1)
      isLeftOut(result?.leftOut, 'd/one', /link/)
      await holds(world, end.here, { 'd/near': file('near') })
    },
  },
  {
    id: 'transfer-link-named',
    title: 'a link that is named as a source stands for what it points to',
    declared: 'put',
    why: 'Who names `latest` wants the data, not its name.',
    async run(world) {
      const source = await makeSource(world, { 'v7/data': file('seven'), latest: link('v7'), one: link('v7/data') })
      const end = await openEnd(world)
      isDone((await put(world, [join(source, 'latest'), join(source, 'one')], [end]))[0], 2)
      await holds(world, end.here, { 'latest/data': file('seven'), one: file('seven') })
    },
  },
  {
    id: 'transfer-special-skip',
    title: 'a named pipe inside of a source is left out and named in the result, and nobody waits for it',
    declared: 'put',
    why: 'Opened for reading it hangs for ever.',
    async run(world) {
      const source = await makeSource(world, { 'd/file': file('x'), 'd/pipe': pipe })
      const end = await openEnd(world)
      const [result] = await put(world, [join(source, 'd')], [end])
      isDone(result, 1)
      isLeftOut(result?.leftOut, 'd/pipe', /pipe/)
      await holds(world, end.here, { 'd/file': file('x') })
    },
  },
  {
    id: 'transfer-special-refuse',
    title: 'it is refused instead when that is asked for, before any host is asked',
    declared: 'put',
    why: 'Whoever says that all must come, must hear that it cannot.',
    async run(world) {
      const source = await makeSource(world, { 'd/file': file('x'), 'd/pipe': pipe })
      const end = await openEnd(world)
      await isRefused(world, put(world, [join(source, 'd')], [end], { special: 'refuse' }), 'E_SOURCE_SPECIAL')
      strictEqual((await namesBelow(end.here)).length, 0, 'something came all the same')
    },
  },
]

function isLeftOut(leftOut: readonly { readonly file: string; readonly why: string }[] = [], name: string, why: RegExp): void {
  ok(
    leftOut.length === 1 && leftOut.some((one) => one.file.endsWith(name) && why.test(one.why)),
    `expected ${name} to be left out, and named: ${JSON.stringify(leftOut)}`,
  )
}
