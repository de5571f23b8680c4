import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, realpathSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, describe, expect, it, vi } from 'vitest'
import type { CopyOptions } from '../../src/model/transfer.js'
import type { FilePath } from '../../src/ports/transfer.js'
import { microsecondsOf } from '../../src/transfer/local/file-times.js'
import { walkSources } from '../../src/transfer/local/local-walk.js'
import { encodeManifest, type ManifestEntry } from '../../src/transfer/manifest.js'
import { bytesOf, latin1, policyOf, Scratch } from './trees.js'

const scratch = new Scratch()
afterAll(() => scratch.remove())
const isRoot = process.geteuid?.() === 0
const withCode = (code: string): unknown => expect.objectContaining({ code })

const walk = (files: readonly FilePath[], options: CopyOptions = {}) => walkSources(files, policyOf(options))
const names = async (files: readonly FilePath[], options: CopyOptions = {}) => (await walk(files, options)).manifest.map(({ name }) => name)

/** A folder with these files; a name that ends with a slash is a directory. */
function tree(...files: readonly string[]): string {
  const folder = scratch.folder()
  for (const file of files) {
    const path = `${folder}/${file}`
    mkdirSync(bytesOf(path.slice(0, path.lastIndexOf('/'))), { recursive: true })
    if (!file.endsWith('/')) writeFileSync(bytesOf(path), file)
  }
  return folder
}

describe('walkSources', () => {
  it('lists a directory before its content, and what is in it in the order of bytes', async () => {
    const folder = tree('d/b', 'd/a.b', 'd/a/z', 'd/a/y/', 'd/B', 'd/\xe9', 'd/\xc3\xa9')
    const { manifest, paths, leftOut } = await walk([join(folder, 'd')])
    const found = manifest.map(({ name }) => name)
    expect(found).toEqual(['d', 'd/B', 'd/a', 'd/a/y', 'd/a/z', 'd/a.b', 'd/b', 'd/\xc3\xa9', 'd/\xe9'])
    expect(paths).toEqual(found.map((name) => `${folder}/${name}`))
    expect(leftOut).toEqual([])
  })

  it('says mode, size and time as they are, before 1970, too', async () => {
    const folder = tree('a', 'd/')
    writeFileSync(join(folder, 'a'), 'twelve bytes')
    chmodSync(join(folder, 'a'), 0o4751)
    chmodSync(join(folder, 'd'), 0o1730)
    execFileSync('touch', ['-d', '1969-12-31 23:59:58.000001700 UTC', join(folder, 'a')])
    execFileSync('touch', ['-d', '2026-02-03 04:05:06.123456789 UTC', join(folder, 'd')])
    expect((await walk([join(folder, 'a'), join(folder, 'd')])).manifest).toEqual([
      { kind: 'file', name: 'a', mode: 0o4751, timeUs: -1_999_999, size: 12 },
      { kind: 'directory', name: 'd', mode: 0o1730, timeUs: Date.UTC(2026, 1, 3, 4, 5, 6, 123) * 1000 + 456 },
    ])
  })

  it('takes names of any bytes', async () => {
    const long = 'x'.repeat(255)
    const odd = ['-rf', 'a b', 'new\nline', '\xff\xfe', '*?[', long, '\'"$`\\']
    const folder = tree(...odd.map((name) => `d/${name}`))
    expect(await names([join(folder, 'd')])).toEqual(['d', ...odd.map((name) => `d/${name}`).sort()])
    expect(await names([bytesOf(`${folder}/d/\xff\xfe`)])).toEqual(['\xff\xfe'])
    // A name is no pattern when a file has it.
    expect(await names([`${folder}/d/*?[`])).toEqual(['*?['])
  })

  it('takes paths as they are written: from here on, from the home directory, with what means nothing', async () => {
    const folder = tree('home/a', 'd/e/f')
    vi.stubEnv('HOME', join(folder, 'home'))
    const cwd = vi.spyOn(process, 'cwd')
    try {
      expect((await walk(['~/a'])).paths).toEqual([`${folder}/home/a`])
      await expect(walk(['~'])).rejects.toEqual(withCode('E_SOURCE_MISSING'))
      expect(await names([`${folder}/d/`])).toEqual(['d', 'd/e', 'd/e/f'])
      expect(await names([`${folder}/d/./e/.`])).toEqual(['e', 'e/f'])
      expect(await names([`${folder}/d/e/..`])).toEqual(['d', 'd/e', 'd/e/f'])
      expect(await names(['package.json'])).toEqual(['package.json'])
    } finally {
      vi.unstubAllEnvs()
      cwd.mockRestore()
    }
  })

  it('takes a pattern from the current directory on, whatever characters that is named with', async () => {
    const folder = tree('run[1]/a.dat', 'run[1]/b.dat', 'run1/c.dat')
    const real = vi.spyOn(realpathSync, 'native').mockImplementation((() => `${folder}/run[1]`) as never)
    vi.stubEnv('HOME', join(folder, 'run[1]'))
    try {
      expect(await names(['*.dat'])).toEqual(['a.dat', 'b.dat'])
      expect(await names(['~/*.dat'])).toEqual(['a.dat', 'b.dat'])
      await expect(walk(['none'])).rejects.toMatchObject({ message: expect.stringContaining('no such file') })
    } finally {
      real.mockRestore()
      vi.unstubAllEnvs()
    }
  })

  it('takes one directory that is written in two ways for one', async () => {
    const folder = tree('d/a')
    expect(await names([`${folder}/d`, `${folder}/d/`, `${folder}//./d/.`])).toEqual(['d', 'd/a'])
  })

  it('renames the one source with "as"', async () => {
    const folder = tree('d/a', 'e')
    expect(await names([join(folder, 'd')], { as: 'other é' })).toEqual([latin1('other é'), `${latin1('other é')}/a`])
    await expect(walk([join(folder, 'd'), join(folder, 'e')], { as: 'x' })).rejects.toEqual(withCode('E_ARGUMENT'))
    await expect(walk(['/'])).rejects.toMatchObject({ code: 'E_ARGUMENT', suggestions: [expect.stringContaining('"as"')] })
  })

  describe('patterns', () => {
    const folder = tree('a1', 'a2', 'b1', '.a3', latin1('é1'), 'd/x.txt', 'e/x.txt', 'e/.x.txt', 'e/y', '\xff1')
    it.each<[string, string[]]>([
      ['a*', ['a1', 'a2']],
      ['?1', ['a1', 'b1', latin1('é1'), '\xff1']],
      ['[!b]1', ['a1', latin1('é1'), '\xff1']],
      ['[a-b]?', ['a1', 'a2', 'b1']],
      ['.a*', ['.a3']],
      ['e/*', ['x.txt', 'y']],
      ['[[:alpha:]]1', ['a1', 'b1', latin1('é1'), '\xff1']],
    ])('finds %s as a shell does', async (pattern, expected) => {
      expect(await names([`${folder}/${pattern}`])).toEqual(expected)
    })

    it('finds directories only with a slash at its end', async () => {
      expect((await walk([`${folder}/?/`])).manifest.flatMap(({ kind, name }) => (kind === 'directory' ? [name] : []))).toEqual(['d', 'e'])
      expect(await names([`${folder}/[ae]*/`])).toEqual(['e', 'e/.x.txt', 'e/x.txt', 'e/y'])
    })

    it('says soon that a name does not fit, however many stars there are', async () => {
      const many = tree('a'.repeat(250))
      await expect(walk([`${many}/${'*a'.repeat(40)}b`])).rejects.toEqual(withCode('E_SOURCE_MISSING'))
      expect(await names([`${many}/${'*a'.repeat(40)}*`])).toEqual(['a'.repeat(250)])
    })

    it('says that one fits nothing', async () => {
      await expect(walk([`${folder}/z*`])).rejects.toMatchObject({ code: 'E_SOURCE_MISSING', message: expect.stringContaining('pattern') })
      await expect(walk([`${folder}/[z-a]`])).rejects.toEqual(withCode('E_SOURCE_MISSING'))
    })

    it('takes bytes as a name, never as a pattern', async () => {
      await expect(walk([Buffer.from(`${folder}/a*`)])).rejects.toEqual(withCode('E_SOURCE_MISSING'))
    })

    it('refuses files of one name, naming both', async () => {
      await expect(walk([`${folder}/*/x.txt`])).rejects.toMatchObject({
        code: 'E_ARGUMENT',
        message: expect.stringMatching(/d\/x\.txt.*e\/x\.txt/),
      })
      // The same file twice is one file.
      expect(await names([`${folder}/a1`, `${folder}/a*`])).toEqual(['a1', 'a2'])
    })
  })

  describe('links', () => {
    const make = (): string => {
      const folder = tree('d/file', 'd/inner/x', 'outside/y')
      symlinkSync('file', join(folder, 'd/to-file'))
      symlinkSync(Buffer.from('\xff', 'latin1'), join(folder, 'd/to-nothing'))
      symlinkSync('../outside', join(folder, 'd/to-folder'))
      symlinkSync('d', join(folder, 'to-d'))
      return folder
    }

    it('keeps those inside, and follows those that are named', async () => {
      const { manifest } = await walk([join(make(), 'to-d')])
      expect(manifest.map(({ name }) => name)).toEqual([
        'to-d',
        'to-d/file',
        'to-d/inner',
        'to-d/inner/x',
        'to-d/to-file',
        'to-d/to-folder',
        'to-d/to-nothing',
      ])
      expect(manifest.filter(({ kind }) => kind === 'link')).toMatchObject([
        { target: 'file' },
        { target: '../outside' },
        { target: '\xff' },
      ])
    })

    it('follows them', async () => {
      const folder = make()
      await expect(walk([join(folder, 'd')], { links: 'follow' })).rejects.toMatchObject({
        code: 'E_SOURCE_MISSING',
        message: expect.stringContaining('to-nothing: a link to what does not exist'),
      })
      rmSync(join(folder, 'd/to-nothing'))
      const { manifest } = await walk([join(folder, 'd')], { links: 'follow' })
      expect(manifest.map(({ kind, name }) => `${kind} ${name}`).slice(-3)).toEqual([
        'file d/to-file',
        'directory d/to-folder',
        'file d/to-folder/y',
      ])
    })

    it('leaves them out', async () => {
      const { manifest, leftOut } = await walk([join(make(), 'd')], { links: 'skip' })
      expect(manifest.map(({ kind }) => kind)).not.toContain('link')
      expect(leftOut.slice(0, 2)).toEqual([
        { file: 'd/to-file', why: 'symbolic link' },
        { file: 'd/to-folder', why: 'symbolic link' },
      ])
    })

    it('refuses one that leads back to where it is, without end', async () => {
      const folder = tree('d/inner/x')
      symlinkSync('..', join(folder, 'd/inner/up'))
      await expect(walk([join(folder, 'd')], { links: 'follow' })).rejects.toMatchObject({
        code: 'E_SOURCE_UNREADABLE',
        message: expect.stringContaining('without end'),
      })
      expect(await names([join(folder, 'd')])).toContain('d/inner/up')
    })
  })

  describe('special files', () => {
    const make = async (): Promise<{ folder: string; close: () => void }> => {
      const folder = tree('d/file')
      execFileSync('mkfifo', [join(folder, 'd/pipe')])
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(join(folder, 'd/socket'), resolve))
      return { folder, close: () => server.close() }
    }

    it('leaves those inside out, and says which', async () => {
      const { folder, close } = await make()
      try {
        const { manifest, leftOut } = await walk([join(folder, 'd')])
        expect(manifest.map(({ name }) => name)).toEqual(['d', 'd/file'])
        expect(leftOut).toEqual([
          { file: 'd/pipe', why: 'named pipe' },
          { file: 'd/socket', why: 'socket' },
        ])
        await expect(walk([join(folder, 'd')], { special: 'refuse' })).rejects.toMatchObject({
          code: 'E_SOURCE_SPECIAL',
          data: {
            problems: [expect.objectContaining({ file: `${folder}/d/pipe` }), expect.objectContaining({ file: `${folder}/d/socket` })],
          },
        })
      } finally {
        close()
      }
    })

    it('refuses those that are named', async () => {
      const { folder, close } = await make()
      close()
      await expect(walk([join(folder, 'd/pipe')])).rejects.toEqual(withCode('E_SOURCE_SPECIAL'))
      await expect(walk(['/dev/null'])).rejects.toMatchObject({ code: 'E_SOURCE_SPECIAL', message: expect.stringContaining('device') })
    })
  })

  it('refuses a file that says it is empty and is not (needs /proc)', async () => {
    await expect(walk(['/proc/version'])).rejects.toMatchObject({
      code: 'E_SOURCE_UNREADABLE',
      message: expect.stringContaining('/proc/version: it says that it is empty, and has content'),
    })
  })

  it('takes times that no calendar has for the last one that every host can write', async () => {
    const folder = tree('a')
    const file = join(folder, 'a')
    utimesSync(file, '9e15', '9e15')
    const [entry] = (await walk([file])).manifest
    // Some file systems end earlier.
    expect(encodeManifest([entry as ManifestEntry])).toMatch(/^f \d+ \d+ 1 a\n$/)
    expect(microsecondsOf(9n * 10n ** 27n)).toBe(9e18)
    expect(microsecondsOf(-9n * 10n ** 27n)).toBe(-9e18)
  })

  it('names all that is missing, not only the first', async () => {
    const folder = tree('a')
    const missing = ['x', 'a/y', 'z'].map((name) => join(folder, name))
    symlinkSync('nowhere', join(folder, 'dangling'))
    const error: unknown = await walk([...missing, join(folder, 'a'), join(folder, 'dangling')]).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'E_SOURCE_MISSING' })
    for (const file of [...missing, 'dangling: a link to what does not exist']) expect((error as Error).message).toContain(file)
    expect((error as Error).message).not.toContain(`${join(folder, 'a')}:`)
  })

  it.each([[[]], [['']], [['a\0b']]])('refuses %j as files', async (files) => {
    await expect(walk(files)).rejects.toEqual(withCode('E_ARGUMENT'))
  })

  it('says which file may not be read', async () => {
    const folder = tree('d/open', 'd/shut', 'd/locked/x')
    chmodSync(join(folder, 'd/shut'), 0)
    chmodSync(join(folder, 'd/locked'), 0)
    chmodSync(scratch.root, 0o755)
    chmodSync(folder, 0o755)
    if (isRoot) process.seteuid?.(65_534)
    try {
      await expect(walk([join(folder, 'd')])).rejects.toMatchObject({
        code: 'E_SOURCE_UNREADABLE',
        data: {
          problems: [expect.objectContaining({ file: `${folder}/d/locked` }), expect.objectContaining({ file: `${folder}/d/shut` })],
        },
      })
    } finally {
      if (isRoot) process.seteuid?.(0)
      chmodSync(join(folder, 'd/locked'), 0o700)
    }
  })

  it('goes as deep as a path may be long', async () => {
    const folder = tree('d/')
    let path = join(folder, 'd')
    let depth = 1
    for (; path.length + 41 < 4000; depth += 1) path += `/${'x'.repeat(40)}`
    mkdirSync(path, { recursive: true })
    const { manifest } = await walk([join(folder, 'd')])
    expect(manifest).toHaveLength(depth)
    // One that was moved below another is longer than the system takes.
    mkdirSync(join(folder, 'y'.repeat(200)))
    renameSync(join(folder, 'd'), join(folder, 'y'.repeat(200), 'd'))
    await expect(walk([join(folder, 'y'.repeat(200))])).rejects.toEqual(withCode('E_SOURCE_UNREADABLE'))
    renameSync(join(folder, 'y'.repeat(200), 'd'), join(folder, 'd'))
  })

  it('ends when it is given up', async () => {
    const folder = tree(...Array.from({ length: 50 }, (_, at) => `d/${at}/x`))
    // Others have their turn while it walks: here, after each file.
    let clock = 0
    const now = vi.spyOn(performance, 'now').mockImplementation(() => (clock += 100))
    try {
      const walking = walkSources([join(folder, 'd')], policyOf(), AbortSignal.abort(new Error('enough')))
      await expect(walking).rejects.toThrow('enough')
    } finally {
      now.mockRestore()
    }
  })
})
