/** The campaign of one case of the drill, its controllers, and what is to be read about it. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readItems, readStatus } from '../../../packages/core/dist/index.js'
import { Commands } from './commands.mjs'
import { jobScript, readLedger } from './ledger.mjs'

const cahier = fileURLToPath(new URL('../../../packages/cli/bin/run.js', import.meta.url))
const mutants = new URL('mutants.mjs', import.meta.url)

/** Short, so that a case takes seconds; each is longer than what it waits for can take here. */
const PATIENCE = { pollInterval: '1s', pollIntervalMax: '4s', lostAfter: '15s', settleAfter: '4s', commandTimeout: '5s' }

export class Campaign {
  #plan
  #bed
  /** @type {{ child: import('node:child_process').ChildProcess, ended: Promise<{ code: number | null, signal: string | null }>, output: () => string } | undefined} */
  #controller
  #awayMs = 0
  isOver = false
  deaths = 0
  /** Controllers that ended at once because nobody answered. */
  refusals = 0

  constructor(folder, plan, bed) {
    this.#plan = plan
    this.#bed = bed
    this.folder = folder
    this.ledger = join(folder, 'ledger')
    this.directory = join(folder, 'run')
    this.commands = new Commands(join(folder, 'commands'), bed)
    mkdirSync(this.ledger)
    const cases = plan.jobs.map(({ nap, code }, n) => `${n}) nap=${nap} code=${code} ;;`)
    writeFileSync(join(folder, 'work.sh'), jobScript(['prepare) nap=1 code=0 ;;', ...cases].join('\n')))
    writeFileSync(join(folder, 'campaign.yaml'), JSON.stringify(this.#campaign()))
    const site = { scheduler: 'slurm', options: { ...PATIENCE, arrays: plan.arrays } }
    writeFileSync(join(folder, 'cahier.config.yaml'), JSON.stringify({ sites: { bed: site }, defaultSite: 'bed' }))
  }

  #campaign() {
    const { jobs, pack, prepare, maxInFlight, number } = this.#plan
    const resources = { cores: 1, walltime: '2min' }
    return {
      name: `drill-${number}`,
      factors: { n: { range: [0, jobs.length - 1] } },
      files: ['work.sh'],
      ...(prepare ? { prepare: [{ name: 'build', command: ['sh', 'work.sh', 'prepare', this.ledger, '0'], resources }] } : {}),
      job: {
        command: ['sh', 'work.sh', '{{ n }}', this.ledger, '{{ n }}'],
        resources,
        ...(pack > 1 ? { pack } : {}),
      },
      results: { value: { type: 'integer', positive: true } },
      collect: { value: { from: 'stdout', pattern: 'value=(\\d+)' } },
      maxInFlight,
      // What was ended from outside may be done again; what ran to its end never.
      retry: { attempts: 6, on: ['killed', 'lost'] },
      breaker: { identical: 0 },
    }
  }

  /** Starts controllers until nothing remains to be done. @returns {Promise<string | undefined>} why it could not go on */
  async drive(deadline) {
    const strange = []
    for (;;) {
      const { code, signal, output } = await this.runOnce(deadline)
      if (performance.now() > deadline) return `not done in time; ${output.slice(-300)}`
      if (signal === 'SIGKILL') {
        this.deaths++
        await sleep(this.#awayMs)
        continue
      }
      if (code === 0 || code === 3) {
        const status = await readStatus(this.directory)
        if (status.state === 'finished') return undefined
      } else if (code === 1 && output.includes('E_SCHEDULER_SILENT')) this.refusals++
      else strange.push(`a controller ended with ${code ?? signal}: ${output.slice(-600)}`)
      if (strange.length > 2) return strange.join('\n')
      await sleep(1000)
    }
  }

  /** One controller, as its user starts it, until it ends. */
  async runOnce(deadline) {
    const controller = this.#start()
    this.#controller = controller
    const timer = setTimeout(() => controller.child.kill('SIGKILL'), Math.max(0, deadline - performance.now()))
    const end = await controller.ended
    clearTimeout(timer)
    this.#controller = undefined
    return { ...end, output: controller.output() }
  }

  #start() {
    const { env } = this.#bed
    const mutant = process.env.CAHIER_DRILL_MUTANT === undefined ? [] : ['--import', mutants.href]
    const child = spawn(process.execPath, [...mutant, cahier, 'run', 'campaign.yaml', '--dir', this.directory], {
      cwd: this.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env, PATH: `${this.commands.folder}:${env.PATH}` },
    })
    this.commands.setController(child.pid)
    let output = ''
    child.stdout.on('data', (chunk) => (output += chunk))
    child.stderr.on('data', (chunk) => (output += chunk))
    const ended = new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code, signal) => resolve({ code, signal }))
    })
    return { child, ended, output: () => output }
  }

  /** Nobody drives it for so long. @param {number} awayMs @returns {boolean} false: nobody did */
  kill(awayMs) {
    this.#awayMs = awayMs
    return this.#controller?.child.kill('SIGKILL') ?? false
  }

  /** What the ledger says, by name of the job. */
  readLedgers() {
    return new Map(readdirSync(this.ledger).map((name) => [name, readLedger(readFileSync(join(this.ledger, name), 'utf8'))]))
  }

  ledgerLines() {
    return readdirSync(this.ledger).reduce((sum, name) => sum + readFileSync(join(this.ledger, name), 'latin1').split('\n').length - 1, 0)
  }

  /** What Cahier says of every work item, by its number, and the directories of all attempts by tag. */
  async readItems() {
    const items = new Map()
    const directories = new Map()
    // It may not have come so far.
    if (!existsSync(join(this.directory, 'cahier.json'))) return { items, directories }
    for (const { combination, state, detail, attempts } of await readItems(this.directory)) {
      const last = attempts.at(-1)
      items.set(Number(combination.n), {
        state,
        detail,
        tag: last?.tag,
        outcome: last?.outcome,
        exitCode: last?.exitCode,
        value: undefined,
      })
      for (const { tag, directory } of attempts) directories.set(tag, directory)
    }
    const table = join(this.directory, 'results.jsonl')
    for (const line of existsSync(table) ? readFileSync(table, 'utf8').split('\n').filter(Boolean) : []) {
      const row = JSON.parse(line)
      const item = items.get(Number(row.n))
      if (item !== undefined) item.value = row.value
    }
    return { items, directories }
  }
}
