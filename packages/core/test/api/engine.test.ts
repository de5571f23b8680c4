import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Engine, type EngineOption } from '../../src/api/engine.js'
import { ManualClock, MemoryScheduler } from '../../src/testing/index.js'
import { canMount, fill, smallDisk } from './run/lab.js'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-engine-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const site = { name: 'test', scheduler: 'memory', options: {}, modules: [] }
/** Answers about tags at once, like a scheduler that reports changes. */
const makeScheduler = () => new MemoryScheduler({ supports: { push: true, dependencies: true } })

class OneJob extends Engine {
  outcomes: string[] = []
  override async run(): Promise<void> {
    const job = await this.submit({ name: 'only', command: ['true'] })
    this.outcomes = (await this.waitJobs([job, job])).map(({ outcome }) => outcome)
  }
}
const start = (engine: Engine, scheduler: MemoryScheduler, signal?: AbortSignal) =>
  engine.start(['-c', 'run'], {
    ...{ parent: folder, write: false, site, scheduler, clock: new ManualClock({ eager: true }) },
    ...(signal === undefined ? {} : { signal }),
  })

describe('Engine', () => {
  it('waits for a job that is named twice, and submits it once over several starts', async () => {
    const scheduler = makeScheduler()
    const engine = new OneJob()
    expect(await start(engine, scheduler)).toMatchObject({ outcome: 'completed' })
    expect(engine.outcomes).toEqual(['succeeded', 'succeeded'])
    await start(new OneJob(), scheduler)
    expect(scheduler.entries).toHaveLength(1)
  })

  it('looks a job up whose submission was uncertain, and takes one "there is none" for no answer', async () => {
    const scheduler = makeScheduler()
    scheduler.faults.push('uncertain-queued')
    const find = scheduler.find.bind(scheduler)
    scheduler.find = (tags) => (scheduler.asked.find++ === 0 ? Promise.resolve(new Map()) : find(tags))
    const engine = new OneJob()
    expect(await start(engine, scheduler)).toMatchObject({ outcome: 'completed' })
    expect(engine.outcomes).toEqual(['succeeded', 'succeeded'])
    expect(scheduler.entries).toHaveLength(1)
  })

  it('submits again, when it is continued, what the scheduler has said twice not to have', async () => {
    const scheduler = makeScheduler()
    scheduler.faults.push('uncertain-lost')
    await expect(start(new OneJob(), scheduler)).rejects.toMatchObject({ code: 'E_SUBMIT_UNCERTAIN' })
    expect(scheduler.asked.find).toBeGreaterThanOrEqual(2)
    expect(await start(new OneJob(), scheduler)).toMatchObject({ outcome: 'completed' })
    expect(scheduler.entries).toHaveLength(1)
  })

  it('is interrupted by a signal that was aborted before', async () => {
    const scheduler = makeScheduler()
    expect(await start(new OneJob(), scheduler, AbortSignal.abort())).toMatchObject({ outcome: 'interrupted' })
    expect(scheduler.entries).toHaveLength(0)
  })
})

/** Starts an engine with this command line and gives the lines of its notebook, without their dates. */
async function lines(engine: Engine, argv: readonly string[], scheduler = makeScheduler()): Promise<string[]> {
  const written: string[] = []
  const clock = new ManualClock({ eager: true })
  const end = engine.start(argv, { parent: folder, site, scheduler, clock, write: (line) => written.push(line) })
  await end.catch(() => undefined)
  return written.map((line) => line.replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d /, ''))
}

class Base extends Engine {
  static override readonly options: Readonly<Record<string, EngineOption>> = {
    steps: { type: 'number', default: 3, short: 'n', description: 'number of steps' },
  }
  calls: string[] = []
  override async init(): Promise<void> {
    this.calls.push('Base.init')
  }
  override async teardown(): Promise<void> {
    this.calls.push('teardown')
  }
}
class Middle extends Base {}
class Derived extends Middle {
  static override readonly options: Readonly<Record<string, EngineOption>> = {
    material: { type: 'string', description: 'name of the material' },
    dry: { type: 'boolean', description: 'submits nothing' },
  }
  failure: Error | undefined
  override async init(): Promise<void> {
    this.calls.push('Derived.init')
  }
  override async run(): Promise<void> {
    this.calls.push('run')
    if (this.failure !== undefined) throw this.failure
  }
}

/** A chain: each job after the one before. */
class Chain extends Engine {
  override async run(): Promise<void> {
    const count = Number(this.args[0] ?? 3)
    const jobs = [await this.submit({ command: ['./step.sh', '1'] })]
    for (let step = 2; step <= count; step += 1) {
      const after = jobs.slice(-1)
      jobs.push(await this.submit({ command: ['./step.sh', String(step)] }, { after }))
    }
    await this.waitJobs(jobs)
  }
}

describe('the command line of an engine', () => {
  it('fills options of all classes, and args with the rest', async () => {
    const engine = new Derived()
    await lines(engine, ['-n', '5', '--material', 'steel', 'first', '--', '--second'])
    expect(engine.options).toMatchObject({ steps: 5, material: 'steel', dry: undefined, level: 'info' })
    expect(engine.args).toEqual(['first', '--second'])
    const plain = new Derived()
    await lines(plain, ['--dry'])
    expect(plain.options).toMatchObject({ steps: 3, material: undefined, dry: true })
  })

  it.each([
    [['--stpes', '5'], 'Did you mean --steps?', /stpes/],
    [['--steps', 'many'], undefined, /--steps wants a number, not "many"/],
    [['--steps', ''], undefined, /--steps wants a number/],
    [['--level', 'loud'], undefined, /--level is debug, info, warn or error, not loud/],
  ])('refuses %j before anything is made', async (argv, suggestion, message) => {
    const engine = new Derived()
    await expect(engine.start(argv, { parent: folder, write: false, site, scheduler: makeScheduler() })).rejects.toMatchObject({
      code: 'E_ARGUMENT',
      message: expect.stringMatching(message),
      suggestions: suggestion === undefined ? [] : [suggestion],
    })
    expect(engine.calls).toEqual([])
    expect(readdirSync(folder)).toEqual([])
  })

  it('is explained by --help, which runs nothing', async () => {
    const engine = new Derived()
    const text = (await lines(engine, ['--help'])).join('\n')
    expect(text).toMatch(/-n, --steps <number> +number of steps \(default: 3\)/)
    expect(text).toMatch(/--dry +submits nothing/)
    expect(text).toMatch(/-c, --continue <string>/)
    expect([engine.calls, readdirSync(folder)]).toEqual([[], []])
  })
})

describe('the life of an engine', () => {
  it('is init from the base class down, run, teardown', async () => {
    const engine = new Derived()
    const written = await lines(engine, [])
    expect(engine.calls).toEqual(['Base.init', 'Derived.init', 'run', 'teardown'])
    expect(written).toEqual([
      expect.stringMatching(/^Command line arguments: /),
      expect.stringMatching(/^Command line: /),
      `Run in directory ${engine.resultDir}`,
      'Engine completed',
    ])
    expect(engine.runName).toMatch(/^Derived_\d{8}-\d{6}$/)
  })

  it('ends with teardown and "Engine interrupted" when something throws, and start throws it', async () => {
    const engine = new Derived()
    engine.failure = new Error('the mesh is empty')
    const written = await lines(engine, [])
    expect(engine.calls).toEqual(['Base.init', 'Derived.init', 'run', 'teardown'])
    expect(written.at(-1)).toBe('ERROR Engine interrupted: error the mesh is empty')
    expect(readFileSync(join(engine.resultDir, 'log.ndjson'), 'utf8')).toContain('the mesh is empty')
    await expect(engine.start([], { parent: folder, write: false, site, scheduler: makeScheduler() })).rejects.toThrow('the mesh is empty')
  })

  it('has a directory of its own also when two start in the same second', async () => {
    class Same extends Derived {
      override setupRunName(): string {
        return 'Same_20261122-101500'
      }
    }
    const engines = [new Same(), new Same(), new Same()]
    await Promise.all(engines.map((engine) => lines(engine, [])))
    expect(readdirSync(folder).sort()).toEqual(['Same_20261122-101500', 'Same_20261122-101500_2', 'Same_20261122-101500_3'])
    expect(new Set(engines.map(({ resultDir }) => resultDir)).size).toBe(3)
  })

  it('is refused in a directory where another one runs', async () => {
    let second: Promise<unknown> = Promise.resolve()
    class Outer extends Engine {
      override async run(): Promise<void> {
        second = start(new OneJob(), makeScheduler())
        await second.catch(() => undefined)
      }
    }
    await start(new Outer(), makeScheduler())
    await expect(second).rejects.toMatchObject({ code: 'E_RUN_HELD', message: expect.stringContaining(String(process.pid)) })
  })
})

describe('a chain of jobs', () => {
  it('is submitted job after job, and the notebook says which waits for which', async () => {
    const scheduler = makeScheduler()
    const written = await lines(new Chain(), ['4'], scheduler)
    expect(written.filter((line) => line.startsWith('Job submitted'))).toEqual([
      'Job submitted: 1000',
      'Job submitted: 1001 dependent on 1000',
      'Job submitted: 1002 dependent on 1001',
      'Job submitted: 1003 dependent on 1002',
    ])
    expect(scheduler.entries.map(({ job }) => job.dependencies?.map(({ kind, on }) => [kind, on.nativeId]))).toEqual([
      undefined,
      [['afterok', '1000']],
      [['afterok', '1001']],
      [['afterok', '1002']],
    ])
    expect(scheduler.entries.every(({ end }) => end === 'completed')).toBe(true)
  })

  it('goes on where it stopped with -c: what was submitted is not submitted again', async () => {
    const scheduler = makeScheduler()
    const first = new Chain()
    await lines(first, ['2'], scheduler)
    const written = await lines(new Chain(), ['4', '-c', first.resultDir], scheduler)
    expect(scheduler.entries).toHaveLength(4)
    expect(written.filter((line) => /^Job /.test(line) && !line.startsWith('Job ended'))).toEqual([
      'Job of an earlier start found: job 1000',
      'Job of an earlier start found: job 1001',
      'Job submitted: 1002 dependent on 1001',
      'Job submitted: 1003 dependent on 1002',
    ])
  })

  it('refuses two jobs of one name, and names that are no file names', async () => {
    const seen: unknown[] = []
    class Twice extends Engine {
      override async run(): Promise<void> {
        await this.submit({ name: 'mesh', command: ['true'] })
        for (const name of ['mesh', '../mesh', ''])
          seen.push(await this.submit({ name, command: ['true'] }).catch(({ code }: { code: string }) => code))
        seen.push(await this.submit({ name: 'neither' }).catch(({ code }: { code: string }) => code))
      }
    }
    const scheduler = makeScheduler()
    await lines(new Twice(), [], scheduler)
    expect(seen).toEqual(['E_ARGUMENT', 'E_ARGUMENT', 'E_ARGUMENT', 'E_ARGUMENT'])
    expect(scheduler.entries).toHaveLength(1)
  })
})

describe.skipIf(!canMount)('an engine on a disk that becomes full', () => {
  it('can submit again, under the same name, when there is room (needs root)', async () => {
    const parent = smallDisk('1m')
    const codes: unknown[] = []
    class Full extends Engine {
      override async run(): Promise<void> {
        await this.submit({ name: 'first', command: ['true'] })
        fill(join(parent, 'filler'))
        const name = 'n'.repeat(200)
        // A block that is in use has room for some of them.
        for (let count = 0; codes.length === 0 && count < 50; count += 1)
          await this.submit({ name: `${name}-${count}`, command: ['true'] }).catch(({ code }: { code: string }) => codes.push(code, count))
        rmSync(join(parent, 'filler'))
        await this.submit({ name: `${name}-${codes[1]}`, command: ['true'] })
      }
    }
    const scheduler = makeScheduler()
    const end = await new Full().start(['-c', 'run'], { parent, write: false, site, scheduler })
    expect(end.outcome).toBe('completed')
    expect(codes[0]).toBe('E_STORE_FULL')
    expect(scheduler.entries).toHaveLength(Number(codes[1]) + 2)
  })
})
