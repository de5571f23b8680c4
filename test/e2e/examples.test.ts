import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadCampaign, sweep } from '@cahier/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { growthRate } from '../../examples/convection/solver.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const example = (file: string): string => join(root, 'examples', file)

interface Layer {
  readonly boundary: 'free-slip' | 'no-slip'
  readonly Ra: number
  readonly k: number
  readonly Pr: number
}

describe('examples/convection', () => {
  it('asks for a few hundred combinations, each three times', async () => {
    const { spec } = await loadCampaign(example('convection/campaign.ts'))
    expect(sweep(spec.factors).size).toBe(312)
    expect(spec.repetitions).toBe(3)
  })

  it('says the same in YAML', async () => {
    const [typescript, yaml] = await Promise.all(
      ['campaign.ts', 'campaign.yaml'].map((file) => loadCampaign(example(`convection/${file}`))),
    )
    expect([...sweep(yaml!.spec.factors)]).toEqual([...sweep(typescript!.spec.factors)])
    expect(yaml!.spec.job).toEqual(typescript!.spec.job)
    expect(Object.keys(yaml!.spec.collect)).toEqual(Object.keys(typescript!.spec.collect))
    expect(yaml!.spec.report.map((figure) => figure.kind)).toEqual(typescript!.spec.report.map((figure) => figure.kind))
    expect(yaml!.spec.repetitions).toBe(typescript!.spec.repetitions)
  })

  it('encloses both textbook values', async () => {
    const { spec } = await loadCampaign(example('convection/campaign.ts'))
    const rows = ([...sweep(spec.factors)] as unknown as Layer[])
      .filter(({ k }) => k === 3.117 || k === 2.2214)
      .map((layer) => ({
        ...layer,
        growthRate: growthRate({ ra: layer.Ra, k: layer.k, pr: layer.Pr, boundary: layer.boundary }).growthRate,
      }))
    const findings = await spec.analyse!(rows)
    expect(findings.map((finding) => finding.ok)).toEqual([true, true])
    expect(findings[0]!.text).toMatch(/^no-slip, k = 3\.117: (\d+) < Ra_c < (\d+), textbook 1707\.762: inside$/)
    for (const { data } of findings) {
      const { stable, unstable } = data as { stable: number; unstable: number }
      expect(unstable / stable).toBeLessThan(1.05)
    }
  })

  it('says so when there are too few results, and when they contradict the textbook', async () => {
    const { spec } = await loadCampaign(example('convection/campaign.ts'))
    const row = (Ra: number, rate: number) => ({ boundary: 'no-slip', k: 3.117, Pr: 7, Ra, growthRate: rate })
    expect((await spec.analyse!([row(1500, -1)]))[0]).toMatchObject({
      ok: false,
      text: expect.stringContaining('not bracketed yet, 1 results'),
    })
    expect((await spec.analyse!([row(1500, -1), row(1600, 1)]))[0]).toMatchObject({ ok: false, text: expect.stringContaining('OUTSIDE') })
  })
})

describe('examples/chained-jobs', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cahier-chained-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))

  const run = (words: readonly string[] = [], path = process.env['PATH']) =>
    spawnSync(process.execPath, [example('chained-jobs/chained.mjs'), '-c', join(folder, 'run'), ...words], {
      encoding: 'utf8',
      env: { ...process.env, XDG_STATE_HOME: join(folder, 'state'), PATH: path },
      timeout: 110_000,
    })

  it('submits five jobs, each after the one before, and every job goes on from what the one before wrote', () => {
    const { status, stdout, stderr } = run()
    expect(status, stdout + stderr).toBe(0)
    const submitted = [...stdout.matchAll(/Job submitted: (\S+?)(?: dependent on (\S+))?$/gm)].map((match) => [match[1], match[2]])
    expect(submitted).toHaveLength(5)
    for (const [at, [, on]] of submitted.entries()) expect(on).toBe(at === 0 ? undefined : submitted[at - 1]![0])
    const part = (n: number): string => readFileSync(join(folder, 'run', 'jobs', `part-${n}`, 'stdout'), 'utf8')
    const ends = [1, 2, 3, 4, 5].map((n) => /^from t = (\S+) to (\S+)$/m.exec(part(n))!.slice(1, 3).map(Number))
    for (const [at, [from]] of ends.entries()) expect(from).toBe(at === 0 ? 0 : ends[at - 1]![1])
    const [found, theory] = [...readFileSync(join(folder, 'run', 'result.txt'), 'utf8').matchAll(/0\.\d{5}/g)].map(Number)
    expect(Math.abs(found! / theory! - 1)).toBeLessThan(1e-3)

    const again = run()
    expect(again.status, again.stdout + again.stderr).toBe(0)
    expect(again.stdout).not.toContain('Job submitted')
  })

  it('ends a chain that failed with a message and an exit code, and nothing of Node', () => {
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'node'), '#!/bin/sh\necho "the rod is gone" >&2\nexit 3\n', { mode: 0o755 })
    const { status, stdout, stderr } = run([], `${bin}:${process.env['PATH']}`)
    expect([status, stderr]).toEqual([1, ''])
    expect(stdout).toMatch(/ERROR Engine interrupted: .*part-1 failed: exit code 3; see \S+part-1$/m)

    const misspelt = run(['--job', '2'])
    expect(misspelt.status).toBe(2)
    expect(misspelt.stderr).toMatch(/^Error E_ARGUMENT: .*--job.*\n {2}Try: Did you mean --jobs\?\n$/)
  })
})
