/** The command under trial, as a process of its own. */
import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { cahier } from '../../../scripts/steps.mjs'

/** A host that takes nothing is given up after so long, one that does nothing at all after twice that; else a case would take minutes. */
export const PATIENCE_MS = 6000

/** One `cahier broadcast`, with what it says about each host. */
export class Broadcast {
  /** @type {{ host: string, outcome: string, error?: { code: string, message: string }, failures?: readonly { file: string, code: string }[] }[]} */
  results = []
  /** @type {number | null | undefined} */
  code
  errors = ''
  seconds = 0
  /** @type {Promise<void>} */
  ended
  #child

  /**
   * @param {string} folder in which the files and the configuration are
   * @param {readonly string[]} files
   * @param {{ hosts: string, over: string, connector: string, to?: string, stallMs?: number }} options
   */
  constructor(folder, files, { hosts, over, connector, to = 'in', stallMs = 2 * PATIENCE_MS }) {
    const home = join(folder, '.home')
    mkdirSync(home, { recursive: true })
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^(XDG_|CAHIER_|NODE_|NO_COLOR|FORCE_COLOR|CI$)/.test(name)),
    )
    const mutant = process.env.CAHIER_DRILL_MUTANT
    const named = files.map((file) => join(folder, 'source', file))
    const options = ['-w', hosts, '--to', to, '--create', '--via', 'chain', '--over', over, '--connector', connector, '--json']
    const began = performance.now()
    this.#child = spawn(
      process.execPath,
      ['--import', new URL('hooks.mjs', import.meta.url).href, cahier, 'broadcast', ...named, ...options],
      {
        cwd: folder,
        env: { ...env, HOME: home, CAHIER_DRILL_STALL_MS: `${stallMs}`, ...(mutant === undefined ? {} : { CAHIER_DRILL_MUTANT: mutant }) },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
    let text = ''
    this.#child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    this.#child.stderr.setEncoding('utf8').on('data', (chunk) => (this.errors += chunk))
    this.ended = new Promise((resolve) =>
      this.#child.once('close', (code) => {
        this.code = code
        this.seconds = (performance.now() - began) / 1000
        const lines = text.split('\n').flatMap((line) => {
          try {
            return [JSON.parse(line)]
          } catch {
            return []
          }
        })
        this.results = lines.filter((line) => line.outcome !== undefined)
        resolve()
      }),
    )
  }

  get isOver() {
    return this.code !== undefined
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    this.#child.kill(signal)
  }
}
