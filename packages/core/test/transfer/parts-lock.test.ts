import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { SshChannel } from '../../src/ssh/connection.js'
import { AgentPlace } from '../../src/transfer/agent/agent-place.js'
import { LocalPlace } from '../../src/transfer/local/local-place.js'
import type { Manifest } from '../../src/transfer/manifest.js'
import type { ReachedHost } from '../../src/transfer/mover.js'
import type { OpenInput, Place } from '../../src/transfer/place.js'
import { ShellPlace } from '../../src/transfer/shell/shell-place.js'
import { AgentLab, kindUnavailable, localHost, policyOf } from './agent-lab.js'
import { lockCases } from './lock-cases.js'

const KINDS = ['py', 'pl'] as const
const manifest: Manifest = [{ kind: 'file', name: 'a', mode: 0o644, timeUs: 1e15, size: 3 }]
const inputOf = (directory: string): OpenInput => ({ manifest, directory, policy: policyOf(), partsId: 'abc' })

describe('the lock of a folder of parts', () => {
  const lab = new AgentLab()
  afterAll(() => lab[Symbol.asyncDispose]())

  const places: readonly (readonly [kind: string, missing: string | undefined, open: () => Promise<Place>])[] = [
    ['this machine', undefined, async () => new LocalPlace()],
    ...KINDS.map((kind) => [`the agent in ${kind}`, kindUnavailable(kind), async () => new AgentPlace(await lab.start(kind))] as const),
    ['a shell', undefined, async () => new ShellPlace(localHost(lab.folder))],
  ]
  describe.concurrent.each(places)('for %s', (_kind, missing, open) => {
    it.skipIf(missing !== undefined)('is judged by the process where it can be seen, and else by its age alone', async () => {
      const judged = await Promise.all(
        lockCases().map(async ({ title, line, ageS, isHeld }) => {
          const target = lab.newFolder()
          mkdirSync(join(target, '.cahier-abc'), { mode: 0o700 })
          const lock = join(target, '.cahier-abc/lock')
          writeFileSync(lock, line)
          const seconds = Date.now() / 1000 - ageS
          utimesSync(lock, seconds, seconds)
          await using place = await open()
          const taken = await place.open(inputOf(target)).then(
            () => undefined,
            (error: unknown) => error as { code: string; message: string },
          )
          if (isHeld) expect(readFileSync(lock, 'latin1'), title).toBe(line)
          else expect(readFileSync(lock, 'latin1'), title).not.toBe(line)
          const left = readdirSync(join(target, '.cahier-abc'))
          return { title, code: taken?.code, left }
        }),
      )
      expect(judged).toEqual(
        lockCases().map(({ title, isHeld }) => ({ title, code: isHeld ? 'E_TARGET_BUSY' : undefined, left: ['lock'] })),
      )
    })

    it.skipIf(missing !== undefined)('says what all others can read', async () => {
      const target = lab.newFolder()
      await using place = await open()
      await place.open(inputOf(target))
      const line = readFileSync(join(target, '.cahier-abc/lock'), 'latin1')
      expect(line).toMatch(/^\S+ (\S+) \d+ (\d+|-) (pid:\[\d+\]|-) (answers|-)( \S+)?\n$/)
      const others = await Promise.all(
        places
          .filter((other) => other[1] === undefined)
          .map(async ([, , openOther]) => {
            await using other = await openOther()
            return await other.open(inputOf(target)).catch((error: { code: string }) => error.code)
          }),
      )
      expect(new Set(others)).toEqual(new Set(['E_TARGET_BUSY']))
      expect(readFileSync(join(target, '.cahier-abc/lock'), 'latin1')).toBe(line)
    })
  })
})

/** A host whose network can be cut: then nothing comes or goes, and nobody is told. */
function cutHost(folder: string): { readonly host: ReachedHost; cut(): void } {
  const host = localHost(folder)
  let isCut = false
  const cut = (): void => {
    isCut = true
  }
  const exec = async (command: string): Promise<SshChannel> => {
    const channel = await (host.pooled as unknown as { exec(command: string): Promise<SshChannel> }).exec(command)
    return {
      ...channel,
      listen: (onData) => channel.listen((stream, chunk) => void (isCut || onData(stream, chunk))),
      write: async (data) => void (isCut || (await channel.write(data))),
    }
  }
  return { host: { ...host, pooled: { ...host.pooled, exec } as ReachedHost['pooled'] }, cut }
}

describe.concurrent.each(KINDS)('%s', (kind) => {
  const reason = kindUnavailable(kind)
  describe.skipIf(reason !== undefined)(`parts that an agent in ${kind} holds${reason === undefined ? '' : ` (${reason})`}`, () => {
    // Each of them waits: beside each other they cost no more time than one.
    it.concurrent('are let go of when its controller was cut off, with all that came, by the time somebody else asks', async () => {
      await using lab = new AgentLab()
      const target = lab.newFolder()
      const { host, cut } = cutHost(lab.folder)
      const holder = await lab.start(kind, host)
      const { parts } = await new AgentPlace(holder).open(inputOf(target))
      writeFileSync(join(parts!, '0'), 'on')
      cut()
      const begun = performance.now()
      const others = await Promise.all(KINDS.filter((other) => kindUnavailable(other) === undefined).map((other) => lab.start(other)))
      // Whoever is second asks the one who was first.
      const opened = await Promise.allSettled(others.map((other) => new AgentPlace(other).open(inputOf(target))))
      const won = opened.filter(({ status }) => status === 'fulfilled')
      expect(won).toMatchObject([{ value: { found: [{ state: 'part', bytes: 2 }] } }])
      expect(performance.now() - begun).toBeLessThan(30_000)
      // It has ended, and has not touched what is not its own any more.
      expect(() => process.kill(holder.pid, 0)).toThrow()
      expect(existsSync(join(parts!, 'lock'))).toBe(true)
    })

    it.concurrent('stay its own when its controller is there, and who asks is told who that is', async () => {
      await using lab = new AgentLab()
      const target = lab.newFolder()
      const holder = await lab.start(kind)
      const place = new AgentPlace(holder)
      const { parts } = await place.open(inputOf(target))
      for (const other of KINDS.filter((one) => kindUnavailable(one) === undefined)) {
        const asking = new AgentPlace(await lab.start(other)).open(inputOf(target))
        await expect(asking).rejects.toMatchObject({
          code: 'E_TARGET_BUSY',
          message: expect.stringContaining(`(process ${holder.pid} on `),
        })
      }
      expect(readdirSync(parts!)).toEqual(['lock'])
      writeFileSync(join(parts!, '0'), 'one')
      expect(await place.commit([{ index: 0, sha256: undefined }])).toMatchObject({ files: 1, failures: [] })
      expect(readdirSync(target)).toEqual(['a'])
    })
  })
})

it.concurrent('parts that a shell holds are let go of when its controller was cut off, and else are its own', async () => {
  await using lab = new AgentLab()
  const target = lab.newFolder()
  const { host, cut } = cutHost(lab.folder)
  const first = new ShellPlace(host)
  const { parts } = await first.open(inputOf(target))
  const pid = Number(readFileSync(join(parts!, 'lock'), 'latin1').split(' ')[2])
  writeFileSync(join(parts!, '0'), 'on')
  await expect(new ShellPlace(localHost(lab.folder)).open(inputOf(target))).rejects.toMatchObject({
    code: 'E_TARGET_BUSY',
    message: expect.stringContaining(`(process ${pid} on `),
  })
  expect(readdirSync(parts!).sort()).toEqual(['0', 'lock'])
  cut()
  await using second = new ShellPlace(localHost(lab.folder))
  expect(await second.open(inputOf(target))).toMatchObject({ found: [{ state: 'part', bytes: 2 }] })
  expect(() => process.kill(pid, 0)).toThrow()
})

const missing = KINDS.flatMap((kind) => kindUnavailable(kind) ?? [])
describe.skipIf(missing.length > 0)(`parts that a stopped agent holds${missing.length === 0 ? '' : ` (${missing.join(', ')})`}`, () => {
  it.concurrent.each(KINDS)('are nobody else’s: it may go on at any moment (%s)', async (kind) => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    const holder = await lab.start(kind)
    const place = new AgentPlace(holder)
    const { parts } = await place.open(inputOf(target))
    process.kill(holder.pid, 'SIGSTOP')
    try {
      const other = await lab.start(kind === 'py' ? 'pl' : 'py')
      await expect(new AgentPlace(other).open(inputOf(target))).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
    } finally {
      process.kill(holder.pid, 'SIGCONT')
    }
    writeFileSync(join(parts!, '0'), 'one')
    expect(await place.commit([{ index: 0, sha256: undefined }])).toMatchObject({ files: 1, failures: [] })
  })
})
