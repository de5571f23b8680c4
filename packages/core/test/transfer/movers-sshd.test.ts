import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isAlive } from '../../../../test/testbed/proc.mjs'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import type { Mover } from '../../src/transfer/mover.js'
import { Pace } from '../../src/transfer/pace.js'
import { ScpMover } from '../../src/transfer/scp/scp.js'
import { SftpMover } from '../../src/transfer/sftp/sftp.js'
import { bytePath, CONNECTORS, HostLab, movedFile, moveOptions, noise, readBytes, untilLetGo } from './host-lab.js'

const reason = sshHostsUnavailable()
const why = reason === undefined ? '' : ` (needs sshd: ${reason})`

const ODD = Buffer.from([...Buffer.from('-a b\n\'"\\$(x)`!*'), ...Array.from({ length: 128 }, (_, n) => n + 128)]).toString('latin1')

describe.skipIf(reason !== undefined)(`movers on real hosts${why}`, { timeout: 180_000 }, () => {
  const movers: readonly Mover[] = [new ScpMover(), new SftpMover()]
  const shells = ['csh', 'fish', 'bash', 'dash', 'zsh'].flatMap((name) => {
    try {
      return execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()
    } catch {
      return []
    }
  })
  let lab: HostLab
  beforeAll(async () => {
    lab = await HostLab.start(3 + shells.length, {
      overrides: {
        h2: { rcNoise: 'Welcome!\nYou have mail.' },
        h3: { sshdLines: ['Subsystem sftp /bin/false'] },
        ...Object.fromEntries(shells.map((loginShell, n) => [`h${n + 4}`, { loginShell }])),
      },
    })
  })
  afterAll(async () => await lab?.[Symbol.asyncDispose]())

  const each = movers.flatMap((mover) => CONNECTORS.map((connector) => ({ mover, connector, name: mover.name })))

  it.each(each)('$name over $connector sends and receives files of any size and name', async ({ mover, connector }) => {
    const host = await lab.reach('h1', { connector })
    const contents = [0, 1, 32_768, 70_001, 3_000_017].map((bytes, n) => noise(bytes, n + 1))
    const from = bytePath(lab.newFolder())
    const there = `${bytePath(lab.newFolder())}/${ODD}`
    const back = bytePath(lab.newFolder())
    mkdirSync(Buffer.from(there, 'latin1'))
    const files = contents.map((content, n) => {
      const path = `${from}/${n}${ODD}`
      writeFileSync(Buffer.from(path, 'latin1'), content)
      return movedFile(n * 7, path, content.length)
    })
    const out = moveOptions()
    expect(await mover.send(host, files, there, out)).toEqual(new Map())
    expect(out.told.bytes).toBe(contents.reduce((sum, { length }) => sum + length, 0))
    expect(out.told.files.sort((a, b) => a - b)).toEqual([0, 7, 14, 21, 28])
    for (const [n, content] of contents.entries()) expect(readBytes(`${there}/${n * 7}`).equals(content)).toBe(true)

    const home = moveOptions()
    expect(await mover.receive(host, files, back, home)).toEqual(new Map())
    expect(home.told.bytes).toBe(out.told.bytes)
    for (const [n, content] of contents.entries()) expect(readBytes(`${back}/${n * 7}`).equals(content)).toBe(true)
    await untilLetGo(host)
  })

  it.each(each)('$name over $connector moves many small files', async ({ mover, connector }) => {
    const host = await lab.reach('h1', { connector })
    const [from, there, back] = [lab.newFolder(), lab.newFolder(), lab.newFolder()]
    const files = Array.from({ length: 400 }, (_, n) => {
      writeFileSync(join(from, `file number ${n}`), `${n}\n`)
      return movedFile(n, join(from, `file number ${n}`), `${n}\n`.length)
    })
    expect(await mover.send(host, files, there, moveOptions())).toEqual(new Map())
    expect(await mover.receive(host, files, back, moveOptions())).toEqual(new Map())
    for (const folder of [there, back]) {
      expect(readdirSync(folder)).toHaveLength(400)
      for (const { index } of files) expect(readBytes(join(folder, `${index}`)).toString()).toBe(`${index}\n`)
    }
  })

  it.each(movers)('$name names the files that it could not bring, and brings the others', async (mover) => {
    const host = await lab.reach('h1')
    const [from, there, back] = [lab.newFolder(), lab.newFolder(), lab.newFolder()]
    for (const name of ['a', 'c', 'e']) writeFileSync(join(from, name), `content of ${name}`)
    // A directory stands in the place of the part.
    for (const folder of [there, back]) mkdirSync(join(folder, '2'))
    const files = ['a', 'gone', 'c', 'also gone', 'e'].map((name, n) => movedFile(n, join(from, name), 12))
    const sent = await mover.send(host, files, there, moveOptions())
    expect([...sent.keys()].sort()).toEqual([1, 2, 3])
    expect(sent.get(1)).toMatchObject({ code: 'E_SOURCE_CHANGED', message: expect.stringContaining('gone') })
    expect(sent.get(2)).toMatchObject({ code: expect.stringMatching(/^E_T/), message: expect.stringContaining(join(there, '2')) })
    const received = await mover.receive(host, files, back, moveOptions())
    expect([...received.keys()].sort()).toEqual([1, 2, 3])
    for (const folder of [there, back]) expect(readBytes(join(folder, '4')).toString()).toBe('content of e')
  })

  it.each(CONNECTORS)('scp over %s goes on behind a file that is refused, whatever follows', async (connector) => {
    const host = await lab.reach('h1', { connector })
    const [from, there] = [lab.newFolder(), lab.newFolder()]
    const orders = ['C0600 3 7\nabc\0', 'E\n', 'T0 0 0 0\n', '\x01said\n', '\x02said\n', 'D0700 0 9\n', '\0\0\0']
    const contents = Array.from({ length: 600 }, (_, n) => orders[n % orders.length] as string)
    const files = contents.map((content, n) => {
      writeFileSync(join(from, `${n}`), content)
      return movedFile(n, join(from, `${n}`), content.length)
    })
    const refused = [0, 5, 8, 299, 599]
    for (const n of refused) mkdirSync(join(there, `${n}`))
    const out = moveOptions()
    const failures = await new ScpMover().send(host, files, there, out)
    expect([...failures.keys()].sort((a, b) => a - b)).toEqual(refused)
    expect(out.told.files.sort((a, b) => a - b)).toEqual(files.map(({ index }) => index).filter((index) => !refused.includes(index)))
    expect(out.told.bytes).toBe(contents.reduce((sum, { length }, n) => sum + (refused.includes(n) ? 0 : length), 0))
    for (const index of out.told.files) expect(readBytes(join(there, `${index}`)).toString()).toBe(contents[index])
    expect(readdirSync(there)).toHaveLength(600)
    await untilLetGo(host)
  })

  it('scp obeys no order that stands in a file which is refused', async () => {
    const host = await lab.reach('h1')
    const [from, there] = [lab.newFolder(), lab.newFolder()]
    mkdirSync(join(there, '1'))
    const contents = ['HELLO', 'C0600 5 0\nEVIL!\0', '\x01\nC0600 5 0\nEVIL!\0', 'T1 0 1 0\nC0600 5 0\nEVIL!\0']
    for (const [n, content] of contents.entries()) {
      writeFileSync(join(from, '0'), 'HELLO')
      writeFileSync(join(from, '1'), content)
      const files = [movedFile(0, join(from, '0'), 5), movedFile(1, join(from, '1'), content.length)]
      const failures = await new ScpMover().send(host, files, there, moveOptions())
      expect([...failures.keys()], contents[n]).toEqual([1])
      expect(readBytes(join(there, '0')).toString(), contents[n]).toBe('HELLO')
    }
    expect(readdirSync(there).sort()).toEqual(['0', '1'])
  })

  it.each(movers)('$name brings files of any size beside each other, and sees which became shorter', async (mover) => {
    const host = await lab.reach('h1')
    const [from, there, back] = [lab.newFolder(), lab.newFolder(), lab.newFolder()]
    const sizes = Array.from({ length: 80 }, (_, n) => [0, 1, 5_000, 32_767, 32_768, 32_769, 65_536, 300_000][n % 8] as number)
    const files = sizes.map((size, n) => {
      writeFileSync(join(from, `${n}`), noise(size, n + 1))
      return movedFile(n, join(from, `${n}`), size)
    })
    const out = moveOptions()
    expect(await mover.send(host, files, there, out)).toEqual(new Map())
    expect(await mover.receive(host, files, back, out)).toEqual(new Map())
    expect(out.told.bytes).toBe(2 * sizes.reduce((sum, size) => sum + size, 0))
    for (const folder of [there, back]) {
      for (const { index, path } of files) expect(readBytes(join(folder, `${index}`)).equals(readBytes(path))).toBe(true)
    }
    // Whoever lists a file may be told of more than is there by now; what is beside it is not touched.
    truncateSync(join(from, '3'), 100)
    truncateSync(join(from, '7'), 100)
    await mover.send(host, files, there, moveOptions())
    for (const { index, path } of files) {
      if (![3, 7].includes(index)) expect(readBytes(join(there, `${index}`)).equals(readBytes(path))).toBe(true)
    }
  })

  it('sftp goes on in the middle of a file, in both directions', async () => {
    const mover = new SftpMover()
    const host = await lab.reach('h1')
    const [there, back] = [lab.newFolder(), lab.newFolder()]
    const content = noise(500_000)
    const path = join(lab.newFolder(), 'source')
    writeFileSync(path, content)
    const altered = Buffer.from(content)
    altered[10] = (altered[10] ?? 0) ^ 1
    for (const folder of [there, back]) writeFileSync(join(folder, '3'), altered.subarray(0, 300_000))
    const out = moveOptions()
    await mover.send(host, [movedFile(3, path, content.length, 300_000)], there, out)
    await mover.receive(host, [movedFile(3, path, content.length, 300_000)], back, out)
    expect(out.told.bytes).toBe(400_000)
    // What lay there was not touched.
    for (const folder of [there, back]) expect(readBytes(join(folder, '3')).equals(altered)).toBe(true)
  })

  it.each(movers)('$name keeps the limit', async (mover) => {
    const host = await lab.reach('h1')
    const path = join(lab.newFolder(), 'source')
    writeFileSync(path, noise(300_000))
    for (const move of ['send', 'receive'] as const) {
      const begun = performance.now()
      await mover[move](host, [movedFile(0, path, 300_000)], lab.newFolder(), moveOptions({ pace: new Pace(600_000) }))
      expect(performance.now() - begun).toBeGreaterThan(350)
    }
  })

  it.each(each)('$name over $connector ends at once when its signal is aborted', async ({ mover, connector }) => {
    const host = await lab.reach('h1', { connector })
    const path = join(lab.newFolder(), 'source')
    writeFileSync(path, '')
    truncateSync(path, 5e9)
    for (const move of ['send', 'receive'] as const) {
      const folder = lab.newFolder()
      const controller = new AbortController()
      const options = moveOptions({ signal: controller.signal, pace: new Pace(50e6), onBytes: () => controller.abort() })
      await expect(mover[move](host, [movedFile(0, path, 5e9)], folder, options)).rejects.toMatchObject({
        code: expect.stringMatching(/^(E_ABORTED|ABORT_ERR)$/),
      })
      expect(statSync(join(folder, '0')).size).toBeLessThan(5e8)
    }
    await untilLetGo(host)
  })

  it.each(CONNECTORS)('scp over %s can be given up while the program there hangs', async (connector) => {
    const host = await lab.reach('h1', { connector })
    const path = join(lab.newFolder(), 'source')
    writeFileSync(path, '')
    truncateSync(path, 5e9)
    const mark = join(lab.newFolder(), 'process')
    await withScp(`echo $$ >'${mark}'; printf '\\0\\0'; exec sleep 45`, async () => {
      const controller = new AbortController()
      let bytes = 0
      const onBytes = (count: number): void => {
        bytes += count
        if (bytes > 1_000_000) controller.abort()
      }
      const sent = new ScpMover().send(
        host,
        [movedFile(0, path, 5e9)],
        lab.newFolder(),
        moveOptions({ signal: controller.signal, onBytes }),
      )
      try {
        await expect(sent).rejects.toMatchObject({ code: 'E_ABORTED' })
        expect(isAlive(Number(readBytes(mark).toString()))).toBe(true)
      } finally {
        const hanging = Number(readBytes(mark).toString())
        if (isAlive(hanging)) process.kill(hanging)
      }
    })
    await untilLetGo(host)
  })

  it.each(movers)('$name says that a host does not have it', async (mover) => {
    const name = mover.name === 'sftp' ? 'h3' : 'h1'
    const path = join(lab.newFolder(), 'source')
    writeFileSync(path, 'x')
    for (const connector of CONNECTORS) {
      const host = await lab.reach(name, { connector })
      const sent = withScp('exit 127', () => mover.send(host, [movedFile(0, path, 1)], lab.newFolder(), moveOptions()))
      await expect(sent).rejects.toMatchObject({
        name: 'TransferError',
        code: 'E_NOT_SUPPORTED',
        message: expect.stringContaining(mover.name),
      })
    }
  })

  /** A script in the place of the program, on h1. */
  async function withScp<T>(script: string, action: () => Promise<T>): Promise<T> {
    const bin = join(lab.bed.hosts[0]!.directory, 'bin/scp')
    writeFileSync(bin, `#!/bin/sh\n${script}\n`)
    chmodSync(bin, 0o755)
    try {
      return await action()
    } finally {
      execFileSync('rm', [bin])
    }
  }

  it.each(shells.map((shell, n) => [shell, `h${n + 4}`] as const))('scp works behind the login shell %s', async (_shell, name) => {
    const host = await lab.reach(name)
    const path = `${bytePath(lab.newFolder())}/${ODD}`
    writeFileSync(Buffer.from(path, 'latin1'), 'x')
    const there = lab.newFolder()
    expect(await new ScpMover().send(host, [movedFile(0, path, 1)], there, moveOptions())).toEqual(new Map())
    expect(await new ScpMover().receive(host, [movedFile(1, path, 1)], there, moveOptions())).toEqual(new Map())
    expect(readdirSync(there).sort()).toEqual(['0', '1'])
  })

  it.each(movers)('$name: a file that is gone is a failure of that file, whatever its name is', async (mover) => {
    const host = await lab.reach('h1')
    const folder = lab.newFolder()
    writeFileSync(join(folder, 'there'), 'x')
    const here = lab.newFolder()
    const files = [movedFile(0, `${bytePath(folder)}/go\nne\n`, 1), movedFile(1, join(folder, 'there'), 1)]
    const failures = await mover.receive(host, files, here, moveOptions())
    expect([...failures]).toMatchObject([[0, { code: 'E_SOURCE_CHANGED' }]])
    expect(readdirSync(here)).toContain('1')
    const odd = `${bytePath(folder)}/not\nthere`
    const sent = await mover.send(host, [movedFile(0, join(folder, 'there'), 1)], odd, moveOptions())
    expect([...sent.keys()]).toEqual([0])
  })

  it('scp does not mind what a start-up file says; sftp names it', async () => {
    const host = await lab.reach('h2')
    const path = join(lab.newFolder(), 'source')
    writeFileSync(path, 'x')
    const there = lab.newFolder()
    expect(await new ScpMover().send(host, [movedFile(0, path, 1)], there, moveOptions())).toEqual(new Map())
    await expect(new SftpMover().send(host, [movedFile(1, path, 1)], there, moveOptions())).rejects.toMatchObject({
      message: expect.stringContaining('Welcome!'),
      suggestions: [expect.stringContaining('start-up file')],
    })
  })

  it.each(movers)('$name is told of a connection that is cut in the middle', async (mover) => {
    for (const connector of CONNECTORS) {
      // A connection that was cut before may not know it yet.
      await lab.newPool()
      const host = await lab.reach('h1', { connector })
      const path = join(lab.newFolder(), 'source')
      writeFileSync(path, '')
      truncateSync(path, 5e9)
      let cut = false
      const onBytes = (): void => {
        if (!cut) lab.bed.dropSessions('h1')
        cut = true
      }
      const options = moveOptions({ onBytes, pace: new Pace(20e6) })
      await expect(mover.send(host, [movedFile(0, path, 5e9)], lab.newFolder(), options)).rejects.toMatchObject({
        code: 'E_CONNECTION_LOST',
      })
      expect(cut).toBe(true)
    }
  })
})
