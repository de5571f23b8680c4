import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import slurm from '../../packages/adapter-slurm/src/index.js'
import {
  type CampaignOptions,
  closeConnections,
  defineCampaign,
  Engine,
  type NamedSite,
  type RunCampaignOptions,
  readItems,
  readStatus,
  runCampaign,
  type SubmittedJob,
  stopRun,
} from '../../packages/core/src/index.js'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../testbed/slurm.mjs'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../testbed/ssh-hosts.mjs'

const reason = slurmUnavailable()
const title = (text: string) => (reason === undefined ? text : `${text} (needs slurmctld: ${reason})`)
const check = it.skipIf(reason !== undefined)

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-slurm-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))

const OPTIONS = { pollInterval: '1s', pollIntervalMax: '5s', lostAfter: '20s', settleAfter: '5s' }
const adapters = { given: [slurm] }

/** What this process and its children need to talk to a bed. */
function useBed(bed: SlurmBed): () => void {
  const before = Object.fromEntries(Object.keys(bed.env).map((name) => [name, process.env[name]]))
  Object.assign(process.env, bed.env)
  return () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  }
}

const SQUARE = '[ {{ n }} -ne 13 ] || { echo unlucky >&2; exit 7; }\n{{ prepare.compile }}/square {{ n }} "$(cat offset.txt)"'

/** 40 combinations that need what a prepare stage made; number 13 fails. */
const forty = (more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
  defineCampaign({
    name: 'forty',
    factors: { n: Array.from({ length: 40 }, (_, index) => index + 1) },
    files: [join(folder, 'offset.txt')],
    prepare: [{ name: 'compile', command: 'printf \'#!/bin/sh\\necho "square=$(($1 * $1 + $2))"\\n\' >square\nchmod +x square' }],
    job: { command: SQUARE },
    results: { square: { type: 'integer' } },
    collect: { square: { from: 'stdout', pattern: 'square=(\\d+)' } },
    ...more,
  } as CampaignOptions<{ n: number[] }>)

/** What was told to end has ended a moment later; what was not stays. */
const leavesQueue = async (bed: SlurmBed, ...which: string[]): Promise<void> =>
  await expect.poll(async () => (await bed.run(['squeue', '-h', ...which])).stdout, { timeout: 60_000, interval: 200 }).toBe('')

/** Each attempt writes its combination into the ledger when it begins. */
const ledgered = (more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
  defineCampaign({
    name: 'ledgered',
    factors: { n: [1, 2, 3, 4, 5, 6] },
    job: {
      command: `echo {{ n }} >>'${join(folder, 'ledger')}'; while [ -e '${join(folder, 'hold')}' ]; do sleep 0.2; done; echo value={{ n }}`,
    },
    results: { value: { type: 'integer' } },
    collect: { value: { from: 'stdout', pattern: 'value=(\\d+)' } },
    ...more,
  } as CampaignOptions<{ n: number[] }>)
const ledger = () =>
  existsSync(join(folder, 'ledger'))
    ? readFileSync(join(folder, 'ledger'), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(Number)
        .sort((a, b) => a - b)
    : []

class Chain extends Engine {
  outcomes: string[] = []
  text = ''
  override async run(): Promise<void> {
    const script =
      '#!/bin/bash\n#SBATCH --comment=part\n{ cat {{ from }} 2>/dev/null; echo part {{ n }}; [ {{ n }} != {{ bad }} ]; } >state\n'
    const jobs: SubmittedJob[] = []
    for (let n = 1; n <= 4; n += 1) {
      const before = jobs.at(-1)
      const values = { n, from: before === undefined ? '/dev/null' : `${before.siteDirectory}/state`, bad: String(this.args[0] ?? '0') }
      jobs.push(await this.submit({ name: `part-${n}`, script, values }, before === undefined ? {} : { after: before }))
    }
    this.outcomes = (await this.waitJobs(jobs)).map(({ outcome }) => outcome)
    const last = join(jobs.at(-1)?.directory ?? '', 'state')
    this.text = existsSync(last) ? readFileSync(last, 'utf8') : ''
  }
}

describe('a campaign on a real SLURM', () => {
  let bed: SlurmBed & AsyncDisposable
  let leave = (): void => undefined
  beforeAll(async () => {
    if (reason !== undefined) return
    bed = await startSlurm({ nodes: 2, cpus: 8, memoryMiB: 4000 })
    leave = useBed(bed)
  })
  afterAll(async () => {
    leave()
    await bed?.stop()
  })
  const site = (more = {}) => ({ name: 'cluster', scheduler: 'slurm', options: OPTIONS, modules: [], ...more })
  const run = (options: Partial<RunCampaignOptions> = {}) => {
    writeFileSync(join(folder, 'offset.txt'), '100')
    return runCampaign({ campaign: forty(), directory: join(folder, 'run'), site: site(), adapters, ...options })
  }

  check(title('runs a prepare stage, then all combinations in arrays, and one failure is one failure'), async () => {
    const since = Date.now()
    const started = performance.now()
    const summary = await run()
    const seconds = (performance.now() - started) / 1000
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { done: 39, failed: 1 } })
    const rows = readFileSync(join(folder, 'run', 'results.jsonl'), 'utf8')
      .trim()
      .split('\n')
    expect(rows.map((row) => JSON.parse(row)).every(({ n, square }) => square === n * n + 100)).toBe(true)
    const [failed] = await readItems(join(folder, 'run'), { state: 'failed' })
    expect(failed).toMatchObject({ combination: { n: 13 }, detail: 'exit code 7: unlucky', attempts: [{ site: 'cluster', exitCode: 7 }] })
    expect(failed?.attempts[0]?.nativeId).toMatch(/^\d+_\d+$/)
    const calls = bed.calls(since)
    expect(calls['sbatch']).toBeLessThanOrEqual(3)
    expect(calls['squeue']).toBeLessThanOrEqual(seconds + 3)
    expect(readdirSync(join(folder, 'run', 'combinations'))).toHaveLength(40)
  })

  check(title('goes on where it was left, with other combinations: what runs is not run again'), async () => {
    writeFileSync(join(folder, 'hold'), '')
    const detach = new AbortController()
    const first = await run({
      campaign: ledgered(),
      signal: detach.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && detach.abort(),
    })
    expect(first).toMatchObject({ outcome: 'detached', counts: { running: 6 } })
    rmSync(join(folder, 'hold'))
    const since = Date.now()
    // 5 and 6 are no longer wanted; 7 and 8 are new.
    const second = await run({ campaign: ledgered({ factors: { n: [1, 2, 3, 4, 7, 8] } }), acceptChanges: true })
    expect(second).toMatchObject({ outcome: 'complete', counts: { total: 6, done: 6, orphaned: 2 } })
    expect(ledger()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(bed.calls(since)['sbatch']).toBe(1)
  })

  check(title('fails its jobs once when their prepare stage fails, in words of its own'), async () => {
    const campaign = forty({ prepare: [{ name: 'compile', command: 'echo no compiler >&2; exit 3' }] })
    const since = Date.now()
    const summary = await run({ campaign })
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { failed: 40 } })
    const items = await readItems(join(folder, 'run'))
    expect(new Set(items.map(({ attempts }) => attempts.map(({ outcome }) => outcome).join()))).toEqual(new Set(['upstream-failed']))
    expect(items[0]?.detail).toContain('prepare:compile failed')
    await leavesQueue(bed)
    expect(bed.calls(since)['sbatch']).toBeLessThanOrEqual(2)
  })

  check(title('takes the jobs along that waited for a prepare stage when that succeeds at the second try'), async () => {
    const mark = join(folder, 'tried')
    const command = `[ -e '${mark}' ] || { touch '${mark}'; sleep 2; exit 1; }`
    const campaign = ledgered({ prepare: [{ name: 'mesh', command }], retry: { attempts: 2, on: ['failed'] } })
    expect(await run({ campaign })).toMatchObject({ outcome: 'complete', counts: { done: 6 } })
    expect(ledger()).toEqual([1, 2, 3, 4, 5, 6])
    const attempts = (await readItems(join(folder, 'run'))).map((item) => item.attempts.map(({ outcome }) => outcome))
    expect(new Set(attempts.map((one) => one.at(-1)))).toEqual(new Set(['succeeded']))
  })

  check(title('is stopped with its jobs by another program'), async () => {
    writeFileSync(join(folder, 'hold'), '')
    const detach = new AbortController()
    await run({
      campaign: ledgered(),
      signal: detach.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && detach.abort(),
    })
    const stopped = await stopRun(join(folder, 'run'), { cancelJobs: true, site: site(), adapters })
    expect(stopped).toMatchObject({ how: 'driven', jobs: 6, status: { counts: { todo: 6, running: 0, submitted: 0 } } })
    await leavesQueue(bed, '-t', 'PD,R')
    rmSync(join(folder, 'hold'))
    expect(await run({ campaign: ledgered() })).toMatchObject({ outcome: 'complete', counts: { done: 6 } })
  })

  check(title('chains jobs with an engine, and a link that breaks breaks what follows'), async () => {
    const start = async (args: string[]) => {
      const chain = new Chain()
      await chain.start(args, { parent: folder, write: false, site: site(), adapters })
      return chain
    }
    const chain = await start([])
    expect(chain.outcomes).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded'])
    expect(chain.text).toBe('part 1\npart 2\npart 3\npart 4\n')
    const broken = await start(['2'])
    expect(broken.outcomes).toEqual(['succeeded', 'failed', 'upstream-failed', 'upstream-failed'])
    const again = await start(['2', '-c', broken.resultDir])
    expect(again.outcomes).toEqual(broken.outcomes)
  })
})

describe('a campaign from a laptop', () => {
  const why = sshHostsUnavailable() ?? reason
  const checkFar = it.skipIf(why !== undefined)
  const far = (text: string) => (why === undefined ? text : `${text} (needs slurmctld and sshd: ${why})`)
  let bed: SlurmBed & AsyncDisposable
  let hosts: SshHosts
  beforeAll(async () => {
    if (why !== undefined) return
    hosts = await startSshHosts(1)
    bed = await startSlurm({ nodes: 2, cpus: 8, memoryMiB: 4000 })
    bed.offerCommands(join(hosts.hosts[0]?.directory ?? '', 'bin'))
  })
  afterAll(async () => {
    await closeConnections()
    await bed?.stop()
    await hosts?.stop()
  })
  const site = (): NamedSite => ({
    name: 'far',
    host: 'h1',
    connection: { sshConfig: hosts.sshConfig },
    workDirectory: join(folder, 'there'),
    scheduler: 'slurm',
    options: OPTIONS,
    modules: [],
  })
  const run = (options: Partial<RunCampaignOptions> = {}) => {
    writeFileSync(join(folder, 'offset.txt'), '100')
    return runCampaign({ campaign: forty(), directory: join(folder, 'run'), site: site(), adapters, ...options })
  }

  checkFar(far('brings input there and results home, with one login and few questions'), async () => {
    const since = Date.now()
    const logins = hosts.logins()
    const started = performance.now()
    const summary = await run()
    const seconds = (performance.now() - started) / 1000
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { done: 39, failed: 1 } })
    const rows = readFileSync(join(folder, 'run', 'results.jsonl'), 'utf8')
      .trim()
      .split('\n')
    expect(rows.map((row) => JSON.parse(row)).every(({ n, square }) => square === n * n + 100)).toBe(true)
    const [failed] = await readItems(join(folder, 'run'), { state: 'failed' })
    expect(failed).toMatchObject({ detail: 'exit code 7: unlucky' })
    expect(hosts.logins() - logins).toBeLessThanOrEqual(1)
    expect(bed.calls(since)['sbatch']).toBeLessThanOrEqual(3)
    expect(bed.calls(since)['squeue']).toBeLessThanOrEqual(seconds + 3)
    const roots = readdirSync(join(folder, 'there')).filter((name) => name.startsWith('run-'))
    expect(roots).toHaveLength(1)
    expect(readdirSync(join(folder, 'there', roots[0] ?? '', 'prepare'))).toEqual(['compile'])
  })

  checkFar(far('is adopted after it was left: each combination runs once'), async () => {
    writeFileSync(join(folder, 'hold'), '')
    const detach = new AbortController()
    await run({
      campaign: ledgered(),
      signal: detach.signal,
      onEvent: (event) => event.type === 'counts' && event.counts.running === 6 && detach.abort(),
    })
    await closeConnections()
    rmSync(join(folder, 'hold'))
    expect(await run({ campaign: ledgered() })).toMatchObject({ outcome: 'complete', counts: { done: 6 } })
    expect(ledger()).toEqual([1, 2, 3, 4, 5, 6])
  })

  checkFar(far('goes on after its connection was cut, and nothing is judged meanwhile'), async () => {
    writeFileSync(join(folder, 'hold'), '')
    let isCut = false
    const summary = await run({
      campaign: ledgered(),
      onEvent: (event) => {
        if (event.type !== 'counts' || event.counts.running !== 6 || isCut) return
        isCut = true
        hosts.dropSessions('h1')
        rmSync(join(folder, 'hold'))
      },
    })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 6 } })
    expect(ledger()).toEqual([1, 2, 3, 4, 5, 6])
  })

  checkFar(far('chains jobs with an engine'), async () => {
    const chain = new Chain()
    await chain.start([], { parent: folder, write: false, site: site(), adapters })
    expect(chain.outcomes).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded'])
    expect(chain.text).toBe('part 1\npart 2\npart 3\npart 4\n')
  })
})

describe('a campaign on two clusters', () => {
  const why = sshHostsUnavailable() ?? reason
  const checkBoth = it.skipIf(why !== undefined)
  const both = (text: string) => (why === undefined ? text : `${text} (needs slurmctld and sshd: ${why})`)
  let near: SlurmBed & AsyncDisposable
  let far: SlurmBed & AsyncDisposable
  let hosts: SshHosts
  let leave = (): void => undefined
  beforeAll(async () => {
    if (why !== undefined) return
    hosts = await startSshHosts(1)
    near = await startSlurm({ nodes: 1, cpus: 8, memoryMiB: 4000, clusterName: 'near' })
    far = await startSlurm({ nodes: 1, cpus: 8, memoryMiB: 4000, clusterName: 'far' })
    far.offerCommands(join(hosts.hosts[0]?.directory ?? '', 'bin'))
    leave = useBed(near)
  })
  afterAll(async () => {
    leave()
    await closeConnections()
    await near?.stop()
    await far?.stop()
    await hosts?.stop()
  })
  const sites = (): NamedSite[] => [
    { name: 'near', scheduler: 'slurm', options: OPTIONS, modules: [] },
    {
      name: 'far',
      host: 'h1',
      connection: { sshConfig: hosts.sshConfig },
      workDirectory: join(folder, 'there'),
      scheduler: 'slurm',
      options: OPTIONS,
      modules: [],
    },
  ]
  const run = (options: Partial<RunCampaignOptions> = {}) => {
    writeFileSync(join(folder, 'offset.txt'), '100')
    return runCampaign({ campaign: forty(), directory: join(folder, 'run'), site: sites(), adapters, ...options })
  }

  checkBoth(both('uses both at once, with a prepare stage at each, and each combination runs once'), async () => {
    // Each of them has a row of its own: what the one that is ready first cannot begin is left for the other, however late that is.
    const hold = join(folder, 'hold')
    writeFileSync(hold, '')
    const summary = await run({
      campaign: forty({ job: { command: `while [ -e '${hold}' ]; do sleep 0.2; done\n${SQUARE}` } }),
      onEvent: (event) => event.type === 'counts' && event.counts.todo === 0 && rmSync(hold, { force: true }),
    })
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { done: 39, failed: 1 } })
    const used = (await readItems(join(folder, 'run'))).map(({ attempts }) => attempts.map(({ site }) => site))
    expect(used.every((one) => one.length === 1)).toBe(true)
    expect(new Set(used.flat())).toEqual(new Set(['near', 'far']))
    expect(JSON.parse(readFileSync(join(folder, 'run', 'cahier.json'), 'utf8'))).toMatchObject({
      site: { name: 'near', scheduler: 'slurm' },
      sites: [{ name: 'near' }, { name: 'far', host: 'h1' }],
    })
  })

  checkBoth(both('goes on with one while the controller of the other is dead'), async () => {
    await far.killController()
    try {
      let isBack: Promise<void> | undefined
      const summary = await run({
        campaign: ledgered({ factors: { n: Array.from({ length: 40 }, (_, index) => index + 1) } }),
        onEvent: (event) => {
          if (event.type === 'counts' && event.counts.done >= 20) isBack ??= far.startController()
        },
      })
      await isBack
      expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 40 } })
      expect(ledger()).toEqual(Array.from({ length: 40 }, (_, index) => index + 1))
      expect((await readStatus(join(folder, 'run'))).pause).toBeUndefined()
    } finally {
      await far.startController()
    }
  })
})
