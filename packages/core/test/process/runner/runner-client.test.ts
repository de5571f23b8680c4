import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bootstrapRelay, makeToken } from '../../../src/process/runner/bootstrap.js'
import { RunnerClient } from '../../../src/process/runner/runner-client.js'
import { openRunner, PipeTransport, relayTo } from './pipe-transport.js'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-runner-test-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
const until = async (what: () => boolean, ms = 20_000): Promise<void> => {
  for (const end = Date.now() + ms; !what(); await pause(10)) if (Date.now() > end) throw new Error(`waited ${ms} ms in vain for ${what}`)
}
const numbersIn = (file: string): number[] => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').map(Number).filter(Boolean) : [])

/** A leader, a child that ignores TERM, one in its own session, one that forked twice into its own session. All write their number. */
const treeScript = (file: string): string => `
  sh -c 'trap "" TERM; echo $$ >>"${file}"; while :; do sleep 0.1; done' &
  setsid sh -c 'echo $$ >>"${file}"; exec sleep 300' &
  sh -c 'setsid sh -c "(trap \\"\\" TERM; echo \\$\\$ >>${file}; while :; do sleep 0.1; done) &" &'
  echo $$ >>"${file}"
  wait`
const TREE = 4

describe('the beginning of a link', () => {
  it.each([
    ['a banner', 'echo "*** Welcome ***"; '],
    ['half a line', 'printf "last login: "; '],
    ['bytes that are no text', 'head -c 3000 /dev/urandom; '],
    ['what looks like a hello', 'printf "\\nH 0 13 AAAAAAAAAAAAAAAA\\n2 perl 1 0 /x"; printf "\\nH 0 "; '],
    ['half a megabyte', 'head -c 500000 /dev/zero; '],
  ])('passes over %s', async (_, before) => {
    const { client } = openRunner({ before })
    const { result } = await client.start({ command: ['echo', 'hello'] })
    expect(await result).toMatchObject({ outcome: 'exited', exitCode: 0, host: 'there', stdout: { text: 'hello\n' } })
    await client.close()
  })

  it('says what came instead of a runner', async () => {
    const { client, losses } = openRunner({ before: 'echo this account is closed; echo come back later >&2; exit 3; ' })
    await expect(client.ready).rejects.toMatchObject({ code: 'E_RUNNER', message: expect.stringContaining('this account is closed') })
    expect(losses).toMatchObject([{ what: 'runner', exitCode: 3, stderr: 'come back later' }])
    expect(client.lost).toBe(true)
    const running = await client.start({ command: ['true'] })
    expect(await running.result).toMatchObject({ outcome: 'unreachable', error: { code: 'E_RUNNER' } })
  })

  it('gives up after 1 MiB of noise', async () => {
    const { client } = openRunner({ before: 'exec yes; ' })
    await expect(client.ready).rejects.toMatchObject({ code: 'E_RUNNER', message: expect.stringContaining('1 MiB') })
  })

  it('refuses a runner of another version', async () => {
    const token = makeToken()
    const transport = new PipeTransport(`printf '\\nH 0 10 ${token}\\n1 perl 1 0'; cat >/dev/null`)
    const client = new RunnerClient({ transport, kind: 'perl', token, leaseMs: 60_000, host: 'there', onLost: () => {} })
    await expect(client.ready).rejects.toMatchObject({ code: 'E_RUNNER', message: expect.stringContaining('version 1') })
    expect(client.lost).toBe(true)
  })

  it('gives up when something else is said after the hello', async () => {
    const go = join(folder, 'broadcast')
    const { client, losses } = openRunner({
      leaseSeconds: 5,
      before: `(while ! [ -e ${go} ]; do sleep 0.02; done; echo broadcast message) & `,
    })
    const running = await client.start({ command: { script: `: >${go}; exec sleep 300` } })
    expect(await running.result).toMatchObject({
      outcome: 'unreachable',
      error: { code: 'E_RUNNER', message: expect.stringContaining('nonsense') },
    })
    expect(losses).toMatchObject([{ what: 'runner' }])
  })
})

describe('commands', () => {
  it('end with their whole tree when they are killed, and say who had to be forced', async () => {
    const { client } = openRunner()
    const file = join(folder, 'killed')
    const running = await client.start({ command: { script: treeScript(file) }, graceMs: 300 })
    await until(() => numbersIn(file).length === TREE)
    running.kill()
    expect(await running.result).toMatchObject({ outcome: 'signaled', forced: true, survivors: [] })
    expect(numbersIn(file).filter(isAlive)).toEqual([])
    await client.close()
  })

  it('that wait for their turn are counted, start in order and are never lost', async () => {
    const { client } = openRunner()
    const results = await Promise.all(
      Array.from(
        { length: 600 },
        async (_, number) => (await client.start({ command: { script: `echo ${number}; exit ${number % 7}` } })).result,
      ),
    )
    expect(results.filter((result, number) => result.exitCode === number % 7 && result.stdout.text === `${number}\n`)).toHaveLength(600)
    expect(client.idle).toBe(true)
    await client.close()
  })

  it('with much output wait for a slow reader, in bounded memory, and others go on until the window is full', async () => {
    const { client, transport } = openRunner()
    const { pid } = await client.ready
    transport.pause()
    const chatty = client.start({ command: { script: 'head -c 60000000 /dev/zero' }, spillTo: false })
    const file = join(folder, 'beside')
    const other = client.start({ command: { script: `echo $$ >${file}` } })
    await until(() => numbersIn(file).length === 1)
    const resident = (): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
    for (let at = 0; at < 20; at += 1) {
      await pause(10)
      expect(resident()).toBeLessThan(24_000)
    }
    transport.resume()
    expect((await (await chatty).result).stdout.bytes).toBe(60_000_000)
    expect(resident()).toBeLessThan(24_000)
    expect((await (await other).result).exitCode).toBe(0)
    await client.close()
  })

  it('are all ended by close, except detached ones, and the runner with them', async () => {
    const { client } = openRunner()
    const { pid } = await client.ready
    const [file, detached] = [join(folder, 'closed'), join(folder, 'detached')]
    const running = await client.start({ command: { script: treeScript(file) }, graceMs: 200 })
    await client.start({
      command: { script: 'echo $$; exec sleep 300' },
      outputFiles: { stdout: detached, stderr: '/dev/null' },
      detach: true,
    })
    await until(() => numbersIn(file).length === TREE && numbersIn(detached).length === 1)
    await client.close()
    expect(await running.result).toMatchObject({ outcome: 'signaled' })
    expect(numbersIn(file).filter(isAlive)).toEqual([])
    await until(() => !isAlive(pid))
    const [spared] = numbersIn(detached) as [number]
    expect(isAlive(spared)).toBe(true)
    process.kill(-spared)
  })
})

describe('a lost link', () => {
  it('ends a runner without commands at once', async () => {
    const { client, transport } = openRunner()
    const { pid } = await client.ready
    await (await client.start({ command: ['true'] })).result
    // That it may be forgotten is sent at the end of the turn.
    await nextTurn()
    transport.cut()
    await until(() => !isAlive(pid))
    const error = await client.resume(await relayTo(client)).catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'E_RUNNER', message: expect.stringContaining('the runner has ended') })
    expect(client.lost).toBe(false)
    client.lose({ code: 'E_CONNECTION_LOST', message: 'given up' })
  })

  it('that is given up makes the results unreachable, and does not wait for the host', async () => {
    const { client, transport } = openRunner({ leaseSeconds: 3 })
    const running = await client.start({ command: ['sleep', '300'] })
    transport.cut()
    running.kill()
    client.lose({ code: 'E_CONNECTION_LOST', message: 'there was no way back' })
    expect(await running.result).toMatchObject({
      outcome: 'unreachable',
      host: 'there',
      error: { code: 'E_CONNECTION_LOST', message: 'there was no way back' },
    })
    await until(() => !isAlive(running.pid as number))
  })

  it('ends the trees of commands, but not detached ones, once the lease has passed', async () => {
    const { client, transport } = openRunner({ leaseSeconds: 3, graceSeconds: 1 })
    const { pid } = await client.ready
    const [file, detached, canary] = [join(folder, 'lease'), join(folder, 'lease-detached'), join(folder, 'canary')]
    const beside = new PipeTransport(`echo $$ >${canary}; exec sleep 300`)
    beside.listen({ onData: () => {}, onEnd: () => {} })
    await client.start({ command: { script: treeScript(file) } })
    await client.start({
      command: { script: 'echo $$; exec sleep 300' },
      outputFiles: { stdout: detached, stderr: '/dev/null' },
      detach: true,
    })
    await until(() => numbersIn(file).length === TREE && numbersIn(detached).length === 1 && numbersIn(canary).length === 1)
    transport.cut()
    await until(() => !isAlive(pid))
    expect(numbersIn(file).filter(isAlive)).toEqual([])
    const spared = [...numbersIn(detached), ...numbersIn(canary)]
    expect(spared.map(isAlive)).toEqual([true, true])
    for (const one of spared) process.kill(-one)
    client.lose({ code: 'E_CONNECTION_LOST', message: 'given up' })
  })

  it('is the same when the other side is only silent', async () => {
    const { client, transport } = openRunner({ leaseSeconds: 3 }, { leaseMs: 600_000 })
    const { pid } = await client.ready
    const running = await client.start({ command: ['sleep', '300'] })
    await until(() => !isAlive(pid))
    expect(isAlive(running.pid as number)).toBe(false)
    transport.close()
    client.lose({ code: 'E_CONNECTION_LOST', message: 'given up' })
  })

  it('is taken up with what was said meanwhile, also about commands that have ended', async () => {
    const { client, transport } = openRunner()
    const go = join(folder, 'go')
    const running = await client.start({ command: { script: `while ! [ -e ${go} ]; do sleep 0.02; done; echo said alone; exit 7` } })
    transport.cut()
    const gone = new PipeTransport(`: >${go}`)
    gone.listen({ onData: () => {}, onEnd: () => {} })
    await until(() => !isAlive(running.pid as number))
    const asked = client.start({ command: ['echo', 'asked meanwhile'] })
    await client.resume(await relayTo(client))
    expect(await running.result).toMatchObject({ outcome: 'exited', exitCode: 7, stdout: { text: 'said alone\n' } })
    expect(await (await asked).result).toMatchObject({ stdout: { text: 'asked meanwhile\n' } })
    await client.close()
  })

  it('is taken from a link that still seems to live', async () => {
    const { client, losses } = openRunner()
    const running = await client.start({ command: { script: 'sleep 0.2; echo survived' } })
    await client.resume(await relayTo(client))
    expect(await running.result).toMatchObject({ stdout: { text: 'survived\n' } })
    expect(losses).toEqual([])
    await client.close()
  })

  it('is one over which nothing comes for the time of the lease', async () => {
    const { client, losses } = openRunner({}, { leaseMs: 3_000 })
    const { pid } = await client.ready
    const running = await client.start({ command: ['sleep', '300'] })
    await pause(4_000)
    expect(losses).toEqual([])
    process.kill(pid, 'SIGSTOP')
    await until(() => losses.length > 0)
    expect(losses).toMatchObject([{ what: 'link', reason: expect.stringContaining('said nothing for 3 s') }])
    process.kill(pid, 'SIGCONT')
    await client.resume(await relayTo(client))
    running.kill()
    expect(await running.result).toMatchObject({ outcome: 'signaled' })
    await client.close()
  })

  it('is taken up once: who tried before, and who tries when it was given up, is told', async () => {
    const { client, transport } = openRunner()
    const running = await client.start({ command: ['sleep', '300'] })
    transport.cut()
    // These never answer.
    const first = client.resume(new PipeTransport('exec cat >/dev/null')).catch((reason: unknown) => reason)
    const second = client.resume(new PipeTransport('exec cat >/dev/null')).catch((reason: unknown) => reason)
    expect(await first).toMatchObject({ code: 'E_RUNNER', message: expect.stringContaining('another try') })
    client.lose({ code: 'E_CONNECTION_LOST', message: 'given up' })
    expect(await second).toMatchObject({ code: 'E_RUNNER', message: expect.stringContaining('given up') })
    expect(await running.result).toMatchObject({ outcome: 'unreachable' })
    process.kill((await client.ready).pid, 'SIGTERM')
  })

  it('leaves nothing in the file system', async () => {
    const { client } = openRunner()
    const { directory } = await client.ready
    expect(existsSync(directory)).toBe(false)
    const running = await client.start({ command: ['sleep', '300'] })
    await client.resume(await relayTo(client))
    expect(existsSync(directory)).toBe(false)
    running.kill()
    await running.result
    await client.close()
    expect(existsSync(directory)).toBe(false)
  })
})

describe('a relay', () => {
  it('tells a process that is not the runner nothing, however it is numbered', async () => {
    const { client } = openRunner()
    const { directory } = await client.ready
    const bystander = await client.start({ command: ['sleep', '300'] })
    const relay = new PipeTransport(bootstrapRelay('perl', bystander.pid as number, directory))
    const end = await new Promise<object>((resolve) => relay.listen({ onData: () => {}, onEnd: resolve }))
    expect(end).toMatchObject({ exitCode: 4, stderr: 'the runner has ended' })
    expect(isAlive(bystander.pid as number)).toBe(true)
    await client.close()
  })

  it.each(["/tmp/it's", '/tmp/a b!', '/tmp/\\'])('is not asked to use the folder %s', (directory) => {
    expect(() => bootstrapRelay('perl', 1, directory)).toThrow(/folder/)
  })
})
