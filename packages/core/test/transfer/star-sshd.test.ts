import { chmodSync, lstatSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import { type CopyOptions, copyOptionsSchema } from '../../src/model/transfer.js'
import type { TransferCall, TransferEnd, TransferProgress } from '../../src/ports/transfer.js'
import type { Mover } from '../../src/transfer/mover.js'
import { ScpMover } from '../../src/transfer/scp.js'
import { SftpMover } from '../../src/transfer/sftp.js'
import { StarTransfer } from '../../src/transfer/star.js'
import { CONNECTORS, HostLab, noise, readBytes, writeTree } from './host-lab.js'

const reason = sshHostsUnavailable()
const why = reason === undefined ? '' : ` (needs sshd: ${reason})`

describe.skipIf(reason !== undefined)(`StarTransfer on real hosts${why}`, () => {
  let lab: HostLab
  beforeAll(async () => {
    lab = await HostLab.start(5, {
      overrides: { h4: { sshdLines: ['ForceCommand internal-sftp', 'Subsystem sftp internal-sftp'] }, h5: { maxSessions: 1 } },
    })
  })
  afterAll(async () => await lab?.[Symbol.asyncDispose]())

  const movers: readonly Mover[] = [new ScpMover(), new SftpMover()]
  const star = (mover: Mover, kinds?: ConstructorParameters<typeof StarTransfer>[1]['kinds']): StarTransfer =>
    new StarTransfer(lab.context, { name: mover.name, mover, kinds })
  const put = (transfer: StarTransfer, files: string[], ends: TransferEnd[], options: CopyOptions = {}, call?: TransferCall) =>
    transfer.put({ files, ends, policy: copyOptionsSchema.parse(options) }, call)
  const get = (transfer: StarTransfer, files: string[], ends: TransferEnd[], options: CopyOptions = {}, call?: TransferCall) =>
    transfer.get({ files, ends, policy: copyOptionsSchema.parse(options) }, call)

  function makeTree(): string {
    const folder = join(lab.newFolder(), 'tree')
    writeTree(folder, { 'a b': 'one', '-n': noise(100_000), 'deep/er/empty': '', 'deep/line\nend': 'two', 'deep/big': noise(1_000_003) })
    mkdirSync(join(folder, 'nothing'))
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/`), Buffer.from([0xff, 0xfe])]), 'odd')
    symlinkSync('a b', join(folder, 'link'))
    chmodSync(join(folder, 'a b'), 0o751)
    chmodSync(join(folder, 'deep'), 0o750)
    utimesSync(join(folder, 'a b'), 1_000_000_000, 1_000_000_000)
    utimesSync(join(folder, 'deep'), 1_100_000_000, 1_100_000_000)
    return folder
  }

  /** Everything that can be compared, by name. */
  function look(folder: string, seconds = false): unknown {
    return readdirSync(folder, { recursive: true, encoding: 'latin1' })
      .sort()
      .map((name) => {
        const path = Buffer.from(`${folder}/${name}`, 'latin1')
        const stats = lstatSync(path)
        const time = seconds ? Math.floor(stats.mtimeMs / 1000) : Math.round(stats.mtimeMs)
        if (stats.isSymbolicLink()) return [name, readlinkSync(path)]
        return [name, stats.mode, time, stats.isFile() ? readBytes(`${folder}/${name}`).toString('base64').slice(0, 1e4) : 'directory']
      })
  }

  const each = movers.flatMap((mover) => CONNECTORS.map((connector) => ({ mover, connector, name: mover.name })))

  it.each(each)('$name over $connector brings a tree to hosts and back, over one login each', async ({ mover, connector }) => {
    await lab.newPool()
    const transfer = star(mover)
    const tree = makeTree()
    const before = lab.bed.logins()
    const names = ['h1', 'h2', 'h3']
    const ends = names.map((name) => lab.end(name, join(lab.newFolder(), 'new'), { connector }))
    const progress: TransferProgress[] = []
    const results = await put(transfer, [tree], ends, { create: true }, { onProgress: (one) => progress.push(one) })
    for (const [index, result] of results.entries()) {
      expect(result).toMatchObject({
        host: names[index],
        outcome: 'done',
        files: 6,
        same: 0,
        bytes: 1_100_012,
        verified: 'sha256',
        via: mover.name,
      })
      expect(look(join(ends[index]!.directory, 'tree'))).toEqual(look(tree))
      expect(readdirSync(ends[index]!.directory)).toEqual(['tree'])
      const told = progress.filter((one) => one.index === index)
      expect([...new Set(told.map(({ phase }) => phase))]).toEqual(['connecting', 'looking', 'moving', 'checking', 'ended'])
      expect(told.at(-1)).toMatchObject({ bytes: 1_100_012, total: 1_100_012, result })
    }
    const again = await put(transfer, [tree], ends)
    expect(again.map(({ outcome, bytes, same }) => [outcome, bytes, same])).toEqual(names.map(() => ['skipped-same', 0, 6]))

    const homes = names.map((name) => lab.end(name, lab.newFolder(), { connector }))
    const fetched = await get(transfer, [join(ends[0]!.directory, 'tr*')], homes)
    for (const [index, result] of fetched.entries()) {
      expect(result).toMatchObject({ host: names[index], outcome: 'done', files: 6, bytes: 1_100_012, directory: homes[index]!.directory })
      expect(look(join(homes[index]!.directory, 'tree'))).toEqual(look(tree))
    }
    expect(lab.bed.logins() - before).toBe(3)
  })

  it.each(movers)('$name says of each host what is wrong with it, and serves the others', async (mover) => {
    const transfer = star(mover)
    const file = join(lab.newFolder(), 'file')
    writeFileSync(file, 'content')
    lab.bed.stopHost('h3')
    try {
      await lab.newPool()
      const blocked = lab.newFolder()
      mkdirSync(join(blocked, 'file'))
      const ends = [
        lab.end('h1', lab.newFolder()),
        lab.end('h3', lab.newFolder()),
        lab.end('h2', join(lab.newFolder(), 'missing')),
        lab.end('h2', blocked),
      ]
      const results = await put(transfer, [file], ends)
      expect(results).toMatchObject([
        { outcome: 'done' },
        { outcome: 'unreachable', error: { code: 'E_HOST_REFUSED' } },
        { outcome: 'failed', error: { code: 'E_TARGET_MISSING' } },
        { outcome: 'failed', error: { code: 'E_TARGET_KIND' }, failures: [{ file: 'file', code: 'E_TARGET_KIND' }] },
      ])
      expect(readdirSync(ends[0]!.directory)).toEqual(['file'])
      const homes = ['h1', 'h3'].map((name) => lab.end(name, lab.newFolder()))
      expect(await get(transfer, [file], homes)).toMatchObject([{ outcome: 'done' }, { outcome: 'unreachable' }])
      expect(await get(transfer, [`${file}s`], homes)).toMatchObject([
        { outcome: 'failed', error: { code: 'E_SOURCE_MISSING' } },
        { outcome: 'unreachable' },
      ])
    } finally {
      await lab.bed.startHost('h3')
    }
  })
})
