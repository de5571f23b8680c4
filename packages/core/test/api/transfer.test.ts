import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { withTransferDefaults } from '../../src/api/transfer-options.js'
import {
  type Action,
  type AdapterModule,
  Broadcast,
  filterBadHosts,
  Get,
  type HostProgress,
  Local,
  type Logger,
  ParallelActions,
  Put,
  type PutOptions,
  Report,
  SequentialActions,
  setLogger,
  setTransferDefaults,
} from '../../src/index.js'
import { z } from '../../src/spi.js'
import { makeDeferred } from '../../src/util/async.js'
import { failure, TellingTransfer } from './transfer-fakes.js'

const folder = mkdtempSync(join(tmpdir(), 'cahier-transfer-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
afterEach(() => setLogger(undefined))

const options = (via: TellingTransfer, more: Partial<PutOptions> = {}): PutOptions => ({ to: '/t', via, ...more })
/** n2 fails, dead hosts are not reached. */
const sick = () =>
  new TellingTransfer((host) => {
    if (host.startsWith('dead')) return { ...failure('E_HOST_TIMEOUT'), outcome: 'unreachable' }
    return host === 'n2' ? failure('E_TARGET_FULL') : host === 'n3' ? { outcome: 'skipped-same', bytes: 0, files: 0, same: 1 } : {}
  })

describe('Put', () => {
  it('asks for what was said, and has one result for each host in host order', async () => {
    const via = new TellingTransfer()
    const put = await new Put(
      ['a', 'b'],
      ['n2', 'alice@n1:2222', 'n2'],
      options(via, { links: 'follow', limit: '20MB/s', checksum: undefined }),
    ).run()
    expect(put.results).toEqual(
      ['n2', 'alice@n1:2222', 'n2'].map((host) => expect.objectContaining({ host, outcome: 'done', via: 'telling' })),
    )
    expect(put).toMatchObject({ ok: true, finishedOk: true, ended: true, errorReason: undefined, choices: [], processes: [] })
    expect(via.asked).toMatchObject([
      {
        direction: 'put',
        request: {
          files: ['a', 'b'],
          ends: [{ host: { address: 'n2' }, directory: '/t' }, { host: { address: 'n1', user: 'alice', port: 2222 } }],
          policy: { links: 'follow', limit: 20_000_000, create: false, checksum: false, resume: true },
        },
      },
    ])
    expect(via.closed).toBe(0)
    expect(String(put)).toBe('Put(put a and 1 more to 3 hosts, 3 hosts, ok)')
  })

  it('is not ok when a host is not, and the others have their results', async () => {
    const put = await new Put('a', ['n[1-3]', 'dead1'], options(sick())).run()
    expect(put.results.map(({ outcome }) => outcome)).toEqual(['done', 'failed', 'skipped-same', 'unreachable'])
    expect(put).toMatchObject({ ok: false, finishedOk: false, errorReason: undefined })
    expect(filterBadHosts(put, 'n[1-3],dead1').join(' ')).toBe('n1 n3')
    expect(put.resultOf(1)?.error?.code).toBe('E_TARGET_FULL')
  })

  it.each<[string, string, string, number]>([
    ['E_TARGET_KIND', 'etc/app', 'a.conf', 1],
    ['E_TARGET_MISSING', 'etc/b.conf', 'a.conf', 1],
    ['E_TARGET_MISSING', '/etc/a', 'x/a', 1],
    ['E_TARGET_MISSING', 'etc/app', 'a.conf', 0],
    ['E_TARGET_MISSING', 'etc/a.conf/', 'a.conf', 0],
    ['E_TARGET_FULL', 'etc/a.conf', 'a.conf', 0],
  ])('of %s says how a file gets a name, when %s may be one of %s', async (code, to, file, tips) => {
    const via = new TellingTransfer(() => failure(code))
    const { results } = await new Put(file, 'n1', { to, via }).run()
    const told = results[0]?.error?.suggestions?.filter((tip) => tip.includes(`--as ${basename(to)}`)) ?? []
    expect(told).toHaveLength(tips)
    if (tips > 0) expect(told[0]).toContain(`to: '${dirname(to)}'`)
  })

  it('tells of results as hosts end, to several readers', async () => {
    const gates = { n1: makeDeferred<void>(), n2: makeDeferred<void>() }
    const via = new TellingTransfer(async (host) => {
      await gates[host as 'n1'].promise
      return {}
    })
    const put = new Put('a', 'n[1-2]', options(via))
    const seen: string[] = []
    const reader = (async () => {
      for await (const { host } of put) {
        seen.push(String(host))
        gates.n1.resolve()
      }
    })()
    put.start()
    expect(put.results).toEqual([])
    gates.n2.resolve()
    await reader
    expect(seen).toEqual(['n2', 'n1'])
    const again: unknown[] = []
    for await (const { host } of await put.wait()) again.push(host)
    expect(again).toEqual(seen)
    expect(put.results.map(({ host }) => host)).toEqual(['n1', 'n2'])
  })

  it('tells of progress for each place of a host, and survives who is told', async () => {
    const told: HostProgress[] = []
    const errors: unknown[] = []
    setLogger({ ...silent(), error: (_fields, message) => errors.push(message) })
    await new Put('a', ['n1', 'n2', 'n1'], options(sick(), { onProgress: (progress) => void told.push(progress) })).run()
    expect(told.map(({ host, index, phase }) => `${host} ${index} ${phase}`).sort()).toEqual(
      [0, 1, 2].flatMap((index) => ['connecting', 'ended'].map((phase) => `${index === 1 ? 'n2' : 'n1'} ${index} ${phase}`)).sort(),
    )
    expect(told.findLast(({ index }) => index === 1)?.result).toMatchObject({ host: 'n2', outcome: 'failed' })
    const put = await new Put(
      'a',
      'n1',
      options(sick(), {
        onProgress: () => {
          throw new Error('mine')
        },
      }),
    ).run()
    expect([put.ok, errors]).toEqual([true, ['progress handler failed', 'progress handler failed']])
  })

  it('is ended by kill, by its time limit and by a signal, and every host has a result', async () => {
    const waiting = () =>
      new TellingTransfer(
        (host, { signal }) =>
          new Promise((resolve) => signal?.addEventListener('abort', () => resolve(failure('E_ABORTED', `the copy with ${host} ended`)))),
      )
    const killed = new Put('a', 'n[1-2]', options(waiting())).start()
    await killed.kill().wait()
    expect(killed.results.map(({ error }) => error)).toEqual(Array(2).fill({ code: 'E_ABORTED', message: 'the transfer was given up' }))
    const late = await new Put('a', 'n1', options(waiting(), { timeout: 5 })).run()
    expect(late).toMatchObject({ timedOut: true, ok: false, finishedOk: false })
    expect(late.results[0]?.error?.message).toBe('the time limit of the transfer has passed')
    expect(late.stats()).toMatchObject({ timeouts: 1, errors: 0 })
    // Before a host was asked.
    const looking = new TellingTransfer(async (_host, { signal }) => {
      await new Promise((resolve) => signal?.addEventListener('abort', resolve))
      signal?.throwIfAborted()
      return {}
    })
    const early = new Put('a', 'n[1-2]', options(looking)).start()
    await expect.poll(() => looking.asked.length, { timeout: 20_000 }).toBe(1)
    await early.kill().wait()
    expect(early.errorReason).toBeUndefined()
    expect(early.results.map(({ error }) => error)).toEqual(Array(2).fill({ code: 'E_ABORTED', message: 'the transfer was given up' }))
    const aborted = await new Put('a', 'n1', options(waiting(), { signal: AbortSignal.abort() })).run()
    expect(aborted.results[0]?.outcome).toBe('failed')
    await using left = new Put('a', 'n1', options(waiting())).start()
    expect(left.running).toBe(true)
  })

  it('is a value when nothing could begin: the reason is that of every host', async () => {
    const warnings: unknown[] = []
    setLogger({ ...silent(), warn: (fields, message) => warnings.push([message, fields]) })
    const via = new TellingTransfer(() => {
      throw Object.assign(new Error('there is no file a'), { code: 'E_SOURCE_MISSING', suggestions: ['Look'] })
    })
    const put = await new Put('a', 'n[1-3]', options(via)).run()
    expect(put.errorReason).toMatchObject({ code: 'E_SOURCE_MISSING' })
    expect(put).toMatchObject({ ok: false, ended: true })
    expect(put.results).toEqual(
      ['n1', 'n2', 'n3'].map((host) => ({
        host,
        outcome: 'failed',
        bytes: 0,
        files: 0,
        same: 0,
        seconds: 0,
        verified: 'none',
        via: 'telling',
        error: { code: 'E_SOURCE_MISSING', message: 'there is no file a', suggestions: ['Look'] },
      })),
    )
    expect(warnings).toEqual([['nothing copied', { action: 'put a to 3 hosts', code: 'E_SOURCE_MISSING', reason: 'there is no file a' }]])
  })

  it('never takes silence for success', async () => {
    const via = new TellingTransfer()
    via.put = () => Promise.resolve([])
    const put = await new Put('a', 'n[1-2]', options(via)).run()
    expect(put.results.map(({ outcome, error }) => [outcome, error?.code])).toEqual(Array(2).fill(['failed', 'E_TRANSFER']))
  })

  it('can be run again after reset', async () => {
    const via = new TellingTransfer()
    const put = await new Put('a', 'n1', options(via)).run()
    await put.reset()
    expect(put).toMatchObject({ started: false, ended: false, ok: true, results: [] })
    await put.run()
    expect([via.asked.length, put.results.length, put.finishedOk]).toEqual([2, 1, true])
  })

  it('bounds the hosts at a time also when each has files of its own', async () => {
    let now = 0
    let most = 0
    const via = new TellingTransfer(async () => {
      most = Math.max(most, ++now)
      await new Promise((resolve) => setImmediate(resolve))
      now -= 1
      return {}
    })
    const put = await new Put('{{host}}.dat', 'n[1-9]', options(via, { concurrency: 3 })).run()
    expect([put.finishedOk, most, via.asked.length]).toEqual([true, 3, 9])
  })

  it('says in the log what became of each host', async () => {
    const lines: unknown[] = []
    setLogger({
      ...silent(),
      debug: ({ host }: { host?: unknown; code?: unknown }, message: string) => lines.push([message, host]),
      warn: ({ host, code }: { host?: unknown; code?: unknown }, message: string) => lines.push([message, host, code]),
    })
    await new Put('a', 'n[1-2]', options(sick())).run()
    expect(lines).toEqual([
      ['files copied', 'n1'],
      ['files not copied', 'n2', 'E_TARGET_FULL'],
    ])
  })

  it.each<[string, unknown[], string, RegExp]>([
    ['an unknown option', ['a', 'n1', { to: '/t', conurrency: 3 }], 'E_ARGUMENT', /no option conurrency/],
    ['a wrong policy', ['a', 'n1', { to: '/t', links: 'folow' }], 'E_ARGUMENT', /links/],
    ['a limit without a unit', ['a', 'n1', { to: '/t', limit: 'fast' }], 'E_ARGUMENT', /limit/],
    ['a limit of nothing', ['a', 'n1', { to: '/t', limit: '0MB/s' }], 'E_ARGUMENT', /limit: expected more than 0 .*not "0MB\/s"/],
    ['a limit below nothing', ['a', 'n1', { to: '/t', limit: -1 }], 'E_ARGUMENT', /limit: expected more than 0/],
    ['a name with a slash', ['a', 'n1', { to: '/t', as: 'x/y' }], 'E_ARGUMENT', /as/],
    ['no options at all', ['a', 'n1'], 'E_ARGUMENT', /\(to\) is missing/],
    ['no host', ['a', [], { to: '/t' }], 'E_ARGUMENT', /no host/],
    ['a wrong host set', ['a', 'n[1-', { to: '/t' }], 'E_HOST_SET', /n\[1-/],
    ['a way that is nearly one', ['a', 'n1', { to: '/t', via: 'spc' }], 'E_ARGUMENT', /no transfer "spc"/],
    ['a way that is nothing', ['a', 'n1', { to: '/t', via: {} }], 'E_ARGUMENT', /neither a name nor a transfer/],
    ['over without a chain', ['a', 'n1', { to: '/t', via: 'scp', over: 'ssh' }], 'E_ARGUMENT', /over is for chains, not for scp/],
    ['a wrong over', ['a', 'n1', { to: '/t', over: 'udp' }], 'E_ARGUMENT', /over is "udp"/],
    ['options of no adapter', ['a', 'n1', { to: '/t', via: 'scp', adapterOptions: {} }], 'E_ARGUMENT', /adapterOptions/],
    ['a concurrency of 0', ['a', 'n1', { to: '/t', concurrency: 0 }], 'E_ARGUMENT', /concurrency/],
    ['a wrong connection', ['a', 'n1', { to: '/t', connection: { prot: 22 } }], 'E_ARGUMENT', /prot/],
  ])('refuses %s at once', (_title, args, code, message) => {
    const make = () => new (Put as unknown as new (...args: unknown[]) => Put)(...args)
    expect(make).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }))
  })

  it('names what was probably meant', () => {
    const suggestion = (given: object): unknown => {
      try {
        return new Put('a', 'n1', { to: '/t', ...given } as PutOptions)
      } catch (error) {
        return (error as { suggestions: unknown }).suggestions
      }
    }
    expect(suggestion({ conurrency: 3 })).toEqual(['Did you mean concurrency?'])
    expect(suggestion({ via: 'chian' })).toEqual(['Did you mean chain?'])
    expect(suggestion({ via: 'taktk' })).toEqual(['Did you mean taktuk?'])
  })
})

describe('Get', () => {
  it('makes a directory for each of several hosts, when nobody named one', async () => {
    const via = new TellingTransfer()
    const get = await new Get('*.log', 'n[1-2]', { via }).run()
    expect(get.ok).toBe(true)
    expect(via.asked).toMatchObject([{ direction: 'get', request: { policy: { create: true } } }])
    await new Get('*.log', 'n1', { via, to: folder }).run()
    expect(via.asked[1]).toMatchObject({ request: { ends: [{ directory: folder }], policy: { create: false } } })
  })

  it('asks no host when the directory here cannot be written', async () => {
    const via = new TellingTransfer()
    const missing = await new Get('x', 'n1', { via, to: join(folder, 'none') }).run()
    expect(missing.errorReason).toMatchObject({ code: 'E_TARGET_MISSING', suggestions: [expect.stringContaining('create')] })
    writeFileSync(join(folder, 'file'), '')
    for (const to of ['file', 'file/below']) {
      const wrong = await new Get('x', 'n1', { via, to: join(folder, to), create: true }).run()
      expect(wrong.errorReason).toMatchObject({ code: 'E_TARGET_KIND' })
    }
    expect(via.asked).toEqual([])
    mkdirSync(join(folder, 'there'))
    expect((await new Get('x', 'n1', { via, to: join(folder, 'there/new'), create: true }).run()).ok).toBe(true)
  })

  it('refuses a chain', () => {
    expect(() => new Get('x', 'n1', { via: 'chain' })).toThrow(expect.objectContaining({ code: 'E_NOT_SUPPORTED' }))
  })
})

describe('transfers among actions', () => {
  it('take part in groups, and tell their handlers', async () => {
    const told: string[] = []
    const handler = {
      start: (action: Action) => void told.push(`start ${action.name}`),
      end: (action: Action) => void told.push(`end ${action.name}`),
    }
    const put = new Put('a', 'n1', options(sick(), { name: 'first', lifecycleHandlers: [handler] }))
    const both = await new SequentialActions([
      put,
      new ParallelActions([new Local('true'), new Broadcast('b', 'n1', options(sick()))]),
    ]).run()
    expect([both.finishedOk, both.processes.length, told]).toEqual([true, 1, ['start first', 'end first']])
    expect(both.stats()).toMatchObject({ processes: 3, finishedOk: 3, hosts: ['n1'] })
  })

  it('stop a sequence when they fail, and make their group fail', async () => {
    const after = new Local('true')
    const sequence = await new SequentialActions([new Put('a', 'n[1-2]', options(sick())), after], { stopOnFailure: true }).run()
    expect([sequence.ok, after.started]).toEqual([false, false])
    expect(filterBadHosts(sequence, 'n[1-3]').join(' ')).toBe('n1 n3')
    const nothing = await new ParallelActions([
      new Put('a', 'n1', options(new TellingTransfer(() => Promise.reject(new Error('no'))))),
    ]).run()
    expect([nothing.ok, nothing.finishedOk]).toEqual([false, false])
  })

  it('are killed with their group, and counted by hosts in a report', async () => {
    const stuck = new TellingTransfer(
      (_host, { signal }) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve(failure('E_ABORTED')))),
    )
    const group = new ParallelActions([new Put('a', 'n[1-2]', options(stuck))]).start()
    await group.kill().wait()
    expect(group.stats()).toMatchObject({ processes: 2, started: 2, ended: 2, errors: 2, ok: 0 })
    const put = await new Put('a', 'n[1-2],dead1', options(sick())).run()
    expect(put.stats()).toMatchObject({
      processes: 3,
      ended: 3,
      errors: 2,
      unreachable: 1,
      ok: 1,
      finishedOk: 1,
      hosts: ['n1', 'n2', 'dead1'],
    })
    expect(new Report([put]).toString()).toMatch(/n2: put a to 3 hosts/)
  })
})

describe('the defaults of transfers', () => {
  afterEach(() => setTransferDefaults({}))

  it('are taken where nothing else is said', () => {
    setTransferDefaults({ via: 'chain', over: 'ssh' })
    expect(withTransferDefaults('put', {})).toEqual({ via: 'chain', over: 'ssh' })
    expect(withTransferDefaults('put', { over: 'tcp' })).toEqual({ via: 'chain', over: 'tcp' })
    expect(withTransferDefaults('put', { via: 'scp' })).toEqual({ via: 'scp' })
    // A chain fetches nothing.
    expect(withTransferDefaults('get', { as: 'x' })).toEqual({ as: 'x' })
    setTransferDefaults({ over: 'ssh' })
    expect(withTransferDefaults('put', {})).toEqual({ over: 'ssh' })
  })

  it('give options to the adapter that they name, and to no other', () => {
    setTransferDefaults({ via: 'pigeon', options: { speed: 3, ring: 'red' } })
    expect(withTransferDefaults('get', {})).toEqual({ via: 'pigeon', adapterOptions: { speed: 3, ring: 'red' } })
    expect(withTransferDefaults('put', { via: 'pigeon', adapterOptions: { speed: 4 } }).adapterOptions).toEqual({ speed: 4, ring: 'red' })
    expect(withTransferDefaults('put', { via: 'swift', adapterOptions: { far: true } }).adapterOptions).toEqual({ far: true })
  })

  it('refuse what is no default', () => {
    expect(() => setTransferDefaults({ vai: 'chain' } as never)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})

describe('adapters of transfers', () => {
  const adapter = (made: unknown[]): AdapterModule => ({
    api: 1,
    name: 'pigeon',
    kind: 'transfer',
    supports: {},
    options: z.strictObject({ speed: z.number().default(1) }),
    create: (own, host) => {
      made.push([own, typeof host.processes.start])
      return new TellingTransfer()
    },
  })

  it('are found by name, with their options checked', async () => {
    const made: unknown[] = []
    const adapters = { given: [adapter(made)] }
    const put = await new Put('a', 'n1', { to: '/t', via: 'pigeon', adapters, adapterOptions: { speed: 3 } }).run()
    expect([put.ok, put.errorReason, made]).toEqual([true, undefined, [[{ speed: 3 }, 'function']]])
    const wrong = await new Put('a', 'n1', { to: '/t', via: 'pigeon', adapters, adapterOptions: { sped: 3 } }).run()
    expect(wrong.errorReason).toMatchObject({ code: 'E_ADAPTER_OPTIONS' })
  })

  it('get the options of the configuration', async () => {
    const made: unknown[] = []
    setTransferDefaults({ via: 'pigeon', options: { speed: 5 } })
    try {
      const put = await new Put('a', 'n1', { to: '/t', adapters: { given: [adapter(made)] } }).run()
      expect([put.ok, made]).toEqual([true, [[{ speed: 5 }, 'function']]])
    } finally {
      setTransferDefaults({})
    }
  })

  it('that nobody has installed are missing before any host is asked', async () => {
    const put = await new Put('a', 'n1', { to: '/t', via: 'carrierpigeon' }).run()
    expect(put.errorReason).toMatchObject({ code: 'E_ADAPTER_MISSING' })
  })
})

function silent(): Logger {
  const nothing = (): void => {}
  const logger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing, child: () => logger }
  return logger
}
