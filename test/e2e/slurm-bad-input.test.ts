import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import slurm from '../../packages/adapter-slurm/src/index.js'
import {
  type CampaignOptions,
  defineCampaign,
  type NamedSite,
  type RunCampaignOptions,
  type RunEvent,
  readItems,
  readStatus,
  retryItems,
  runCampaign,
  type StuckJobs,
} from '../../packages/core/src/index.js'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../testbed/slurm.mjs'

const OPTIONS = { pollInterval: '1s', pollIntervalMax: '2s', lostAfter: '15s', settleAfter: '3s' }
const adapters = { given: [slurm] }

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-slurm-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1)

/** Every start of a combination leaves a line in the ledger. */
const campaign = (count: number, more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
  defineCampaign({
    name: 'bad',
    factors: { n: upTo(count) },
    job: { command: `echo {{ n }} >>'${join(folder, 'ledger')}'` },
    ...more,
  } as CampaignOptions<{ n: number[] }>)
const working = (command: string) => ({ job: { command: `echo {{ n }} >>'${join(folder, 'ledger')}'; ${command}` } })
const scripted = (text: string) => {
  writeFileSync(join(folder, 'job.sh'), text)
  return { job: { script: join(folder, 'job.sh') } }
}
const ledger = () =>
  existsSync(join(folder, 'ledger'))
    ? readFileSync(join(folder, 'ledger'), 'utf8')
        .split('\n')
        .filter(Boolean)
        .map(Number)
        .sort((a, b) => a - b)
    : []

const directory = () => join(folder, 'run')
const site = (more: Partial<NamedSite> = {}): NamedSite => ({ name: 'cluster', scheduler: 'slurm', options: OPTIONS, modules: [], ...more })
const run = (options: Partial<RunCampaignOptions> & Pick<RunCampaignOptions, 'campaign'>) =>
  runCampaign({ directory: directory(), site: site(), adapters, ...options })
const details = async () => [...new Set((await readItems(directory(), { state: 'failed' })).map(({ detail }) => detail))]
const isRunning = (count: number) => (event: RunEvent) => event.type === 'counts' && event.counts.running === count

/** Starts a bed for the cases of one block, and lets this process and its children talk to it. */
function bedFor(options: Parameters<typeof startSlurm>[0]) {
  const reason = slurmUnavailable(options)
  let bed: (SlurmBed & AsyncDisposable) | undefined
  const before: Record<string, string | undefined> = {}
  beforeAll(async () => {
    if (reason !== undefined) return
    bed = await startSlurm(options)
    for (const [name, value] of Object.entries(bed.env)) {
      before[name] = process.env[name]
      process.env[name] = value
    }
  })
  afterAll(async () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
    await bed?.stop()
  })
  return {
    check: (title: string, test: (bed: SlurmBed) => Promise<void>): void =>
      it.skipIf(reason !== undefined)(reason === undefined ? title : `${title} (needs slurmctld: ${reason})`, () => test(bed as SlurmBed)),
  }
}

describe('what SLURM refuses', () => {
  const { check } = bedFor({
    nodes: 2,
    cpus: 8,
    memoryMiB: 4000,
    accounting: 'dbd',
    enforce: 'associations,limits,qos',
    maxArraySize: 11,
    minJobAge: 2,
  })
  const limit = async (bed: SlurmBed, ...what: string[]): Promise<void> => {
    const { exitCode, stdout, stderr } = await bed.run(['sacctmgr', '-i', 'modify', 'qos', 'normal', 'set', ...what])
    if (exitCode !== 0) throw new Error(`sacctmgr: ${stdout}${stderr}`)
  }

  check('an invalid account fails ten of 300 combinations, and all are done when it is mended', async (bed) => {
    const since = Date.now()
    const bad = site({ account: 'nope' })
    const summary = await run({ campaign: campaign(300), site: bad })
    expect(summary).toMatchObject({ outcome: 'paused', pause: { reason: 'breaker' } })
    const { failed, todo, submitted } = summary.counts
    expect(failed).toBeGreaterThanOrEqual(10)
    expect(failed).toBeLessThanOrEqual(12)
    expect([todo + failed, submitted]).toEqual([300, 0])
    // Arrays of eleven, a few at a time: each round tries some of them.
    expect(bed.calls(since)['sbatch']).toBeLessThanOrEqual(16)
    const [words, ...others] = await details()
    expect(others).toEqual([])
    expect(words).toContain('Invalid account or account/partition combination specified')
    expect(words).toContain('sacctmgr show assoc user=$USER')
    expect((await readStatus(directory())).pause?.reason).toBe('breaker')
    expect((await bed.run(['squeue', '-h'])).stdout).toBe('')
    // Continued without a cure, it is no more.
    const again = await run({ campaign: campaign(300), site: bad })
    expect(again.counts.failed).toBeLessThanOrEqual(24)
    await retryItems(directory(), {})
    expect(await run({ campaign: campaign(40), acceptChanges: true })).toMatchObject({ outcome: 'complete', counts: { done: 40 } })
    expect(ledger()).toEqual(upTo(40))
  })

  check('a partition that is not there is never asked for, and those that are there are named', async (bed) => {
    const since = Date.now()
    const summary = await run({ campaign: campaign(5), site: site({ queue: 'mian' }) })
    expect(summary).toMatchObject({ outcome: 'incomplete', counts: { failed: 5 } })
    expect(await details()).toEqual(['E_JOB_INVALID: this site has no partition "mian"; Write queue: main'])
    expect(bed.calls(since)['sbatch']).toBe(0)
    await retryItems(directory(), {})
    expect(await run({ campaign: campaign(5) })).toMatchObject({ outcome: 'complete', counts: { done: 5 } })
  })

  check('what a partition would take and never start is not submitted', async (bed) => {
    const since = Date.now()
    const long = campaign(3, { job: { command: 'true', resources: { walltime: '1h' } } })
    await run({ campaign: long, site: site({ queue: 'short' }) })
    expect((await details())[0]).toContain('a walltime of 1h is longer than partition short allows: 10min')
    rmSync(directory(), { recursive: true })
    await run({ campaign: campaign(3, { job: { command: 'true', resources: { nodes: 9 } } }) })
    expect((await details())[0]).toContain('9 nodes are more than partition main gives to one job: 2')
    expect(bed.calls(since)['sbatch']).toBe(0)
  })

  check('what waits and can never start is taken out of the queue, in the words of SLURM', async (bed) => {
    await limit(bed, 'MaxWall=5')
    const more = { job: { command: 'true', resources: { walltime: '30min' } } }
    try {
      const summary = await run({ campaign: campaign(3, more) })
      expect(summary).toMatchObject({ outcome: 'incomplete', counts: { failed: 3 } })
      expect((await details())[0]).toMatch(/never have been started .*QOSMaxWallDurationPerJobLimit/)
      expect((await bed.run(['squeue', '-h'])).stdout).toBe('')
    } finally {
      await limit(bed, 'MaxWall=-1')
    }
    await retryItems(directory(), {})
    expect(await run({ campaign: campaign(3, more) })).toMatchObject({ outcome: 'complete' })
  })

  check('what SLURM itself refuses, where it looks at limits at once, fails with its words', async (bed) => {
    appendFileSync(bed.conf, '\nEnforcePartLimits=ALL\n')
    await bed.run(['scontrol', 'reconfigure'])
    const since = Date.now()
    await run({ campaign: campaign(3, scripted('#!/bin/sh\n#SBATCH --nodes=2 --exclude=n2\ntrue\n')) })
    expect((await details())[0]).toContain('Requested node configuration is not available')
    expect(bed.calls(since)['sbatch']).toBe(1)
    rmSync(directory(), { recursive: true })
    // While the first job runs the partition comes to allow less, which Cahier is not told.
    const hold = join(folder, 'hold')
    writeFileSync(hold, '')
    let shorter: Promise<unknown> | undefined
    try {
      const summary = await run({
        campaign: campaign(3, { job: { command: `while [ -e '${hold}' ]; do sleep 0.1; done`, resources: { walltime: '9min' } } }),
        site: site({ queue: 'short' }),
        maxInFlight: 1,
        onEvent: (event) => {
          if (isRunning(1)(event)) shorter ??= bed.run(['scontrol', 'update', 'partition=short', 'maxtime=1']).then(() => rmSync(hold))
        },
      })
      expect(summary).toMatchObject({ outcome: 'incomplete', counts: { done: 1, failed: 2 } })
      expect((await details()).join('\n')).toContain('Requested time limit is invalid')
    } finally {
      await shorter
      await bed.run(['scontrol', 'update', 'partition=short', 'maxtime=10'])
    }
  })

  check('40 combinations go in arrays of at most eleven where MaxArraySize is 11', async (bed) => {
    const since = Date.now()
    expect(await run({ campaign: campaign(40) })).toMatchObject({ outcome: 'complete', counts: { done: 40 } })
    expect(ledger()).toEqual(upTo(40))
    expect(bed.calls(since)['sbatch']).toBe(4)
  })

  check('a limit of three jobs holds 20 back until all are done, and none has failed', async (bed) => {
    await limit(bed, 'MaxSubmitJobsPerUser=3')
    try {
      const summary = await run({ campaign: campaign(20) })
      expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 20, failed: 0 } })
      expect(ledger()).toEqual(upTo(20))
      expect(summary.pause).toBeUndefined()
    } finally {
      await limit(bed, 'MaxSubmitJobsPerUser=-1')
    }
  })

  check('output folders that are missing or closed, Windows line ends and no #! fail no job', async () => {
    const odd =
      '#SBATCH --output=missing/x.out\r\n#SBATCH --error=/proc/closed/x.err\r\nif true; then\r\necho hello; echo oops >&2\r\nfi\r\n'
    const summary = await run({ campaign: campaign(2, scripted(odd)) })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 2 } })
    const [item] = await readItems(directory())
    const job = item?.attempts[0]?.directory ?? ''
    expect(readFileSync(join(job, 'stdout'), 'utf8')).toBe('hello\n')
    expect(readFileSync(join(job, 'stderr'), 'utf8')).toBe('oops\n')
    expect(readFileSync(join(job, 'job.sh'), 'utf8').startsWith('#!/bin/sh\n')).toBe(true)
  })

  check('a job that was killed, forgotten by the queue and 26 hours away is told of by the accounting', async (bed) => {
    const leave = new AbortController()
    const hold = join(folder, 'hold')
    writeFileSync(hold, '')
    const killed = campaign(2, working(`while [ -e '${hold}' ]; do sleep 0.1; done; kill -9 $PPID $$`))
    const first = await run({ campaign: killed, signal: leave.signal, onEvent: (event) => isRunning(2)(event) && leave.abort() })
    expect(first).toMatchObject({ outcome: 'detached' })
    rmSync(hold)
    while ((await bed.run(['squeue', '-h', '-t', 'all'])).stdout !== '') await new Promise((resolve) => setTimeout(resolve, 200))
    const since = Date.now()
    const path = process.env['PATH']
    const skewed = join(folder, 'bin')
    mkdirSync(skewed)
    writeFileSync(join(skewed, 'date'), '#!/bin/sh\necho $(($(/bin/date +%s) + 26 * 3600))\n')
    chmodSync(join(skewed, 'date'), 0o755)
    process.env['PATH'] = `${skewed}:${path}`
    const thaw = bed.freezeAccounting()
    try {
      // Silent accounting is no answer: nothing is judged until it speaks.
      const second = run({ campaign: killed, site: site({ options: { ...OPTIONS, lostAfter: '5s' } }) })
      while (bed.calls(since)['sacct'] === 0) await new Promise((resolve) => setTimeout(resolve, 50))
      thaw()
      expect(await second).toMatchObject({ outcome: 'incomplete', counts: { failed: 2 } })
    } finally {
      thaw()
      process.env['PATH'] = path
    }
    expect((await readItems(directory())).map(({ attempts }) => attempts.map(({ outcome }) => outcome))).toEqual([['killed'], ['killed']])
    expect((await details())[0]).toMatch(/^FAILED.*SIGKILL/)
    expect(ledger()).toEqual([1, 2])
  })

  check('accounting that is down keeps nobody waiting whose jobs say themselves how they ended', async (bed) => {
    await bed.stopAccounting()
    try {
      expect(await run({ campaign: campaign(5) })).toMatchObject({ outcome: 'complete', counts: { done: 5 } })
    } finally {
      await bed.startAccounting()
    }
  })
})

describe('a SLURM that is out of order', () => {
  const { check } = bedFor({ nodes: 1, cpus: 8, memoryMiB: 4000, messageTimeout: 2 })
  const pausesOf = (events: readonly RunEvent[]) => events.flatMap((event) => (event.type === 'paused' ? [event.pause] : []))

  check('a controller that is down when a run begins is waited for', async (bed) => {
    await bed.stopController()
    const events: RunEvent[] = []
    let isBack: Promise<void> | undefined
    const summary = await run({
      campaign: campaign(3),
      onEvent: (event) => {
        events.push(event)
        if (event.type === 'paused') isBack ??= bed.startController()
      },
    })
    await isBack
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 3 } })
    expect(pausesOf(events)).toMatchObject([{ reason: 'scheduler-silent' }])
    expect(pausesOf(events)[0]?.detail).toContain('Unable to contact slurm controller')
    expect((await readStatus(directory())).pause).toBeUndefined()
  })

  check('munge that is broken when a run begins is waited for', async (bed) => {
    await bed.stopMunge()
    const events: RunEvent[] = []
    let isBack: Promise<void> | undefined
    const summary = await run({
      campaign: campaign(3),
      onEvent: (event) => {
        events.push(event)
        if (event.type === 'paused') isBack ??= bed.startMunge()
      },
    })
    await isBack
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 3 } })
    expect(pausesOf(events)[0]?.detail).toContain('Munge encode failed')
  })

  check('a controller that is frozen while jobs are submitted has each of them once', async (bed) => {
    const since = Date.now()
    let thaw: (() => void) | undefined
    try {
      const done = run({
        campaign: campaign(6),
        onEvent: (event) => {
          if (event.type === 'started') thaw ??= bed.freezeController()
        },
      })
      // Whoever looks for a job in the queue has given its submission up.
      const isGivenUp = (): boolean => {
        const calls = bed.callList(since).map(({ command }) => command)
        return calls.includes('sbatch') && calls.lastIndexOf('squeue') > calls.indexOf('sbatch')
      }
      while (!isGivenUp()) await new Promise((resolve) => setTimeout(resolve, 20))
      thaw?.()
      expect(await done).toMatchObject({ outcome: 'complete', counts: { done: 6 } })
    } finally {
      thaw?.()
    }
    expect(ledger()).toEqual(upTo(6))
    expect(bed.calls(since)['sbatch']).toBe(1)
  })

  check('a controller that is restarted while jobs run changes nothing, and their ends are known meanwhile', async (bed) => {
    const hold = join(folder, 'hold')
    writeFileSync(hold, '')
    let stopping: Promise<void> | undefined
    const events: RunEvent[] = []
    const summary = await run({
      campaign: campaign(4, working(`while [ -e '${hold}' ]; do sleep 0.1; done`)),
      onEvent: (event) => {
        events.push(event)
        if (isRunning(4)(event)) stopping ??= bed.stopController()
        if (event.type === 'paused') rmSync(hold, { force: true })
      },
    })
    await stopping
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 4 } })
    expect(pausesOf(events)[0]?.reason).toBe('scheduler-silent')
    await bed.startController()
    expect(ledger()).toEqual(upTo(4))
  })

  check('a job that a node could not start is held: it says so, and runs when it is released', async (bed) => {
    const step = join(bed.directory, 'sbin/slurmstepd')
    const real = readdirSync('/usr/sbin').find((name) => name === 'slurmstepd-wlm') ?? 'slurmstepd'
    rmSync(step)
    writeFileSync(step, '#!/bin/sh\nkill -9 $$\n', { mode: 0o755 })
    let tell: ((stuck: StuckJobs) => void) | undefined
    const told = new Promise<StuckJobs>((resolve) => {
      tell = resolve
    })
    // SLURM takes the node away, too: the other job may be told of first, as one that waits for a node.
    const onEvent = (event: RunEvent): void => {
      if (event.type === 'stuck' && event.stuck.words.includes('launch failed requeued held')) tell?.(event.stuck)
    }
    const done = run({ campaign: campaign(2), onEvent })
    try {
      const stuck = await told
      expect(stuck.advice).toContain('cahier jobs release')
      expect((await readItems(directory())).map(({ detail }) => detail)).toContainEqual(expect.stringContaining(stuck.advice ?? ''))
    } finally {
      rmSync(step)
      symlinkSync(join('/usr/sbin', real), step)
    }
    // SLURM may hear of the second failed start only now: it takes the node away again, and holds that job too.
    let isDone = false
    void done.finally(() => {
      isDone = true
    })
    while (!isDone) {
      await bed.run(['scontrol', 'update', 'nodename=n1', 'state=resume'])
      const { stdout } = await bed.run(['squeue', '-h', '-r', '-t', 'PD', '-o', '%i'])
      const waiting = stdout.trim().split('\n').filter(Boolean)
      if (waiting.length > 0) await bed.run(['scontrol', 'release', ...waiting])
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    expect(await done).toMatchObject({ outcome: 'complete', counts: { done: 2 } })
    expect(ledger()).toEqual([1, 2])
  })

  check('a controller that has lost everything gives the ids of jobs to others, and nobody is taken for them', async (bed) => {
    const hold = join(folder, 'hold')
    writeFileSync(hold, '')
    let running: (() => void) | undefined
    const allRun = new Promise<void>((resolve) => {
      running = resolve
    })
    const done = run({
      campaign: campaign(2, working(`while [ -e '${hold}' ]; do sleep 0.1; done; [ {{ n }} = 1 ] || exit 3`)),
      onEvent: (event) => isRunning(2)(event) && running?.(),
    })
    await allRun
    const base = Number((await bed.run(['squeue', '-h', '-o', '%F'])).stdout.trim().split('\n')[0])
    await bed.killController()
    // A node that reports jobs of which the controller knows nothing is told to kill them: it reports later.
    await bed.killNode('n1', { onlyDaemon: true })
    for (const name of readdirSync(join(bed.directory, 'ctld'))) rmSync(join(bed.directory, 'ctld', name), { recursive: true })
    await bed.startController()
    for (let id = 1; id <= base; id += 1) await bed.run(['sbatch', '--hold', '--array=0-1', '--wrap', 'true'])
    rmSync(hold)
    expect(await done).toMatchObject({ outcome: 'incomplete', counts: { done: 1, failed: 1 } })
    expect((await readItems(directory(), { state: 'failed' }))[0]).toMatchObject({ combination: { n: 2 }, attempts: [{ exitCode: 3 }] })
    expect(ledger()).toEqual([1, 2])
    // Those of others wait as before.
    expect((await bed.run(['squeue', '-h', '-r', '-t', 'PD'])).stdout.trim().split('\n')).toHaveLength(2 * base)
    await bed.run(['scancel', '--state=PENDING', '--full', ...upTo(base).map(String)])
    await bed.startNode('n1')
  })
})
