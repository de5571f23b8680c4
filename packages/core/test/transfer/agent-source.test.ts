import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TransferError } from '../../src/errors.js'
import type { CopyPolicy } from '../../src/model/transfer.js'
import { AgentSource } from '../../src/transfer/agent/agent-source.js'
import { walkSources } from '../../src/transfer/local/local-walk.js'
import { byteName } from '../../src/util/byte-names.js'
import { AgentLab, kindUnavailable, localHost, policyOf } from './agent-lab.js'

const sha = (data: string): string => createHash('sha256').update(data).digest('hex')
const isRoot = process.getuid?.() === 0

for (const kind of ['py', 'pl'] as const) {
  const reason = kindUnavailable(kind)
  describe.skipIf(reason !== undefined)(`a source of the agent in ${kind}${reason === undefined ? '' : ` (${reason})`}`, () => {
    let lab: AgentLab
    let home: string
    let source: AgentSource
    beforeEach(async () => {
      lab = new AgentLab()
      home = lab.newFolder()
      mkdirSync(join(home, 'data/deep/er'), { recursive: true })
      writeFileSync(join(home, 'data/a b'), 'one')
      writeFileSync(join(home, 'data/deep/-x'), 'two')
      writeFileSync(join(home, 'data/deep/er/new\nline'), '')
      writeFileSync(Buffer.concat([Buffer.from(`${home}/data/odd`), Buffer.from([0xff, 0xfe, 0x01])]), 'odd')
      symlinkSync('a b', join(home, 'data/link'))
      symlinkSync('deep', join(home, 'data/linked'))
      utimesSync(join(home, 'data/a b'), 1_234_567_890.5, 1_234_567_890.5)
      chmodSync(join(home, 'data/a b'), 0o4711)
      source = new AgentSource(await lab.start(kind, localHost(home)))
    })
    afterEach(() => lab[Symbol.asyncDispose]())

    it.each([[{}], [{ links: 'follow' }], [{ links: 'skip' }], [{ as: 'other' }]] as Partial<CopyPolicy>[][])(
      'lists as this machine lists its own: %j',
      async (policy) => {
        execFileSync('mkfifo', [join(home, 'data/pipe')])
        const here = await walkSources([join(home, 'data')], policyOf(policy))
        const there = await source.list(['data'], policyOf(policy))
        // Perl has times as floating numbers.
        const rounded = there.manifest.map((entry, index) => {
          const timeUs = here.manifest[index]?.timeUs ?? 0
          return Math.abs(timeUs - entry.timeUs) <= 1 ? { ...entry, timeUs } : entry
        })
        expect(rounded).toEqual(here.manifest)
        expect(there.paths).toEqual(here.paths)
        expect(there.leftOut).toEqual(here.leftOut)
      },
    )

    it.each(['~/data', './data', 'data/', 'data/../data', 'da*', '[a-e]ata', 'd?t[!b]', '~/d*'])('finds %s', async (path) => {
      const { manifest } = await source.list([path], policyOf())
      expect(manifest[0]).toMatchObject({ kind: 'directory', name: 'data' })
      expect(manifest.length).toBeGreaterThan(5)
    })

    it('takes a name for itself before it takes it for a pattern, and follows links that are named', async () => {
      writeFileSync(join(home, '[ab]*'), 'itself')
      writeFileSync(join(home, 'bcd'), '')
      symlinkSync('data/a b', join(home, 'named'))
      const { manifest, paths } = await source.list(['named', '[ab]*', 'named'], policyOf())
      expect(manifest.map(({ kind, name }) => [kind, name])).toEqual([
        ['file', '[ab]*'],
        ['file', 'named'],
      ])
      expect(paths).toEqual([byteName(join(home, '[ab]*')), byteName(join(home, 'named'))])
      const { manifest: matched } = await source.list(['data/d*', 'bc[c-z]', '\\[ab]*'], policyOf())
      expect(matched.filter(({ name }) => !name.includes('/')).map(({ name }) => name)).toEqual(['[ab]*', 'bcd', 'deep'])
    })

    it('says all that is wrong at once', async () => {
      execFileSync('mkfifo', [join(home, 'pipe'), join(home, 'data/pipe')])
      symlinkSync('nowhere', join(home, 'broken'))
      const wanted = ['missing', 'no*such', 'pipe', 'broken', 'data']
      const error = await source.list(wanted, policyOf({ special: 'refuse' })).catch((thrown: TransferError) => thrown)
      expect(error).toMatchObject({ name: 'TransferError', code: expect.stringMatching(/^E_SOURCE_/) })
      const { problems } = (error as TransferError).data as { problems: { code: string; file: string; message: string }[] }
      expect(problems.map(({ code, file }) => `${code} ${file.split('/').at(-1)}`).sort()).toEqual([
        'E_SOURCE_MISSING broken',
        'E_SOURCE_MISSING missing',
        'E_SOURCE_MISSING no*such',
        'E_SOURCE_SPECIAL pipe',
        'E_SOURCE_SPECIAL pipe',
      ])
      expect(problems.find(({ file }) => file.endsWith('no*such'))?.message).toContain('attern')
      expect(problems.find(({ file }) => file.endsWith('broken'))?.message).toContain('ink')
    })

    it('refuses a link that leads back when links are followed', async () => {
      symlinkSync('..', join(home, 'data/deep/up'))
      await expect(source.list(['data'], policyOf({ links: 'follow' }))).rejects.toMatchObject({ code: 'E_SOURCE_UNREADABLE' })
    })

    it.skipIf(isRoot)('says what may not be read (not as root)', async () => {
      chmodSync(join(home, 'data/a b'), 0)
      await expect(source.list(['data'], policyOf())).rejects.toMatchObject({ code: 'E_SOURCE_UNREADABLE' })
    })

    it('refuses two with one name, several under one name, and none', async () => {
      mkdirSync(join(home, 'x/data'), { recursive: true })
      await expect(source.list(['data', 'x/data'], policyOf())).rejects.toMatchObject({ code: 'E_ARGUMENT' })
      await expect(source.list(['data', 'x'], policyOf({ as: 'y' }))).rejects.toMatchObject({ code: 'E_ARGUMENT' })
      await expect(source.list([], policyOf())).rejects.toMatchObject({ code: 'E_ARGUMENT' })
      await expect(source.list(['/'], policyOf())).rejects.toMatchObject({ code: 'E_ARGUMENT' })
    })

    it('says digests, and where a file is no longer what was listed', async () => {
      const { manifest } = await source.list(['data'], policyOf())
      const indexOf = (name: string): number => manifest.findIndex((entry) => entry.name === name)
      const indexes = ['data/a b', 'data/deep/-x', 'data', 'data/deep/er/new\nline'].map(indexOf)
      expect(await source.digests(indexes)).toEqual([sha('one'), sha('two'), undefined, sha('')])
      writeFileSync(join(home, 'data/deep/-x'), 'TWO')
      execFileSync('rm', [join(home, 'data/deep/er/new\nline')])
      expect(await source.digests(indexes)).toEqual([sha('one'), undefined, undefined, undefined])
    })
  })
}
