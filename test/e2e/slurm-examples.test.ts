import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../testbed/slurm.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const example = (file: string): string => join(root, 'examples', file)
const program = join(root, 'packages/cli/bin/run.js')
const isThere = (name: string): boolean => spawnSync('sh', ['-c', `command -v ${name}`]).status === 0

const missing = ['mpicc', 'mpirun'].filter((name) => !isThere(name))
const noSlurm = slurmUnavailable()
const noMpi = noSlurm ?? (missing.length === 0 ? undefined : `needs ${missing.join(', ')}`)
const noPython = noSlurm ?? (isThere('python3') ? undefined : 'needs python3')
const because = (obstacle: string | undefined): string => (obstacle === undefined ? '' : ` (${obstacle})`)

describe(`the examples on a cluster${because(noSlurm)}`, { timeout: 480_000 }, () => {
  let folder: string
  let bed: SlurmBed | undefined
  const children = new Set<ChildProcess>()

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'cahier-examples-'))
    if (noSlurm === undefined) bed = await startSlurm({ nodes: 2, cpus: 8, memoryMiB: 4000 })
  })
  afterAll(async () => {
    // Those of a test that was given up.
    for (const child of children) child.kill('SIGKILL')
    await bed?.stop()
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  })

  /** As its user would start it, on the bed. */
  const start = async (
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
  ): Promise<{ code: number | null; stdout: string; all: string }> => {
    const child = spawn(process.execPath, args, {
      cwd: folder,
      env: { ...process.env, XDG_CONFIG_HOME: folder, XDG_STATE_HOME: folder, XDG_DATA_HOME: folder, NO_COLOR: '1', ...bed?.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.add(child)
    let stdout = ''
    let all = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      all += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => (all += chunk.toString()))
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
    children.delete(child)
    return { code, stdout, all: `${all}\n${bed?.logs()}` }
  }
  /** What the failed jobs of a run wrote to stderr. */
  const complaintsOf = (directory: string): string[] =>
    readdirSync(join(directory, 'combinations'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('/stderr'))
      .map((name) => readFileSync(join(directory, 'combinations', name), 'utf8'))
      .filter((text) => text !== '')
  const rows = (directory: string): Record<string, unknown>[] =>
    readFileSync(join(directory, 'results.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)

  it.skipIf(noPython !== undefined)(
    `python-scaling measures every number of cores, and keeps what the batch file asks for${because(noPython)}`,
    async () => {
      const directory = join(folder, 'python')
      const since = Date.now()
      const { code, all } = await start([program, 'run', example('python-scaling/campaign.ts'), '--dir', directory], { QUICK: '1' })
      expect(code, all).toBe(0)

      const results = rows(directory)
      const interpreters = [...new Set(results.map((row) => row['python']))]
      expect(interpreters).toContain('system')
      expect(results).toHaveLength(3 * 2 * interpreters.length)
      expect(results.every((row) => row['primes'] === 9592)).toBe(true)

      const combinations = readdirSync(join(directory, 'combinations')).sort()
      expect(combinations).toHaveLength(3 * interpreters.length)
      for (const name of combinations) {
        const [, cores] = /^n_cores-(\d)_python-[\w.]+_[0-9a-f]+$/.exec(name) ?? []
        const job = join(directory, 'combinations', name, 'r2-a1')
        const files = readdirSync(job)
        const [out] = files.filter((file) => /^job_\d+\.out$/.test(file))
        const [err] = files.filter((file) => /^job_\d+\.err$/.test(file))
        expect(files).toEqual(expect.arrayContaining(['bench.py', 'job.sh', 'exit.json']))
        expect(out).toBeDefined()
        expect(err).toBe(out!.replace('.out', '.err'))
        expect(readFileSync(join(job, err!), 'utf8')).toBe('')
        expect(readFileSync(join(job, 'job.sh'), 'utf8')).toContain(`#SBATCH --ntasks=${cores}\n`)
        const output = readFileSync(join(job, out!), 'utf8')
        expect(output).toContain(`SLURM_NTASKS=${cores}\n`)
        expect(output).toMatch(new RegExp(`^python \\S+ on \\S+, ${cores} processes$`, 'm'))
      }
      const report = readFileSync(join(directory, 'report.html'), 'utf8')
      expect(report).toContain('Speed-up')
      expect(report).toMatch(/system: 4 cores are [\d.]+ times as fast as one/)

      // One campaign, and the site was asked about once a second.
      const calls = bed!.calls(since)
      expect(calls['squeue'] ?? 0).toBeLessThanOrEqual((Date.now() - since) / 1000 + 2)
      expect(calls['sacct'] ?? 0).toBeLessThanOrEqual(1)
    },
  )

  it.skipIf(noMpi !== undefined)(`mpi-performance compiles once, and sends messages between two nodes${because(noMpi)}`, async () => {
    // The whole has 180 jobs; each list is shortened as the README says.
    const small = join(folder, 'mpi-performance')
    cpSync(example('mpi-performance'), small, { recursive: true })
    const file = join(small, 'campaign.yaml')
    const shorten = { 'ranks: .*': 'ranks: [2, 4]', 'bytes: .*': 'bytes: [8, 65536]', 'repetitions: .*': 'repetitions: 2' }
    for (const [from, to] of Object.entries(shorten)) {
      const text = readFileSync(file, 'utf8')
      const shortened = text.replace(new RegExp(`^( *)${from}$`, 'm'), `$1${to}`)
      expect(shortened).not.toBe(text)
      writeFileSync(file, shortened)
    }
    const directory = join(folder, 'mpi')
    const { code, all } = await start([program, 'run', file, '--dir', directory])
    expect(code, `${all}\n${complaintsOf(directory).join('\n')}`).toBe(0)
    const results = rows(directory)
    expect(results).toHaveLength(2 * 2 * 2 * 2)
    for (const row of results) {
      expect(row['nodes_used']).toBe(row['nodes'])
      expect(row['one_way']).toBeGreaterThan(0)
    }
    expect(new Set(results.map((row) => row['nodes']))).toEqual(new Set([1, 2]))
    expect(readdirSync(join(directory, 'prepare/compile'))).toContain('pingpong')
    const [job] = readdirSync(join(directory, 'combinations')).filter((name) => name.includes('nodes-2'))
    const output = readFileSync(join(directory, 'combinations', job!, 'r1-a1/stdout'), 'utf8')
    expect(output).toMatch(/^rank 0 on n1$/m)
    expect(output).toMatch(/^rank \d on n2$/m)
  })

  it(`chained-jobs leaves the order to SLURM${because(noSlurm)}`, { skip: noSlurm !== undefined }, async () => {
    const directory = join(folder, 'chained')
    const { code, stdout, all } = await start([example('chained-jobs/chained.mjs'), '-s', 'slurm', '-c', directory])
    expect(code, all).toBe(0)
    const submitted = [...stdout.matchAll(/Job submitted: (\d+)(?: dependent on (\d+))?$/gm)].map((match) => [match[1], match[2]])
    expect(submitted).toHaveLength(5)
    for (const [at, [, on]] of submitted.entries()) expect(on).toBe(at === 0 ? undefined : submitted[at - 1]![0])
    // By SLURM's own times, in whole seconds; the program was through with submitting when it began to wait for the first.
    const shown = await bed!.run(['squeue', '--noheader', '--states=all', '--format=%i %S %e'], { env: { SLURM_TIME_FORMAT: '%s' } })
    const times = new Map(shown.stdout.split('\n').map((line) => [line.split(' ')[0], line.split(' ').slice(1).map(Number)]))
    for (const [job, on] of submitted.slice(1)) expect(times.get(job)![0]).toBeGreaterThanOrEqual(times.get(on!)![1]!)
    const ends = [1, 2, 3, 4, 5].map((n) =>
      /^from t = (\S+) to (\S+)$/m
        .exec(readFileSync(join(directory, `jobs/part-${n}/stdout`), 'utf8'))!
        .slice(1, 3)
        .map(Number),
    )
    for (const [at, [from]] of ends.entries()) expect(from).toBe(at === 0 ? 0 : ends[at - 1]![1])

    const again = await start([example('chained-jobs/chained.mjs'), '-s', 'slurm', '-c', directory])
    expect(again.code, again.all).toBe(0)
    expect(again.stdout).not.toContain('Job submitted')
  })
})
