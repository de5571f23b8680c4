import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { defineCampaign, exportResults, loadCampaign, readItems, readStatus, runCampaign } from '../../packages/core/src/index.js'

let folder = ''
const site = () => ({ name: 'test', scheduler: 'local', options: { directory: join(folder, 'queue'), cores: 4, idleMs: 500 }, modules: [] })

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-e2e-'))
})
afterEach(async () => {
  // The queue's daemon ends by itself, and may still write its last file.
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 })
})

const HOSTILE = [
  "it's",
  '"double"',
  'two\nlines\n',
  'carriage\r\nreturn',
  '$(touch PWNED)',
  '`touch PWNED`',
  '; touch PWNED #',
  '-rf',
  '--',
  '../../etc/passwd',
  '',
  ' ',
  '*',
  '\\',
  '\\n',
  '%s%n',
  '{{ 7 }}',
  '#SBATCH --wrap=x',
  'é 漢 🙂',
  'x'.repeat(5000),
]

describe('a value reaches a program as the identical bytes', () => {
  it('by argument, by environment, by template and by file', async () => {
    writeFileSync(
      join(folder, 'template.sh'),
      '#!/bin/sh\nprintf %s {{ value }} >by-template\nprintf %s "$CAHIER_FACTOR_value" >by-environment\nprintf %s "{{ value }}" >in-quotes\n',
    )
    writeFileSync(join(folder, 'campaign.mjs'), 'export default {}')
    const byTemplate = { name: 'template', factors: { value: HOSTILE }, job: { script: 'template.sh' } }
    const byArgument = {
      name: 'argument',
      factors: { value: HOSTILE },
      job: { command: ['sh', '-c', 'printf %s "$1" >by-argument', 'sh', '{{ value }}'] },
    }
    const byLine = { name: 'line', factors: { value: HOSTILE }, job: { command: 'printf %s {{ value }} >by-line' } }
    const files: Record<string, string[]> = {
      template: ['by-template', 'by-environment', 'in-quotes'],
      argument: ['by-argument'],
      line: ['by-line'],
    }
    for (const options of [byTemplate, byArgument, byLine]) {
      const file = join(folder, `${options.name}.json`)
      writeFileSync(file, JSON.stringify(options))
      const directory = join(folder, options.name)
      const summary = await runCampaign({ campaign: file, directory, site: site() })
      expect((await readStatus(directory)).failures.map(({ detail, tail }) => [detail, tail])).toEqual([])
      expect(summary).toMatchObject({ outcome: 'complete', counts: { done: HOSTILE.length } })
      for (const item of await readItems(directory)) {
        const place = item.attempts[0]?.directory ?? ''
        expect(place.startsWith(`${directory}/combinations/`)).toBe(true)
        for (const name of files[options.name] ?? []) expect(readFileSync(join(place, name), 'utf8'), name).toBe(item.combination['value'])
        expect(JSON.parse(readFileSync(join(place, 'parameters.json'), 'utf8')).value).toBe(item.combination['value'])
        expect(existsSync(join(place, 'PWNED'))).toBe(false)
      }
    }
    expect(existsSync('PWNED')).toBe(false)
  })
})

describe('a controller that is killed', () => {
  const LEDGER_JOB =
    'printf "start %s\\n" {{ n }} >>"$LEDGER"; sleep 0.0{{ n }}; echo "value={{ n }}"; printf "end %s\\n" {{ n }} >>"$LEDGER"'

  it('is followed by one that runs nothing twice and loses nothing', async () => {
    const ledger = join(folder, 'ledger')
    writeFileSync(ledger, '')
    const file = join(folder, 'campaign.json')
    const campaign = {
      name: 'killed',
      factors: { n: { range: [1, 60] } },
      job: { command: LEDGER_JOB, environment: { LEDGER: ledger } },
      results: { value: { type: 'integer' } },
      collect: { value: { from: 'stdout', pattern: 'value=(\\d+)' } },
      maxInFlight: 10,
    }
    writeFileSync(file, JSON.stringify(campaign))
    const directory = join(folder, 'run')
    const lines = (): string[] => readFileSync(ledger, 'utf8').split('\n').filter(Boolean)
    for (const seen of [1, 10, 25]) {
      const controller = startController(file, directory)
      await until(() => lines().filter((line) => line.startsWith('end')).length >= seen || controller.exitCode !== null)
      await killed(controller)
    }
    const summary = await runCampaign({ campaign: file, directory, site: site() })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 60 } })
    const ends = lines().filter((line) => line.startsWith('end'))
    expect(new Set(ends).size).toBe(60)
    expect(ends).toHaveLength(60)
    const { rows, text } = await exportResults(directory, { format: 'jsonl' })
    expect(rows).toBe(60)
    for (const line of text.trim().split('\n')) expect(JSON.parse(line)).toMatchObject({ value: JSON.parse(line).n })
  })
})

describe('a campaign file', () => {
  it('may be TypeScript with nothing installed beside it', async () => {
    const file = join(folder, 'campaign.ts')
    writeFileSync(
      file,
      `import { defineCampaign, igeom, plot } from '@cahier/core'
import { z } from 'zod'
interface Row { readonly square: number }
export default defineCampaign({
  name: 'squares',
  factors: { n: igeom(1, 8, 4), mode: ['a', 'b'] },
  where: (c) => c.mode === 'a' || c.n > 1,
  job: { command: ['sh', '-c', 'echo "square=$(($1 * $1))"', 'sh', '{{ n }}'], resources: (c) => ({ cores: Math.min(c.n, 2) }) },
  results: z.object({ square: z.number().int() }),
  collect: { square: { from: 'stdout', pattern: /square=(\\d+)/ } },
  analyse: (rows) => [{ title: 'Sum', text: String(rows.reduce((sum, row) => sum + (row as unknown as Row).square, 0)) }],
  report: [plot.line({ x: 'n', y: 'square', by: 'mode' })],
})
`,
    )
    const directory = join(folder, 'run')
    const summary = await runCampaign({ campaign: await loadCampaign(file), directory, site: site() })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 7 }, findings: [{ title: 'Sum', text: '169' }] })
    expect(readFileSync(join(directory, 'report.html'), 'utf8')).toContain('<svg')
    expect(await readStatus(directory)).toMatchObject({ state: 'finished', holder: undefined })
  })

  it.each([
    ['name: x\nfactors:\n  n: [1]\njob:\n  comand: [ls]\n', 'E_CAMPAIGN_INVALID', 'line 5: job.comand'],
    ['name: x\nfactors: [\n', 'E_CAMPAIGN_UNREADABLE', 'line 3'],
    ['just text', 'E_CAMPAIGN_INVALID', 'holds no campaign'],
  ])('that is wrong names the line: %j', async (text, code, message) => {
    const file = join(folder, 'campaign.yaml')
    writeFileSync(file, text)
    await expect(loadCampaign(file)).rejects.toMatchObject({ code, message: expect.stringContaining(message) })
  })

  it('in TypeScript that throws names the line', async () => {
    const file = join(folder, 'campaign.ts')
    writeFileSync(file, 'const a: number = 1\n\nthrow new Error(`boom ${a}`)\n')
    await expect(loadCampaign(file)).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringContaining('boom 1'),
      suggestions: [expect.stringContaining('line 3')],
    })
  })
})

describe('input files', () => {
  it('are in the directory of every job, as they were when the run began', async () => {
    writeFileSync(join(folder, 'input.txt'), 'first')
    const options = {
      name: 'files',
      factors: { n: [1, 2] },
      files: ['input.txt'],
      job: { command: 'cat input.txt >seen; echo changed >input.txt' },
    }
    const file = join(folder, 'campaign.json')
    writeFileSync(file, JSON.stringify(options))
    const directory = join(folder, 'run')
    expect(await runCampaign({ campaign: file, directory, site: site() })).toMatchObject({ outcome: 'complete' })
    for (const item of await readItems(directory))
      expect(readFileSync(join(item.attempts[0]?.directory ?? '', 'seen'), 'utf8')).toBe('first')
    expect(readFileSync(join(folder, 'input.txt'), 'utf8')).toBe('first')
    writeFileSync(join(folder, 'input.txt'), 'second')
    await expect(runCampaign({ campaign: file, directory, site: site() })).rejects.toMatchObject({
      code: 'E_CAMPAIGN_CHANGED',
      message: expect.stringContaining('file input.txt'),
    })
  })
})

describe('defineCampaign', () => {
  it('gives a frozen definition that another copy of the library recognises', () => {
    const definition = defineCampaign({ name: 'a', factors: { n: [1] }, job: { command: ['true'] } })
    expect(Object.isFrozen(definition)).toBe(true)
    expect((definition as unknown as Record<symbol, unknown>)[Symbol.for('@cahier/core:campaign')]).toBe(true)
  })
})

/** A controller in a process of its own, from the built library. */
function startController(campaign: string, directory: string): ChildProcess {
  const core = pathToFileURL(join(import.meta.dirname, '../../packages/core/dist/index.js')).href
  const program = `import { runCampaign } from ${JSON.stringify(core)}
await runCampaign(${JSON.stringify({ campaign, directory, site: site() })})`
  return spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' })
}

async function killed(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once('exit', resolve))
  if (child.exitCode !== null) return
  child.kill('SIGKILL')
  await ended
}

async function until(isTrue: () => boolean): Promise<void> {
  const limit = performance.now() + 40_000
  while (!isTrue()) {
    if (performance.now() > limit) throw new Error('it did not come to that')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
