import type { ProcessSpec } from '../model/process.js'
import type { ProcessBackend, RunningProcess, StartOptions } from '../ports/process-backend.js'
import { planStart } from './command.js'
import { makeToken } from './runner/bootstrap.js'
import { LocalTransport } from './runner/local-transport.js'
import { RunnerClient } from './runner/runner-client.js'
import { findRunner, type RunnerProgram } from './runner/runner-program.js'
import { type SpawnWindow, spawnWindow } from './spawn-window.js'
import { startInWindow } from './start-in-window.js'
import { endedProcess } from './supervised-process.js'

export interface HelperBackendOptions {
  readonly window?: SpawnWindow
  /** Default: perl when there is one, else `/bin/sh`. */
  readonly runner?: RunnerProgram
}

/**
 * Starts processes through a small program that was forked once, so that a start costs the same whatever this program weighs.
 *
 * Everything asked for in one turn of the event loop is one write. If the helper dies, what ran through it is stopped and its
 * results say `unreachable` with `E_HELPER`; the next start brings up a new helper. When this program dies, however it dies, the
 * helper ends what was not detached.
 */
export class HelperBackend implements ProcessBackend {
  readonly #window: SpawnWindow
  readonly #runner: RunnerProgram | undefined
  #helper: { readonly client: RunnerClient; readonly transport: LocalTransport } | undefined

  constructor(options: HelperBackendOptions = {}) {
    this.#window = options.window ?? spawnWindow()
    this.#runner = options.runner
  }

  /** The helper's number, when one runs. */
  get helperPid(): number | undefined {
    return this.#helper?.client.lost === false ? this.#helper.transport.pid : undefined
  }

  async start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    const plan = planStart(spec)
    if ('error' in plan) return endedProcess('not-started', plan.error)
    return startInWindow(this.#window, options.signal, () => this.#open().ask(spec, plan.words, options))
  }

  #open(): RunnerClient {
    if (this.#helper === undefined || this.#helper.client.lost) {
      const runner = this.#runner ?? findRunner()
      const token = makeToken()
      const environment = environmentChanges()
      const transport = new LocalTransport(runner, token)
      const client = new RunnerClient({
        transport,
        kind: runner.kind,
        token,
        leaseMs: 0,
        window: this.#window,
        environment,
        onLost: () => {},
      })
      this.#helper = { client, transport }
    }
    return this.#helper.client
  }

  /** Ends the helper and, with it, what still runs and was not detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#helper?.client.close()
  }
}

/** @returns says what changed in our environment since now, worked out once for each turn of the event loop */
function environmentChanges(): () => readonly (readonly [string, string | undefined])[] {
  const inherited: Readonly<Record<string, string | undefined>> = { ...process.env }
  let changes: [string, string | undefined][] | undefined
  return () => {
    if (changes === undefined) {
      const now = { ...process.env }
      changes = []
      for (const name of Object.keys(now)) if (now[name] !== inherited[name]) changes.push([name, now[name]])
      for (const name of Object.keys(inherited)) if (now[name] === undefined) changes.push([name, undefined])
      setImmediate(() => {
        changes = undefined
      })
    }
    return changes
  }
}
