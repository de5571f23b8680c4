import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { renderWrapper } from '../../src/scheduler/job-wrapper.js'
import { parseManifest } from '../../src/staging/job-manifest.js'
import { byteName, insideName, pathBelow } from '../../src/util/byte-names.js'

const SHA = 'be70723ea1ff401de6a3467202a8aadfbfc2c3e6a85f0011fe16bd5969b3a071'
const parse = (text: string) => parseManifest(Buffer.from(text, 'latin1'))
const files = (text: string) => {
  const parsed = parse(text)
  return 'fault' in parsed ? parsed.fault : Object.fromEntries(parsed.manifest.files)
}
const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex')

describe('parseManifest', () => {
  it.each([
    ['nothing', '', {}],
    ['a size and a hash', ` 3 ./a\n${SHA}  ./a\n`, { a: { bytes: 3, hash: { kind: 'sha256', value: SHA } } }],
    ['a hash before its size', `${SHA}  ./a\n3 ./a\n`, { a: { bytes: 3, hash: { kind: 'sha256', value: SHA } } }],
    ['a size alone', '  12 ./b/c d\n', { 'b/c d': { bytes: 12 } }],
    ['the sum of wc, in any language', ' 1 ./a\n 2 ./b\n  3 insgesamt\n', { a: { bytes: 1 }, b: { bytes: 2 } }],
    ['cksum', '4294967295 0 ./a\n', { a: { bytes: 0, hash: { kind: 'cksum', value: '4294967295' } } }],
    ['escaped names', `\\5 ./a\\nb\\\\c\n\\${SHA}  ./a\\nb\\\\c\n`, { 'a\nb\\c': { bytes: 5, hash: { kind: 'sha256', value: SHA } } }],
    ['a backslash that is not escaped', '5 ./a\\nb\n', { 'a\\nb': { bytes: 5 } }],
    ['bytes that are no text', '5 ./\xff\xfe\n', { '\xff\xfe': { bytes: 5 } }],
  ])('reads %s', (_what, lines, expected) => {
    expect(files(`cahier-manifest 1\n${lines}end 0\n`)).toEqual(expected)
  })

  it('knows when some of it could not be listed', () => {
    expect(parse('cahier-manifest 1\nend 1\n')).toMatchObject({ manifest: { isComplete: false } })
    expect(parse('cahier-manifest 1\nend 0\n')).toMatchObject({ manifest: { isComplete: true } })
  })

  it.each([
    ['nothing at all', ''],
    ['another version', 'cahier-manifest 2\nend 0\n'],
    ['one without its end', 'cahier-manifest 1\n 3 ./a\n'],
    ['one with half an end', 'cahier-manifest 1\n 3 ./a\nend 0'],
    ['a line that says nothing', 'cahier-manifest 1\nfoo\nend 0\n'],
    ['a hash without a size', `cahier-manifest 1\n${SHA}  ./a\nend 0\n`],
    ['a name that leads out', 'cahier-manifest 1\n3 ./../x\nend 0\n'],
    ['a name that leads out in its middle', 'cahier-manifest 1\n3 ./a/../../x\nend 0\n'],
    ['a name that leads out when it is read', 'cahier-manifest 1\n\\3 ./a/..\nend 0\n'],
  ])('refuses %s', (_what, text) => {
    expect(parse(text)).toHaveProperty('fault')
  })

  it('never gives a name outside of the directory, whatever it reads', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('.', '/', 'a', '\\', 'n', ' ', '3', '\n') }), (text) => {
        const parsed = parse(`cahier-manifest 1\n3 ./${text}\nend 0\n`)
        if ('fault' in parsed) return
        for (const name of parsed.manifest.files.keys()) expect(insideName(name)).toBe(name)
      }),
    )
  })
})

const whereIs = (name: string): string => spawnSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim()
const SHELLS = [['/bin/sh'], ['dash'], ['bash', '--posix'], ['busybox', 'sh']] as const

for (const [program, ...flags] of SHELLS) {
  const missing = spawnSync(program, [...flags, '-c', 'true']).error !== undefined
  // The programs of busybox are part of its shell: none can be taken away from it.
  const needsPrograms = program === 'busybox' ? ' (needs programs of their own)' : ''
  describe.skipIf(missing)(
    `a manifest left by the job wrapper under ${[program, ...flags].join(' ')}${missing ? ` (needs ${program})` : ''}`,
    () => {
      let directory: string
      let tools: string
      beforeEach(() => {
        directory = mkdtempSync(join(tmpdir(), "cahier it's "))
        tools = mkdtempSync(join(tmpdir(), 'cahier-tools-'))
      })
      afterEach(() => {
        for (const path of [directory, tools]) rmSync(path, { recursive: true, force: true })
      })

      function run(lines: string, options: { exclude?: string[]; path?: string; start?: string } = {}) {
        writeFileSync(join(directory, 'job.sh'), `#!/bin/sh\n${lines}\n`, { mode: 0o755 })
        const job = { tag: 't', name: 't', script: '#!/bin/sh\n', directory, resources: {}, graceMs: 20_000 }
        const text = renderWrapper(job, { manifest: { exclude: options.exclude ?? [] }, startNumber: options.start ?? '1' })
        const env = options.path === undefined ? process.env : { ...process.env, PATH: options.path }
        const { status } = spawnSync(whereIs(program), [...flags, '-c', text], { env })
        return status
      }
      const manifest = () => {
        const parsed = parseManifest(readFileSync(join(directory, 'manifest')))
        if ('fault' in parsed) throw new Error(parsed.fault)
        return parsed.manifest
      }

      it('lists sizes and hashes of what the job left, without what it was given', () => {
        expect(
          run('echo out; echo data >result; mkdir -p sub/deep; echo more >sub/deep/x; echo other >given', { exclude: ['given'] }),
        ).toBe(0)
        expect(Object.fromEntries(manifest().files)).toEqual({
          stdout: { bytes: 4, hash: { kind: 'sha256', value: sha256('out\n') } },
          stderr: { bytes: 0, hash: { kind: 'sha256', value: sha256('') } },
          result: { bytes: 5, hash: { kind: 'sha256', value: sha256('data\n') } },
          'sub/deep/x': { bytes: 5, hash: { kind: 'sha256', value: sha256('more\n') } },
        })
        expect(manifest().isComplete).toBe(true)
      })

      it('lists names of any bytes', () => {
        const odd = ['two words', "it's", 'a\nb', '\\', 'a\\n', 'c\rd', '-rf', ' ', '\n', '\\\n\\', '*', 'é', '#', 'x\n 3 y', 'x\n']
        const names = [...odd.map(byteName), '\xff\xfe', '\xff\n']
        for (const name of names) writeFileSync(pathBelow(directory, name), name)
        expect(run('true')).toBe(0)
        const { files: listed } = manifest()
        expect([...listed.keys()].sort()).toEqual([...names, 'stdout', 'stderr'].map((name) => insideName(name) as string).sort())
        const bytes = (name: string): Buffer => Buffer.from(name)
        for (const name of names) {
          expect(listed.get(insideName(name) as string)).toEqual({
            bytes: bytes(name).length,
            hash: { kind: 'sha256', value: sha256(bytes(name)) },
          })
        }
      })

      it('takes names that it is not to list as they are, not as patterns', () => {
        expect(run('echo a >"[ab]*"; echo a >ab; echo a >"b\\\\"', { exclude: ['[ab]*', 'b\\'] })).toBe(0)
        expect([...manifest().files.keys()].sort()).toEqual(['ab', 'stderr', 'stdout'])
      })

      it('leaves out links and pipes', () => {
        symlinkSync('/etc/passwd', join(directory, 'link'))
        symlinkSync('/etc', join(directory, 'folder'))
        expect(run('mkfifo pipe')).toBe(0)
        expect([...manifest().files.keys()].sort()).toEqual(['stderr', 'stdout'])
      })

      it.skipIf(program === 'busybox')(`makes do with cksum${needsPrograms}`, () => {
        for (const name of ['find', 'cksum', 'wc', 'rm', 'mv', 'sh', 'sleep', 'date']) symlinkSync(whereIs(name), join(tools, name))
        writeFileSync(join(directory, 'a\nb'), '123456789')
        writeFileSync(join(directory, 'c'), '123456789')
        // Busybox has its own tools inside.
        run('true', { path: tools })
        const hash = program === 'busybox' ? { kind: 'sha256', value: sha256('123456789') } : { kind: 'cksum', value: '930766865' }
        expect(manifest().files.get('c')).toEqual({ bytes: 9, hash })
        expect(manifest().files.get('a\nb')).toMatchObject({ bytes: 9 })
      })

      it('leaves one with sizes when the job is told to end', () => {
        expect(run('echo out; echo data >result; kill -TERM $PPID; sleep 20')).toBe(143)
        expect(Object.fromEntries(manifest().files)).toEqual({ stdout: { bytes: 4 }, stderr: { bytes: 0 }, result: { bytes: 5 } })
        expect(readFileSync(join(directory, 'exit.json'), 'utf8')).toContain('"reason":"canceled"')
      })

      // A busybox has its own tools inside.
      it.skipIf(program === 'busybox')(`is told to end while it is being made: the job had ended by itself${needsPrograms}`, () => {
        // A program for the hash that asks for the end, and then takes for ever.
        writeFileSync(
          join(tools, 'sha256sum'),
          `#!/bin/sh\nread pid rest <${JSON.stringify(join(directory, 'running'))}\nkill -TERM $pid\nexec sleep 20\n`,
        )
        chmodSync(join(tools, 'sha256sum'), 0o755)
        const began = performance.now()
        expect(run('echo out; exit 4', { path: `${tools}:${process.env['PATH']}` })).toBe(4)
        expect(performance.now() - began).toBeLessThan(15_000)
        expect(readFileSync(join(directory, 'exit.json'), 'utf8')).toContain('"exitCode":4,"reason":"exited"')
        expect(manifest().files.get('stdout')).toEqual({ bytes: 4 })
      })

      it('is not there for a job that did not start', () => {
        mkdirSync(join(directory, 'stderr'))
        expect(run('true')).toBe(126)
        expect(readdirSync(directory)).not.toContain('manifest')
      })

      it('is kept aside by the next start', () => {
        run('echo one; kill -KILL $PPID')
        writeFileSync(join(directory, 'manifest'), 'of the first')
        expect(run('echo two', { start: '2' })).toBe(0)
        expect(readFileSync(join(directory, 'manifest.1'), 'utf8')).toBe('of the first')
        expect([...manifest().files.keys()].sort()).toEqual(['stderr', 'stdout', 'stderr.1', 'stdout.1'].sort())
      })
    },
  )
}
