import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectionOf, connectionPool, mergeConnections, remoteBackend } from '../../src/api/connections.js'
import { type ConnectionOptions, closeConnections, SshProcess, setConnectionDefaults, setPrompts } from '../../src/index.js'
import { type FakeServer, startFakeServer } from '../ssh/fake-server.js'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-connections-'))
  setPrompts(undefined)
})
afterEach(async () => {
  await closeConnections()
  setConnectionDefaults({})
  rmSync(folder, { recursive: true, force: true })
})

/** Reaches this server and knows nothing of the configuration of this machine. */
function reach(server: FakeServer, more: ConnectionOptions = {}): ConnectionOptions {
  const known = join(folder, `known-${server.port}`)
  writeFileSync(known, server.knownHosts())
  return { sshConfig: false, agent: false, keyFiles: [], knownHostsFiles: [known], connector: 'ssh2', ...more }
}
const at = (server: FakeServer): string => `alice@127.0.0.1:${server.port}`
const quiet = { nolog: ['error'] } as const

describe('connection options', () => {
  it('of a call are over those of the program, and what is undefined is not said', () => {
    setConnectionDefaults({ user: 'bob', port: 2222, connectTimeout: '3s' })
    expect(connectionOf({ port: 22, user: undefined })).toMatchObject({ user: 'bob', port: 22, connectTimeout: 3_000, sessions: 8 })
    expect(connectionOf()).toMatchObject({ port: 2222 })
    setConnectionDefaults({})
    expect(connectionOf()).not.toHaveProperty('user')
    expect(mergeConnections({ user: 'a', port: 1 }, undefined, { user: undefined, port: 2 })).toEqual({ user: 'a', port: 2 })
  })

  it('that mean the same share one backend for each host', () => {
    const host = { address: 'node1' }
    const rewrite = (name: string): string => `${name}.inside`
    const same = remoteBackend(host, connectionOf({ user: 'a', hostRewrite: rewrite }))
    expect(remoteBackend({ address: 'node1' }, connectionOf({ hostRewrite: rewrite, user: 'a' }))).toBe(same)
    expect(remoteBackend(host, connectionOf({ user: 'b', hostRewrite: rewrite }))).not.toBe(same)
    expect(remoteBackend(host, connectionOf({ user: 'a', hostRewrite: (name) => `${name}.inside` }))).not.toBe(same)
    expect(remoteBackend({ address: 'node1', port: 22 }, connectionOf({ user: 'a', hostRewrite: rewrite }))).not.toBe(same)
  })
})

describe('the connections of the program', () => {
  it('are one for each host, and made anew after they were closed', async () => {
    await using server = await startFakeServer({ password: 'open sesame' })
    const asked: string[] = []
    setPrompts({
      ask: ({ text, secret }) => {
        asked.push(`${text} ${secret}`)
        return Promise.resolve('open sesame')
      },
    })
    const connection = reach(server)
    const run = () => Promise.all(['a', 'b', 'c'].map((word) => new SshProcess(['echo', word], at(server), { connection }).run()))
    expect((await run()).map(({ stdout }) => stdout)).toEqual(['a\n', 'b\n', 'c\n'])
    expect(server.logins).toBe(1)
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatch(/ true$/)
    await closeConnections()
    expect((await run()).every(({ ok }) => ok)).toBe(true)
    expect(server.logins).toBe(2)
  })

  it('ask nobody when there is nobody', async () => {
    await using server = await startFakeServer({ password: 'open sesame' })
    const one = await new SshProcess('true', at(server), { connection: reach(server), ...quiet }).run()
    expect(one).toMatchObject({ unreachable: true, exitCode: undefined })
    expect(one.errorReason).toMatchObject({ code: 'E_LOGIN_NEEDED', message: expect.stringContaining('127.0.0.1') })
  })

  it('end what still runs when they are closed', async () => {
    await using server = await startFakeServer({ password: 'x' })
    setPrompts({ ask: () => Promise.resolve('x') })
    const one = new SshProcess('echo ready; exec sleep 1000', at(server), {
      connection: reach(server),
      nolog: ['exit-code', 'error'],
    }).start()
    await one.expect('ready', { timeout: '30s' })
    await closeConnections()
    expect(one.ended).toBe(true)
    await expect.poll(() => server.open, { timeout: 20_000 }).toBe(0)
  })

  it('are not made for a process that is killed before', async () => {
    await using server = await startFakeServer({ answer: 'silent' })
    const one = new SshProcess('true', at(server), { connection: reach(server, { connectTimeout: '50s' }) }).start()
    await one.wait({ timeout: 50 })
    const began = performance.now()
    await one.kill().wait()
    expect(performance.now() - began).toBeLessThan(20_000)
    expect(one).toMatchObject({ ok: true, killed: true, unreachable: false, finishedOk: false })
  })

  it('are waited for as long as the time limit of a process allows', async () => {
    await using server = await startFakeServer({ answer: 'silent' })
    const options = { connection: reach(server, { connectTimeout: '50s' }), timeout: 200, ...quiet }
    const one = await new SshProcess('true', at(server), options).run()
    expect(one).toMatchObject({ unreachable: true, timedOut: false, killed: false })
    expect(one.errorReason).toMatchObject({ code: 'E_HOST_TIMEOUT', message: expect.stringContaining('the time limit of the process') })
    expect(one.result?.durationMs).toBeGreaterThanOrEqual(190)
  })

  it('leave the time of a command alone', async () => {
    await using server = await startFakeServer({ password: 'x', loginDelayMs: 700 })
    setPrompts({ ask: () => Promise.resolve('x') })
    const options = { connection: reach(server), timeout: '20s' }
    expect(await new SshProcess('true', at(server), options).run()).toMatchObject({ ok: true, finishedOk: true })
  })

  it('cost nothing before the first process', async () => {
    const pool = await connectionPool()
    expect(pool.size).toBe(0)
    new SshProcess('true', 'nowhere.invalid')
    expect(pool.size).toBe(0)
  })
})
