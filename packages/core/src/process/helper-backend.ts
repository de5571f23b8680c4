import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../errors.js'
import type { ProcessSpec } from '../model/process.js'
import type { ProcessBackend, RunningProcess, StartOptions } from '../ports/process-backend.js'
import { type Deferred, isAborted, makeDeferred } from '../util/async.js'
import { signalName } from '../util/signal-names.js'
import { argumentsOf, checkSpec, explainStartError, makeMarker, markerValue, onTerminal, type StartError } from './command.js'
import { MARKER_VARIABLE, scanProcesses, selectTree, sendSignal } from './process-tree.js'
import type { RunnerFrame } from './runner/frames.js'
import { HelperLink } from './runner/helper-link.js'
import { InputQueue } from './runner/input-queue.js'
import { findRunner, type RunnerProgram } from './runner/runner-program.js'
import { isShortage, type SpawnWindow, spawnWindow } from './spawn-window.js'
import { endedProcess, SupervisedProcess } from './supervised-process.js'

/** How long a shortage is waited out when no process of ours could end it. */
const SHORTAGE_PATIENCE_MS = 10_000

type Started = { readonly running: RunningProcess } | { readonly code: string; readonly error: StartError }

interface Entry {
  readonly spec: ProcessSpec
  readonly marker: string
  readonly options: StartOptions
  readonly started: Deferred<Started>
  readonly input: InputQueue
  process: SupervisedProcess | undefined
}

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
  readonly #entries = new Map<number, Entry>()
  #link: HelperLink | undefined
  #lastId = 0
  /** Starts that wait for the helper to be there. */
  #asking = 0

  constructor(options: HelperBackendOptions = {}) {
    this.#window = options.window ?? spawnWindow()
    this.#runner = options.runner
  }

  /** The helper's number, when one runs. */
  get helperPid(): number | undefined {
    return this.#link?.lost === false ? this.#link.pid : undefined
  }

  async start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    const wrong = checkSpec(spec)
    if (wrong !== undefined) return endedProcess('not-started', wrong)
    const words = spec.pty === true ? onTerminal(spec) : argumentsOf(spec)
    if (words === undefined) {
      return endedProcess('not-started', {
        code: 'E_NOT_SUPPORTED',
        message: 'A pseudo terminal wants the program script of util-linux 2.36 or later',
      })
    }
    for (let patience = 0; ; ) {
      if (isAborted(options.signal)) return endedProcess('canceled')
      const place = this.#window.enter(options.signal)
      if (place !== true && !(await place)) return endedProcess('canceled')
      const started = await this.#ask(spec, words, options)
      if ('running' in started) return started.running
      if (!isShortage(started.code)) {
        this.#window.leave()
        return endedProcess(started.code === 'E_HELPER' ? 'unreachable' : 'not-started', started.error)
      }
      const canWait = await this.#window.shrink(options.signal)
      if (canWait) this.#window.leave()
      else if (!isAborted(options.signal)) {
        if (patience >= SHORTAGE_PATIENCE_MS) return endedProcess('not-started', started.error)
        const wait = Math.max(20, patience)
        patience += wait
        await pause(wait)
      }
    }
  }

  async #ask(spec: ProcessSpec, words: readonly string[], options: StartOptions): Promise<Started> {
    const link = this.#open()
    if (this.#asking === 0 && this.#entries.size === 0) link.ref()
    this.#asking += 1
    try {
      await link.ready
    } catch (error) {
      return { code: 'not-started', error: { code: 'E_HELPER', message: messageOf(error) } }
    } finally {
      this.#asking -= 1
      this.#rest()
    }
    const marker = makeMarker()
    // The last word on a name counts.
    const changes = new Map<string, string | undefined>(link.environmentChanges())
    if (spec.env !== undefined) for (const name of Object.keys(spec.env)) changes.set(name, spec.env[name])
    changes.set(MARKER_VARIABLE, markerValue(marker))
    const environment = [...changes]
    const refused = link.requests.refuse(spec, environment)
    if (refused !== undefined) return { code: refused.code, error: refused }
    this.#lastId = (this.#lastId % 0xfffffff0) + 1
    const id = this.#lastId
    const entry: Entry = { spec, marker, options, started: makeDeferred(), input: new InputQueue(link, id), process: undefined }
    if (this.#asking === 0 && this.#entries.size === 0) link.ref()
    this.#entries.set(id, entry)
    link.send((out) => link.requests.start(out, { id, words, spec, environment }, link.directory))
    return entry.started.promise
  }

  #open(): HelperLink {
    if (this.#link === undefined || this.#link.lost) {
      const link: HelperLink = new HelperLink(this.#runner ?? findRunner(), {
        onFrame: (frame) => this.#take(link, frame),
        onLoss: (reason) => this.#lose(reason),
      })
      this.#link = link
    }
    return this.#link
  }

  #take(link: HelperLink, { type, id, payload }: RunnerFrame): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    switch (type) {
      case 'S':
        entry.process = this.#supervise(link, id, Number(payload.toString('latin1')), entry)
        entry.started.resolve({ running: entry.process })
        return
      case 'F':
        this.#failed(id, entry, payload.toString('utf8'))
        return
      case 'O':
        entry.process?.takeOutput('stdout', payload)
        return
      case 'E':
        entry.process?.takeOutput('stderr', payload)
        return
      case 'X': {
        const [code, signal, open] = payload.toString('latin1').split(' ').map(Number)
        entry.input.fail('it has ended')
        if (entry.spec.outputFiles === undefined) for (let ended = open ?? 0; ended < 2; ended += 1) entry.process?.takeStreamEnd()
        if ((open ?? 0) === 0) this.#forget(id)
        if (signal) entry.process?.takeExit(undefined, signalName(signal))
        else entry.process?.takeExit(code, undefined)
        return
      }
      case 'z':
        entry.process?.takeStreamEnd()
        return
      case 'W':
        entry.input.accepted(Number(payload.toString('latin1')))
        return
      case 'B':
        entry.input.fail('nobody reads its stdin any more')
    }
  }

  #supervise(link: HelperLink, id: number, pid: number, entry: Entry): SupervisedProcess {
    const controls = {
      pid,
      signalGroup: (signal: NodeJS.Signals) => link.send((out) => link.requests.signal(out, id, pid, signal)),
      write: (data: Uint8Array) => entry.input.write(data),
      closeStdin: () => entry.input.close(),
      drop: () => {
        if (this.#entries.has(id)) link.send((out) => link.requests.drop(out, id))
        this.#forget(id)
        this.#window.leave()
      },
      pauseUntil: (_stream: unknown, ready: Promise<void>) => link.pauseUntil(ready),
    }
    return new SupervisedProcess(entry.spec, entry.marker, controls, entry.options, entry.spec.outputFiles === undefined ? 2 : 0)
  }

  /** Before `S`: nothing was forked. After it: the fork could not become the program. */
  #failed(id: number, entry: Entry, text: string): void {
    const [stage, code, ...detail] = text.split(' ') as [string, string, ...string[]]
    const error =
      stage === 'stdout' || stage === 'stderr'
        ? { code, message: `Cannot start ${argumentsOf(entry.spec)[0]}: the file for its ${stage} cannot be opened (${code})` }
        : explainStartError(entry.spec, code, `${detail.join(' ')} (${code} at ${stage})`, stage)
    this.#forget(id)
    entry.input.fail('it did not start')
    if (entry.process === undefined) entry.started.resolve({ code, error })
    else entry.process.takeStartFailure(error)
  }

  #forget(id: number): void {
    if (this.#entries.delete(id)) this.#rest()
  }

  /** A helper without work does not keep this program alive. */
  #rest(): void {
    if (this.#asking === 0 && this.#entries.size === 0) this.#link?.unref()
  }

  #lose(reason: string): void {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const entry of entries) {
      entry.input.fail(`the helper is gone: ${reason}`)
      if (entry.process === undefined) {
        const message = `The helper was gone before it said whether ${argumentsOf(entry.spec)[0]} was started (${reason})`
        entry.started.resolve({ code: 'E_HELPER', error: { code: 'E_HELPER', message } })
        if (entry.spec.detach !== true) void stopByMarker(entry.marker)
      } else {
        const fate = entry.spec.detach === true ? 'it was detached and may still run' : 'it was told to end'
        void entry.process.takeLoss({
          code: 'E_HELPER',
          message: `The helper is gone (${reason}), so nobody saw how process ${entry.process.pid} ended; ${fate}`,
        })
      }
    }
  }

  /** Ends the helper and, with it, what still runs and was not detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    const link = this.#link
    const running = [...this.#entries.values()].filter((entry) => entry.spec.detach !== true)
    await Promise.all(running.map(async (entry) => (await this.#whenStarted(entry))?.[Symbol.asyncDispose]()))
    if (link !== undefined) await link.close()
  }

  async #whenStarted(entry: Entry): Promise<RunningProcess | undefined> {
    const started = await entry.started.promise
    return 'running' in started ? started.running : undefined
  }
}

async function stopByMarker(marker: string): Promise<void> {
  for (const entry of selectTree(await scanProcesses(), -1, marker)) sendSignal(entry.pid, 'SIGTERM')
}
