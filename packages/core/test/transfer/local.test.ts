import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { disksUnavailable, mountDisk } from '../../../../test/testbed/disks.mjs'
import { connectionSchema } from '../../src/model/connection.js'
import type { CopyOptions, TransferResult } from '../../src/model/transfer.js'
import type { TransferCall, TransferProgress } from '../../src/ports/transfer.js'
import { LocalTransfer } from '../../src/transfer/local/local.js'
import { walkSources } from '../../src/transfer/local/local-walk.js'
import { partsId } from '../../src/transfer/manifest.js'
import { bytesOf, policyOf, readTree, Scratch } from './trees.js'

const scratch = new Scratch()
afterAll(() => scratch.remove())
const diskReason = disksUnavailable()
const ifDisk = diskReason === undefined ? '' : ` (${diskReason})`
const connection = connectionSchema.parse({})

async function copy(
  files: readonly string[],
  directory: string,
  options: CopyOptions = {},
  call: TransferCall = {},
): Promise<TransferResult> {
  await using transfer = new LocalTransfer()
  const [result] = await transfer.put({ files, ends: [{ host: undefined, connection, directory }], policy: policyOf(options) }, call)
  return result as TransferResult
}

type Node =
  | { readonly kind: 'file'; readonly content: Uint8Array; readonly mode: number; readonly time: number }
  | { readonly kind: 'link'; readonly target: string; readonly time: number }
  | { readonly kind: 'folder'; readonly mode: number; readonly time: number; readonly inside: readonly (readonly [string, Node])[] }

const name = fc.oneof(
  fc.constantFrom('-rf', ' ', 'a b', '\n', '*', '~', '\xff\xfe', 'x'.repeat(255), '.hidden', '%41', '\\#012', "'", '.cahier-1'),
  fc.uint8Array({ minLength: 1, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('latin1').replaceAll(/[/\0]/g, '_')),
)
const named = name.filter((text) => text !== '.' && text !== '..')
const time = fc.integer({ min: -4_000_000_000_000_000, max: 4_102_444_800_999_999 })
const mode = fc.integer({ min: 0, max: 0o7777 })
const { tree } = fc.letrec<{ tree: Node; node: Node }>((tie) => ({
  tree: fc.record({
    kind: fc.constant('folder' as const),
    mode,
    time,
    inside: fc.uniqueArray(fc.tuple(named, tie('node')), { maxLength: 5, selector: ([text]) => text }),
  }),
  node: fc.oneof(
    { maxDepth: 3 },
    fc.record({ kind: fc.constant('file' as const), content: fc.uint8Array({ maxLength: 20 }), mode, time }),
    fc.record({ kind: fc.constant('link' as const), target: named, time }),
    tie('tree'),
  ),
}))

function write(path: string, node: Node): void {
  const seconds = String((node.time + (node.time < 0 ? -0.5 : 0.5)) / 1e6)
  if (node.kind === 'link') {
    symlinkSync(bytesOf(node.target), bytesOf(path))
    lutimesSync(bytesOf(path), seconds, seconds)
    return
  }
  if (node.kind === 'file') writeFileSync(bytesOf(path), node.content)
  else {
    mkdirSync(bytesOf(path))
    for (const [inner, child] of node.inside) write(`${path}/${inner}`, child)
  }
  chmodSync(bytesOf(path), process.geteuid?.() === 0 ? node.mode : node.mode | 0o700)
  utimesSync(bytesOf(path), seconds, seconds)
}

/** What was made without a mode that lets us in can be removed by root only. */
function open(path: string): void {
  chmodSync(bytesOf(path), 0o700)
  for (const inner of readdirSync(bytesOf(path), { encoding: 'latin1', withFileTypes: true }))
    if (inner.isDirectory()) open(`${path}/${inner.name}`)
}

describe('LocalTransfer', () => {
  it('copies any tree as it is, and has nothing to do the second time', async () => {
    await fc.assert(
      fc.asyncProperty(tree, named, async (node, top) => {
        const [from, to] = [scratch.folder(), scratch.folder()]
        try {
          write(`${from}/${top}`, node)
          await using transfer = new LocalTransfer()
          const request = { files: [bytesOf(`${from}/${top}`)], ends: [{ host: undefined, connection, directory: to }], policy: policyOf() }
          expect(await transfer.put(request)).toEqual([expect.objectContaining({ outcome: 'done' })])
          expect(readTree(to)).toEqual(readTree(from))
          expect(await transfer.put(request)).toEqual([expect.objectContaining({ outcome: 'skipped-same', bytes: 0, files: 0 })])
          expect(readTree(to)).toEqual(readTree(from))
        } finally {
          open(from)
          open(to)
        }
      }),
      { numRuns: 60 },
    )
  })

  it('says what it did', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    mkdirSync(join(from, 'd'))
    const content = randomBytes(1_500_000)
    writeFileSync(join(from, 'd/large'), content)
    writeFileSync(join(from, 'd/small'), 'small')
    linkSync(join(from, 'd/small'), join(from, 'd/other name'))
    const told: TransferProgress[] = []
    const result = await copy([join(from, 'd')], to, {}, { onProgress: (progress) => told.push(progress) })
    expect(result).toEqual({
      host: undefined,
      outcome: 'done',
      bytes: 1_500_010,
      files: 3,
      same: 0,
      seconds: expect.any(Number),
      verified: 'sha256',
      via: 'local',
    })
    expect(told.map(({ phase }) => phase)).toEqual(expect.arrayContaining(['moving', 'checking', 'ended']))
    expect(told.at(-1)).toEqual({ index: 0, phase: 'ended', bytes: 1_500_010, total: 1_500_010, result })
    expect(readTree(to)).toEqual(readTree(from))
    writeFileSync(join(from, 'd/small'), 'SMALL!')
    expect(await copy([join(from, 'd')], to)).toMatchObject({ outcome: 'done', bytes: 12, files: 2, same: 1 })
    expect(await copy([join(from, 'd')], to)).toMatchObject({ outcome: 'skipped-same', files: 0, same: 3, verified: 'time' })
    expect(await copy([join(from, 'd')], to, { checksum: true })).toMatchObject({ outcome: 'skipped-same', verified: 'sha256' })
  })

  it('compares content when that is asked for', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    writeFileSync(join(from, 'a'), 'one')
    writeFileSync(join(to, 'a'), 'ONE')
    for (const folder of [from, to]) utimesSync(join(folder, 'a'), 1e9, 1e9)
    expect(await copy([join(from, 'a')], to)).toMatchObject({ outcome: 'skipped-same' })
    expect(await copy([join(from, 'a')], to, { checksum: true })).toMatchObject({ outcome: 'done', files: 1 })
    expect(readFileSync(join(to, 'a'), 'utf8')).toBe('one')
  })

  it('takes what is there from the home directory on, and what is here from here on', async () => {
    const home = scratch.folder()
    writeFileSync(join(home, 'a'), 'a')
    vi.stubEnv('HOME', home)
    try {
      await copy(['package.json'], 'below', { create: true })
      await copy(['package.json'], '~/other', { create: true })
      expect(readdirSync(join(home, 'below'))).toEqual(readdirSync(join(home, 'other')))
      await using transfer = new LocalTransfer()
      const to = scratch.folder()
      const got = await transfer.get({
        files: ['a', '~/below/*'],
        ends: [{ host: undefined, connection, directory: to }],
        policy: policyOf(),
      })
      expect(got).toMatchObject([{ outcome: 'done', files: 2, directory: to }])
      expect(readdirSync(to)).toEqual(['a', 'package.json'])
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it('gives each directory its own result', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    writeFileSync(join(from, 'a'), 'a')
    mkdirSync(join(to, 'blocked/a'), { recursive: true })
    mkdirSync(join(to, 'free'))
    await using transfer = new LocalTransfer()
    const ends = ['missing', 'blocked', 'free'].map((directory) => ({ host: undefined, connection, directory: join(to, directory) }))
    expect(await transfer.put({ files: [join(from, 'a')], ends, policy: policyOf() })).toMatchObject([
      { outcome: 'failed', error: { code: 'E_TARGET_MISSING' } },
      { outcome: 'failed', error: { code: 'E_TARGET_KIND' }, failures: [{ file: 'a', code: 'E_TARGET_KIND' }] },
      { outcome: 'done', files: 1 },
    ])
  })

  it('refuses hosts, and sources that are not there, before anything', async () => {
    await using transfer = new LocalTransfer()
    const to = join(scratch.folder(), 'new')
    const ends = [{ host: undefined, connection, directory: to }]
    const policy = policyOf({ create: true })
    const elsewhere = [...ends, { host: { address: 'h1' }, connection, directory: to }]
    await expect(transfer.put({ files: ['package.json'], ends: elsewhere, policy })).rejects.toMatchObject({ code: 'E_NOT_SUPPORTED' })
    await expect(transfer.put({ files: ['/nonexistent'], ends, policy })).rejects.toMatchObject({ code: 'E_SOURCE_MISSING' })
    expect(existsSync(to)).toBe(false)
  })

  it('is given up with clean names, and goes on where it was', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    const content = randomBytes(2_000_000)
    writeFileSync(join(from, 'a'), 'a')
    writeFileSync(join(from, 'large'), content)
    const files = [join(from, 'a'), join(from, 'large')]
    const end = new AbortController()
    const stopped = await copy(
      files,
      to,
      { limit: 2_000_000 },
      {
        signal: end.signal,
        onProgress: ({ bytes }) => {
          if (bytes > 500_000) end.abort()
        },
      },
    )
    expect(stopped).toMatchObject({ outcome: 'failed', error: { code: 'E_ABORTED' } })
    expect(readdirSync(to)).toEqual([expect.stringMatching(/^\.cahier-/)])
    const again = await copy(files, to)
    expect(again).toMatchObject({ outcome: 'done', files: 2 })
    expect(again.bytes).toBeLessThan(1_600_000)
    expect(readTree(to)).toEqual(readTree(from))
  })

  it('finds out that a part of an earlier transfer is wrong', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    const content = randomBytes(3_000_000)
    writeFileSync(join(from, 'large'), content)
    const { manifest } = await walkSources([join(from, 'large')], policyOf())
    const parts = join(to, `.cahier-${partsId(manifest, '')}`)
    mkdirSync(parts, { mode: 0o700 })
    const wrong = Buffer.from(content.subarray(0, 2_900_000))
    wrong.fill(0, 1_200_000, 1_200_010)
    writeFileSync(join(parts, '0'), wrong)
    // The first piece is right.
    expect(await copy([join(from, 'large')], to)).toMatchObject({ outcome: 'done', bytes: 3_000_000 - (1 << 20), verified: 'sha256' })
    expect(readTree(to)).toEqual(readTree(from))
  })

  it('throws away what came without "resume"', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    writeFileSync(join(from, 'large'), randomBytes(1_000_000))
    const end = new AbortController()
    const onProgress = ({ bytes }: TransferProgress): void => (bytes > 200_000 ? end.abort() : undefined)
    await copy([join(from, 'large')], to, { resume: false, limit: 1_000_000 }, { signal: end.signal, onProgress })
    expect(readdirSync(to)).toEqual([])
  })

  it.skipIf(diskReason !== undefined)(`keeps what came when the disk becomes full on the way${ifDisk}`, async () => {
    await using disk = await mountDisk({ size: '3m' })
    const from = scratch.folder()
    writeFileSync(join(from, 'large'), randomBytes(2_000_000))
    const fill = (): void => {
      if (!existsSync(join(disk.here, 'fill'))) {
        try {
          writeFileSync(join(disk.here, 'fill'), Buffer.alloc(3_000_000))
        } catch {
          // That is what it is for.
        }
      }
    }
    const onProgress = ({ bytes }: TransferProgress): void => (bytes > 200_000 ? fill() : undefined)
    const result = await copy([join(from, 'large')], disk.here, { limit: 4_000_000 }, { onProgress })
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'E_TARGET_FULL' } })
    expect(readdirSync(disk.here).sort()).toEqual([expect.stringMatching(/^\.cahier-/), 'fill'])
    rmSync(join(disk.here, 'fill'))
    const again = await copy([join(from, 'large')], disk.here)
    expect(again).toMatchObject({ outcome: 'done' })
    expect(again.bytes).toBeLessThan(2_000_000)
  })

  it('does not place a file that is written to while it is copied', async () => {
    const [from, to] = [scratch.folder(), scratch.folder()]
    writeFileSync(join(from, 'large'), randomBytes(1_000_000))
    writeFileSync(join(from, 'still'), 'x')
    const onProgress = ({ bytes }: TransferProgress): void => {
      if (bytes > 200_000 && bytes < 900_000) writeFileSync(join(from, 'large'), randomBytes(1_000_000))
    }
    const result = await copy([join(from, 'large'), join(from, 'still')], to, { limit: 1_000_000 }, { onProgress })
    expect(result).toMatchObject({
      outcome: 'failed',
      files: 1,
      error: { code: 'E_SOURCE_CHANGED', message: expect.stringContaining('large') },
      failures: [{ file: 'large', code: 'E_SOURCE_CHANGED' }],
    })
    expect(readdirSync(to).filter((entry) => !entry.startsWith('.cahier-'))).toEqual(['still'])
  })
})
