import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PosixCksum } from '../../src/staging/posix-cksum.js'
import { type TarEntry, TarReader, type TarSink } from '../../src/staging/tar-read.js'
import { byteName, insideName, pathBelow } from '../../src/util/byte-names.js'
import { TAR_END, tarHeader, tarPadding } from '../../src/util/tar-write.js'
import { scratch } from './files-bed.js'

class Seen implements TarSink {
  readonly files: (TarEntry & { text: string })[] = []
  readonly controls: string[] = []
  #open: (TarEntry & { text: string }) | undefined

  control(text: string): void {
    this.controls.push(text)
  }
  begin(entry: TarEntry): void {
    this.#open = { ...entry, text: '' }
  }
  data(chunk: Uint8Array): void {
    if (this.#open !== undefined) this.#open.text += Buffer.from(chunk).toString('latin1')
  }
  end(): void {
    if (this.#open !== undefined) this.files.push(this.#open)
    this.#open = undefined
  }
}

async function readAll(data: Uint8Array, pieces: readonly number[] = [data.length]): Promise<Seen> {
  const seen = new Seen()
  const reader = new TarReader(seen)
  let at = 0
  for (let i = 0; at < data.length; i += 1) {
    const next = at + Math.max(1, pieces[i % pieces.length] as number)
    await reader.push(data.subarray(at, next))
    at = next
  }
  expect(reader.isWhole).toBe(true)
  return seen
}

function archive(files: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat([
    ...files.flatMap(([name, text]) => {
      const data = Buffer.from(text, 'latin1')
      return [tarHeader(name, data.length, 0o640, 1_795_000_000_000), data, tarPadding(data.length)]
    }),
    TAR_END,
  ])
}

const ODD = ['a', 'two words', "it's", 'a\nb', 'back\\slash', '-x', 'é', '*', `${'d'.repeat(90)}/${'n'.repeat(200)}`]
const TARS = [
  ['tar', []],
  ['tar', ['--format=pax']],
  ['tar', ['--format=ustar']],
  ['busybox', ['tar']],
  ['bsdtar', []],
] as const

describe('archives', () => {
  for (const [program, flags] of TARS) {
    const missing = spawnSync(program, ['--help']).error !== undefined
    const title = [program, ...flags].join(' ')
    const command = flags[0] === 'tar' ? ['tar'] : []
    const format = flags[0]?.startsWith('--format') === true ? [flags[0]] : []
    it.skipIf(missing)(`of ${title} are read, whatever the names${missing ? ` (needs ${program})` : ''}`, async () => {
      const directory = scratch()
      const names = [...(format[0] === '--format=ustar' ? ODD.filter((name) => name.length < 250) : ODD).map(byteName), '\xff\xfe']
      for (const name of names) {
        mkdirSync(dirname(pathBelow(directory, name).toString('latin1')), { recursive: true })
        writeFileSync(pathBelow(directory, name), `text of ${name}`, 'latin1')
      }
      writeFileSync(join(directory, 'large'), Buffer.alloc(100_000, 'x'))
      writeFileSync(join(directory, 'script'), '', { mode: 0o755 })
      execFileSync('ln', ['a', 'hard'], { cwd: directory })
      symlinkSync('/etc/passwd', join(directory, 'soft'))
      execFileSync('mkfifo', ['pipe'], { cwd: directory })
      const data = execFileSync(program, [...command, 'cf', '-', ...format, '.'], { cwd: directory, maxBuffer: 1 << 24 })
      for (const pieces of [[data.length], [1], [511, 3, 10_240], [65_536]]) {
        if (pieces[0] === 1 && data.length > 300_000) continue
        const seen = await readAll(data, pieces)
        const found = new Map(seen.files.map((file) => [insideName(file.name), file]))
        for (const name of names) {
          const entry = found.get(insideName(name))
          // Of two names of one file, one is a link.
          if (entry?.link === undefined) expect(entry?.text).toBe(`text of ${name}`)
        }
        const [a, hard] = [found.get('a'), found.get('hard')]
        expect([a?.link, hard?.link].filter((link) => link !== undefined).map((link) => insideName(link as string))).toEqual([
          a?.link === undefined ? 'a' : 'hard',
        ])
        expect(found.get('large')?.text.length).toBe(100_000)
        expect((found.get('script')?.mode ?? 0) & 0o100).toBe(0o100)
        expect([found.has('soft'), found.has('pipe')]).toEqual([false, false])
        expect(found.size).toBe(names.length + 3)
      }
    })

    // What packs in another format unpacks the same.
    if (format.length > 0) continue
    it.skipIf(missing)(`are unpacked by ${title}${missing ? ` (needs ${program})` : ''}`, () => {
      const directory = scratch()
      const files = ODD.map((name) => [byteName(name), `text of ${name}`] as const)
      const { status, stderr } = spawnSync(program, [...command, 'xof', '-', '-m'], { cwd: directory, input: archive(files) })
      expect([status, stderr.toString()]).toEqual([0, ''])
      for (const [name, text] of files) expect(readFileSync(pathBelow(directory, name), 'latin1')).toBe(text)
      expect(statSync(join(directory, 'a')).mode & 0o777).toBe(0o640)
    })
  }

  it('are read as they were written, in pieces of any size', async () => {
    const name = fc.string({ unit: fc.constantFrom('a', 'b', '/', '.', ' ', '\n', '\xff'), minLength: 1, maxLength: 300 })
    const file = fc.tuple(name, fc.string({ unit: 'binary-ascii', maxLength: 1500 }))
    await fc.assert(
      fc.asyncProperty(
        fc.array(file, { maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1 }),
        async (files, pieces) => {
          const seen = await readAll(archive(files), pieces)
          expect(seen.files.map((entry) => [entry.name, entry.text])).toEqual(files.map(([own, text]) => [own, text]))
        },
      ),
    )
  })

  it('come one after the other, with words between them', async () => {
    const block = (words: string): Buffer => Buffer.from(`cahier ${words}`.padEnd(512))
    const seen = await readAll(Buffer.concat([block('begin 0'), archive([['a', '1']]), archive([['b', '2']]), block('end 0 1')]), [700])
    expect(seen.controls).toEqual(['begin 0', 'end 0 1'])
    expect(seen.files.map((file) => file.name)).toEqual(['a', 'b'])
  })

  it('know sizes beyond eight gibibytes', async () => {
    const seen = new Seen()
    const reader = new TarReader({ ...bound(seen), begin: (entry) => void seen.files.push({ ...entry, text: '' }) })
    await reader.push(tarHeader('big', 20 * 2 ** 30, 0o644, 0))
    expect(seen.files[0]?.bytes).toBe(20 * 2 ** 30)
    expect(reader.isWhole).toBe(false)
  })

  it.each([
    ['text', Buffer.from('tar: command not found\n'.repeat(60))],
    ['a header with another sum', Buffer.from(archive([['a', 'x']])).fill('b', 0, 1)],
    ['a name that is too long', tarHeader('x', 2 ** 21, 0, 0).fill('L', 156, 157)],
  ])('are refused when they are %s', async (_what, data) => {
    await expect(readAll(data)).rejects.toMatchObject({ code: 'E_FETCH' })
  })
})

function bound(sink: Seen): TarSink {
  return { control: (text) => sink.control(text), begin: (e) => sink.begin(e), data: (c) => sink.data(c), end: () => sink.end() }
}

describe('names', () => {
  it.each([
    ['./a', 'a'],
    ['a//b/./c', 'a/b/c'],
    ['..a', '..a'],
    ['a..', 'a..'],
  ])('%j lies inside', (name, inside) => {
    expect(insideName(name)).toBe(inside)
  })

  it.each(['', '.', './', '..', '../a', 'a/../b', 'a/..', '/a', '//a', 'a/', 'a\0b'])('%j does not', (name) => {
    expect(insideName(name)).toBeUndefined()
  })
})

describe('PosixCksum', () => {
  it.each(['', '123456789', 'a\n', 'x'.repeat(70_000)])('agrees with cksum: %#', (text) => {
    const sum = new PosixCksum()
    for (let at = 0; at < text.length; at += 999) sum.update(Buffer.from(text.slice(at, at + 999)))
    expect(sum.digest()).toBe(execFileSync('cksum', { input: text, encoding: 'utf8' }).split(' ')[0])
  })
})
