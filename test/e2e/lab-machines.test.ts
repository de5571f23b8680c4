import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NamedHosts, startNamedHosts } from '../testbed/named-hosts.js'
import { sshHostsUnavailable } from '../testbed/ssh-hosts.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const example = join(root, 'examples/lab-machines')
const reason = sshHostsUnavailable()
const NAMES = ['node1', 'node2', 'node3', 'node4']

describe.skipIf(reason !== undefined)(`examples/lab-machines${reason === undefined ? '' : ` (needs sshd: ${reason})`}`, () => {
  let named: NamedHosts
  let folder: string

  beforeAll(async () => {
    named = await startNamedHosts(NAMES)
    mkdirSync(join(root, '.cahier'), { recursive: true })
    folder = mkdtempSync(join(root, '.cahier', 'lab-machines-'))
    const config = readFileSync(join(example, 'cahier.config.yaml'), 'utf8')
    writeFileSync(join(folder, 'cahier.config.yaml'), config.replace('connection:\n', `connection:\n  sshConfig: ${named.sshConfig}\n`))
  })
  afterAll(async () => {
    await named?.[Symbol.asyncDispose]()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  /** As its README says. */
  function run(...args: string[]): Promise<{ code: number | null; lines: string[] }> {
    const program = [join(root, 'node_modules/jiti/lib/jiti-cli.mjs'), join(example, 'percolation.ts'), ...args]
    return new Promise((resolve) => {
      execFile(process.execPath, program, { cwd: folder }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), lines: `${stdout}${stderr}`.split('\n').slice(0, -1) })
      })
    })
  }
  const resultOf = (at: number): string => readFileSync(join(folder, 'percolation', `node${at}`, `seed-${at}-5.csv`), 'utf8')

  it('says so when no machine gave anything', async () => {
    for (const name of NAMES) named.bed.stopHost(named.host(name).name)
    const { code, lines } = await run('3')
    for (const name of NAMES) await named.bed.startHost(named.host(name).name)
    expect(lines[0]).toBe('sent: none')
    expect(lines.slice(-2)).toEqual(['Figure: percolation/percolation.svg', 'No result yet of node[1-4]: run it again'])
    expect(code).toBe(1)
  })

  it('computes on the machines that are up, and later only on those that were down', async () => {
    named.bed.stopHost(named.host('node3').name)
    const first = await run('5')
    expect(first.lines.slice(0, 4)).toEqual([
      'sent: node[1-2,4]',
      expect.stringMatching(/^NOT sent: node3: node3 .*refuse/),
      'computed: node[1-2,4]',
      'fetched: node[1-2,4]',
    ])
    expect(first.lines.slice(-2)).toEqual(['Figure: percolation/percolation.svg', 'No result yet of node3: run it again'])
    expect(first.code).toBe(1)

    await named.bed.startHost(named.host('node3').name)
    const before = NAMES.map((name) => named.bed.logins(named.host(name).name))
    const second = await run('5')
    expect(second.lines.slice(0, 3)).toEqual(['sent: node3', 'computed: node3', 'fetched: node3'])
    expect(second.code).toBe(0)
    expect(NAMES.map((name, at) => named.bed.logins(named.host(name).name) - before[at]!)).toEqual([0, 0, 1, 0])
    expect(readFileSync(join(folder, 'percolation', 'percolation.svg'), 'utf8')).toContain('0.592746')
    const third = await run('5')
    expect(third.lines.slice(1)).toEqual(second.lines.slice(4))
  })

  it('has the numbers that the program gives here for the seeds of the machines', async () => {
    await run('5')
    const here = join(folder, 'here.csv')
    await promisify(execFile)('python3', [join(example, 'percolation.py'), '2', '5', here])
    expect(resultOf(2)).toBe(readFileSync(here, 'utf8'))
    expect(resultOf(2)).not.toBe(resultOf(1))
    const thresholds = NAMES.flatMap((_, at) =>
      resultOf(at + 1)
        .trim()
        .split('\n')
        .slice(1)
        .map((line) => line.split(','))
        .filter(([size]) => size === '64')
        .map(([, , threshold]) => Number(threshold)),
    )
    expect(thresholds).toHaveLength(20)
    // The seeds are given: this is what these 20 lattices have, near to what is known of endless ones.
    expect(thresholds.reduce((sum, one) => sum + one, 0) / 20).toBeCloseTo(0.5927, 1)
  })

  it('refuses a number of trials that is none, before any machine is asked', async () => {
    const before = named.bed.logins()
    const { code, lines } = await run('many')
    expect(code).toBe(1)
    expect(lines.join('\n')).toContain('TRIALS is a number from 1 on, not many')
    expect(named.bed.logins()).toBe(before)
  })
})
