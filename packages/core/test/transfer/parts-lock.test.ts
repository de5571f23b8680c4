import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { isAlive } from '../../../../test/testbed/proc.mjs'
import type { SshChannel } from '../../src/ssh/connection.js'
import { AgentPlace } from '../../src/transfer/agent/agent-place.js'
import { LocalPlace } from '../../src/transfer/local/local-place.js'
import type { Manifest } from '../../src/transfer/manifest.js'
import type { ReachedHost } from '../../src/transfer/mover.js'
import type { OpenInput, Place } from '../../src/transfer/place.js'
import { ShellPlace } from '../../src/transfer/shell/shell-place.js'
import { makeDeferred } from '../../src/util/async.js'
import { AgentLab, framesOf, kindUnavailable, localHost, policyOf } from './agent-lab.js'
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

/** In what is sent to a host, so that nobody has to wait as long as there; of the same length. */
type Haste = readonly (readonly [from: string, to: string])[]
/** For a holder whose controller does not answer, for who asks one that does not, and for one that may have slept. */
const SOON = {
  answer: { py: [['ANSWER_SECONDS = 6', 'ANSWER_SECONDS = 1']], pl: [['$ANSWER = 6', '$ANSWER = 1']], sh: [['$q -le 9 ', '$q -le 1 ']] },
  asking: { py: [['ASKING_SECONDS = 9', 'ASKING_SECONDS = 3']], pl: [['$ASKING = 9', '$ASKING = 3']] },
  slept: { py: [['SLEPT_SECONDS = 20', 'SLEPT_SECONDS = .5']], pl: [['$SLEPT = 20', '$SLEPT = .5']] },
} as const
/** Who asks waits for a host that is slow, too. */
const LATE = {
  py: [['ASKING_SECONDS = 9\nSLEPT_SECONDS = 20\n', 'ASKING_SECONDS = 90\nSLEPT_SECONDS = 9\n']],
  pl: [['$ASKING = 9;\nour $SLEPT = 20;\n', '$ASKING = 90;\nour $SLEPT = 9;\n']],
} as const

/** A host whose network can be cut: then nothing comes or goes, and nobody is told. */
function hastyHost(
  folder: string,
  haste: Haste,
  onSaid: (text: string) => void = () => {},
): { readonly host: ReachedHost; cut(): void; readonly hastened: ReadonlySet<string> } {
  const host = localHost(folder)
  let isCut = false
  const cut = (): void => {
    isCut = true
  }
  const hastened = new Set<string>()
  const hasten = (data: Uint8Array): Buffer => {
    let text = Buffer.from(data).toString('latin1')
    for (const [from, to] of haste) {
      if (text.includes(from)) hastened.add(from)
      text = text.replace(from, to)
    }
    return Buffer.from(text, 'latin1')
  }
  const exec = async (command: string): Promise<SshChannel> => {
    const channel = await (host.pooled as unknown as { exec(command: string): Promise<SshChannel> }).exec(command)
    return {
      ...channel,
      listen: (onData) =>
        channel.listen((stream, chunk) => {
          onSaid(chunk.toString('latin1'))
          if (!isCut) onData(stream, chunk)
        }),
      write: async (data) => void (isCut || (await channel.write(hasten(data)))),
    }
  }
  return { host: { ...host, pooled: { ...host.pooled, exec } as ReachedHost['pooled'] }, cut, hastened }
}

describe.concurrent.each(KINDS)('parts that an agent holds (%s)', (kind) => {
  const reason = KINDS.map(kindUnavailable).find((why) => why !== undefined)
  const other = kind === 'py' ? 'pl' : 'py'
  const title = (text: string): string => (reason === undefined ? text : `${text} (${reason})`)
  const test = reason === undefined ? it.concurrent : it.skip

  test(title('are let go of when its controller was cut off, with all that came, as soon as somebody else asks'), async () => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    const { host, cut, hastened } = hastyHost(lab.folder, SOON.answer[kind])
    const holder = await lab.start(kind, host)
    expect(hastened.size).toBe(1)
    const { parts } = await new AgentPlace(holder).open(inputOf(target))
    writeFileSync(join(parts!, '0'), 'on')
    const patient = KINDS.map((one) => hastyHost(lab.folder, LATE[one]))
    const others = await Promise.all(KINDS.map((one, at) => lab.start(one, patient[at]!.host)))
    expect(patient.map((one) => one.hastened.size)).toEqual([1, 1])
    cut()
    // Whoever is second asks the one who was first.
    const opened = await Promise.allSettled(others.map((one) => new AgentPlace(one).open(inputOf(target))))
    const won = opened.filter(({ status }) => status === 'fulfilled')
    expect(won).toMatchObject([{ value: { found: [{ state: 'part', bytes: 2 }] } }])
    // It ends, and does not touch what is not its own any more.
    expect(await holder.closed).toMatchObject({ code: 'E_COPY_LOST' })
    expect(existsSync(join(parts!, 'lock'))).toBe(true)
  })

  test(title('stay its own when its controller is there, and who asks is told who that is'), async () => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    const holder = await lab.start(kind)
    const place = new AgentPlace(holder)
    const { parts } = await place.open(inputOf(target))
    for (const one of KINDS) {
      const asking = new AgentPlace(await lab.start(one)).open(inputOf(target))
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

  test(title('are nobody else’s when it is stopped: it may go on at any moment'), async () => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    const holder = await lab.start(kind)
    const place = new AgentPlace(holder)
    const { parts } = await place.open(inputOf(target))
    const asking = await lab.start(other, hastyHost(lab.folder, SOON.asking[other]).host)
    process.kill(holder.pid, 'SIGSTOP')
    try {
      await expect(new AgentPlace(asking).open(inputOf(target))).rejects.toMatchObject({ code: 'E_TARGET_BUSY' })
    } finally {
      process.kill(holder.pid, 'SIGCONT')
    }
    writeFileSync(join(parts!, '0'), 'one')
    expect(await place.commit([{ index: 0, sha256: undefined }])).toMatchObject({ files: 1, failures: [] })
  })

  test(title('stay its own when its controller has answered, and it had no time to hear it'), async () => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    const stopped = makeDeferred<number>()
    let pid = 0
    const { host } = hastyHost(lab.folder, [], (text) => {
      if (pid === 0 || !/^! asked$/m.test(text)) return
      process.kill(pid, 'SIGSTOP')
      stopped.resolve(pid)
    })
    const holder = await lab.start(kind, host)
    const place = new AgentPlace(holder)
    const { parts } = await place.open(inputOf(target))
    pid = holder.pid
    writeFileSync(join(parts!, 'asked'), '')
    await stopped.promise
    // Longer than it waits for an answer.
    await pause(7000)
    process.kill(pid, 'SIGCONT')
    writeFileSync(join(parts!, '0'), 'one')
    expect(await place.commit([{ index: 0, sha256: undefined }])).toMatchObject({ files: 1, failures: [] })
    expect(readdirSync(target)).toEqual(['a'])
  })

  test(title('get no byte more of a stream when they were taken while it slept'), async () => {
    await using lab = new AgentLab()
    const holder = await lab.start(kind, hastyHost(lab.folder, SOON.slept[kind]).host)
    const receiver = await lab.receive(holder, manifest, 2)
    const parts = join(receiver.directory, '.cahier-abc')
    const [first, second] = framesOf(Buffer.from('one'), 2)
    const link = await lab.link(receiver)
    await link.send(first!)
    await receiver.events.find(/^have 2$/)
    // By another host, which could not look at its process.
    writeFileSync(join(parts, 'lock'), 'elsewhere - 1 1 - answers\n')
    expect(await receiver.events.find(/^fail /)).toMatch(/^fail E_TARGET_BUSY /)
    await link.send(second!)
    await link.closed
    await holder[Symbol.asyncDispose]()
    expect(readdirSync(parts).sort()).toEqual(['0', 'lock'])
    expect(readFileSync(join(parts, '0'), 'latin1')).toBe('on')
  })
})

describe.concurrent('parts that a shell holds', () => {
  it('are its own when its controller is there, and who asks is told who that is', async () => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    await using place = new ShellPlace(localHost(lab.folder))
    const { parts } = await place.open(inputOf(target))
    const pid = readFileSync(join(parts!, 'lock'), 'latin1').split(' ')[2]
    await expect(new ShellPlace(localHost(lab.folder)).open(inputOf(target))).rejects.toMatchObject({
      code: 'E_TARGET_BUSY',
      message: expect.stringContaining(`(process ${pid} on `),
    })
    expect(readdirSync(parts!)).toEqual(['lock'])
  })

  it('get no new lock when they are let go of just before it is renewed', async ({ expect }) => {
    await using lab = new AgentLab()
    const [target, bin] = [lab.newFolder(), lab.newFolder()]
    const lock = join(target, '.cahier-abc/lock')
    // Time goes faster there, and whoever holds the lock lets go of it just then.
    writeFileSync(join(bin, 'sleep'), '#!/bin/sh\nexec /bin/sleep 0.05\n', { mode: 0o755 })
    writeFileSync(join(bin, 'touch'), `#!/bin/sh\nrm -f '${lock}'\nPATH=/usr/bin:/bin touch "$@"\necho >'${bin}/renewed'\n`, {
      mode: 0o755,
    })
    await using place = new ShellPlace(localHost(lab.folder, { env: { PATH: `${bin}:${process.env['PATH']}` } }))
    await place.open(inputOf(target))
    await expect.poll(() => existsSync(join(bin, 'renewed')), { timeout: 30_000 }).toBe(true)
    expect(existsSync(lock)).toBe(false)
  })

  it('are let go of when its controller was cut off, with all that came', async () => {
    await using lab = new AgentLab()
    const target = lab.newFolder()
    const { host, cut, hastened } = hastyHost(lab.folder, SOON.answer.sh)
    const { parts } = await new ShellPlace(host).open(inputOf(target))
    expect(hastened.size).toBe(1)
    const pid = Number(readFileSync(join(parts!, 'lock'), 'latin1').split(' ')[2])
    writeFileSync(join(parts!, '0'), 'on')
    cut()
    await using second = new ShellPlace(localHost(lab.folder))
    expect(await second.open(inputOf(target))).toMatchObject({ found: [{ state: 'part', bytes: 2 }] })
    expect(isAlive(pid)).toBe(false)
  })
})
