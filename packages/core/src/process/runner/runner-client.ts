import { isCampaignError, messageOf } from '../../errors.js'
import type { ProcessSpec } from '../../model/process.js'
import type { RunningProcess, StartOptions } from '../../ports/process-backend.js'
import { type Deferred, makeDeferred } from '../../util/async.js'
import { signalName } from '../../util/signal-names.js'
import { argumentsOf, checkSpec, explainStartError, makeMarker, markerValue, type StartError, type Started } from '../command.js'
import { localTree } from '../local-tree.js'
import { MARKER_VARIABLE } from '../process-tree.js'
import { SpawnWindow } from '../spawn-window.js'
import { startInWindow } from '../start-in-window.js'
import { endedProcess, type ProcessControls, SupervisedProcess } from '../supervised-process.js'
import type { RunnerFrame } from './frames.js'
import { InputQueue } from './input-queue.js'
import { type LinkOptions, RunnerLink, type RunnerLoss, type RunnerPlace } from './runner-link.js'
import type { RunnerTransport } from './transport.js'

export type { RunnerLoss, RunnerPlace } from './runner-link.js'

/** The sh runner says the end of a process before those who read its output have read all of it. */
const SHELL_SILENCE_MS = 2_000
/** Processes that run at once through one runner, when nobody says otherwise: two or three descriptors each there. */
const PLACES = 300

export interface RunnerClientOptions extends LinkOptions {
  /** Places for processes that run at once; default: some of its own. */
  readonly window?: SpawnWindow
  /** Names to set or (`undefined`) remove for every command, against what the runner inherited. Default: none. */
  readonly environment?: () => readonly (readonly [string, string | undefined])[]
  /**
   * The transport ended or spoke nonsense. When the runner spoke before (`what: 'link'`) and has a lease, commands stay as they are
   * until `resume` or `lose` is called: one of them must be. Otherwise everything was lost already.
   */
  readonly onLost: (loss: RunnerLoss) => void
}

interface Entry {
  readonly spec: ProcessSpec
  readonly marker: string
  readonly options: StartOptions
  readonly started: Deferred<Started>
  readonly input: InputQueue
  process: SupervisedProcess | undefined
  /** Who asked for its tree, in the order of the questions. */
  trees: Deferred<readonly number[]>[]
}

/** Commands by number over one runner. */
export class RunnerClient {
  /** Resolves with the hello; rejects with ProcessError `E_RUNNER` (`E_HELPER` without a host) when there will be none. */
  readonly ready: Promise<RunnerPlace>
  readonly #options: RunnerClientOptions
  readonly #link: RunnerLink
  readonly #window: SpawnWindow
  readonly #entries = new Map<number, Entry>()
  #lastId = 0
  /** Starts that wait for the hello. */
  #asking = 0
  #closing = false

  constructor(options: RunnerClientOptions) {
    this.#options = options
    this.#window = options.window ?? new SpawnWindow(PLACES)
    this.#link = new RunnerLink(options, { onFrame: (frame) => this.#take(frame), onLost: (loss) => this.#onLost(loss) })
    this.ready = this.#link.ready
  }

  /** No command runs and none is being started. */
  get idle(): boolean {
    return this.#asking === 0 && this.#entries.size === 0
  }

  /** Nothing can be started any more. */
  get lost(): boolean {
    return this.#link.lost
  }

  /** What is in the environment of its commands that run, or were being started, and are to end with the runner. */
  get markers(): readonly string[] {
    return [...this.#entries.values()].filter(({ spec }) => spec.detach !== true).map(({ marker }) => marker)
  }

  /** Waits for a place and for the hello. Always resolves; `not-started`, `unreachable` and `canceled` are results. */
  async start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    const wrong = checkSpec(spec)
    if (wrong !== undefined) return endedProcess('not-started', wrong)
    return startInWindow(this.#window, options.signal, () => this.ask(spec, argumentsOf(spec), options))
  }

  /** One try, by somebody who holds a place in the window; the end of the process gives it back. */
  async ask(spec: ProcessSpec, words: readonly string[], options: StartOptions): Promise<Started> {
    this.#begin()
    this.#asking += 1
    try {
      await this.ready
    } catch (error) {
      const code = isCampaignError(error) ? error.code : 'E_RUNNER'
      return { code, error: { code, message: messageOf(error) }, unreachable: this.#options.host !== undefined }
    } finally {
      this.#asking -= 1
      this.#rest()
    }
    if (this.lost) return this.#gone('it ended before')
    const marker = makeMarker()
    const environment = this.#environmentOf(spec, marker)
    const { requests } = this.#link
    const refused = requests.refuse(spec, environment)
    if (refused !== undefined) return { code: refused.code, error: refused }
    this.#lastId = (this.#lastId % 0xfffffff0) + 1
    const id = this.#lastId
    const entry: Entry = {
      spec,
      marker,
      options,
      started: makeDeferred(),
      input: new InputQueue(this.#link, id),
      process: undefined,
      trees: [],
    }
    this.#begin()
    this.#entries.set(id, entry)
    this.#link.send((out) => requests.start(out, { id, words, spec, environment }))
    return entry.started.promise
  }

  /** Goes on over a transport to a relay. Rejects with ProcessError `E_RUNNER`, and may then be called again. */
  resume(transport: RunnerTransport): Promise<void> {
    return this.#link.resume(transport)
  }

  /** Gives up: what runs, or was being started, becomes `unreachable` with this error. */
  lose(error: StartError): void {
    this.#link.giveUp()
    this.#loseAll(
      () => error,
      () => error,
    )
  }

  /** The runner ends what is not detached, and itself. */
  async close(): Promise<void> {
    this.#closing = true
    const running = [...this.#entries.values()].filter(({ spec }) => spec.detach !== true)
    if (!this.lost) await Promise.all(running.map(async (entry) => (await this.#whenStarted(entry))?.[Symbol.asyncDispose]()))
    // One on a host that has nothing to end is told so, and not waited for: two hundred of them would be.
    await this.#link.close({ patient: running.length > 0 || this.#options.host === undefined })
    this.#loseAll(...this.#words('it was closed'))
  }

  async #whenStarted(entry: Entry): Promise<RunningProcess | undefined> {
    const started = await entry.started.promise
    return 'running' in started ? started.running : undefined
  }

  /** The last word on a name counts. */
  #environmentOf(spec: ProcessSpec, marker: string): [string, string | undefined][] {
    const { environment, host } = this.#options
    const changes = new Map<string, string | undefined>(environment?.() ?? [])
    if (spec.env !== undefined) for (const name of Object.keys(spec.env)) changes.set(name, spec.env[name])
    changes.set(MARKER_VARIABLE, host === undefined ? markerValue(marker) : marker)
    return [...changes]
  }

  #take({ type, id, payload }: RunnerFrame): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    switch (type) {
      case 'S':
        entry.process = this.#supervise(id, Number(payload.toString('latin1')), entry)
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
        return
      case 'T':
        entry.trees.shift()?.resolve(payload.toString('latin1').split(' ').filter(Boolean).map(Number))
    }
  }

  #supervise(id: number, pid: number, entry: Entry): SupervisedProcess {
    const link = this.#link
    const { host } = this.#options
    const signalGroup = (signal: NodeJS.Signals): void => link.send((out) => link.requests.signal(out, id, signal))
    const controls: ProcessControls = {
      pid,
      host,
      silenceMs: this.#options.kind === 'sh' ? SHELL_SILENCE_MS : undefined,
      signalGroup,
      ...(host === undefined ? localTree(pid, entry.marker, signalGroup) : this.#remoteTree(id, entry)),
      write: (data) => entry.input.write(data),
      closeStdin: () => entry.input.close(),
      drop: () => {
        if (this.#entries.has(id)) link.forget(id)
        this.#forget(id)
        this.#window.leave()
      },
      pauseUntil: (_stream, ready) => link.pauseUntil(ready),
      held: () => link.held,
      ...(host === undefined ? {} : { probe: () => link.probe(), silentMs: () => link.silentMs }),
    }
    return new SupervisedProcess(entry.spec, entry.marker, controls, entry.options, entry.spec.outputFiles === undefined ? 2 : 0)
  }

  #remoteTree(id: number, entry: Entry): Pick<ProcessControls, 'signalTree' | 'living'> {
    const link = this.#link
    return {
      signalTree: (signal) => {
        if (this.#entries.has(id)) link.send((out) => link.requests.signalTree(out, id, signal))
      },
      living: () => {
        if (!this.#entries.has(id)) return Promise.resolve([])
        const answer = makeDeferred<readonly number[]>()
        entry.trees.push(answer)
        link.send((out) => link.requests.askTree(out, id))
        return answer.promise
      },
    }
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
    for (const tree of entry.trees) tree.resolve([])
    if (entry.process === undefined) entry.started.resolve({ code, error })
    else entry.process.takeStartFailure(error)
  }

  #forget(id: number): void {
    if (this.#entries.delete(id)) this.#rest()
  }

  #begin(): void {
    if (this.idle) this.#link.ref()
  }

  /** A runner without work does not keep this program alive. */
  #rest(): void {
    if (this.idle) this.#link.unref()
  }

  #onLost(loss: RunnerLoss): void {
    if (this.#closing) return
    if (this.lost) this.#loseAll(...this.#words(loss.reason))
    this.#options.onLost(loss)
  }

  /** @param running - what to say of one that ran; @param asked - of one that nobody knows to have been started */
  #loseAll(running: (entry: Entry, pid: number) => StartError, asked: (entry: Entry) => StartError): void {
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const entry of entries) {
      const error = entry.process === undefined ? asked(entry) : running(entry, entry.process.pid)
      entry.input.fail(error.message)
      for (const tree of entry.trees) tree.resolve([])
      if (entry.process !== undefined) {
        void entry.process.takeLoss(error)
        continue
      }
      entry.started.resolve({ code: error.code, error, unreachable: true })
      // Started or not: what carries the marker must not stay.
      if (this.#options.host === undefined && entry.spec.detach !== true) {
        void localTree(-1, entry.marker, () => {}).signalTree('SIGTERM', true)
      }
    }
    this.#rest()
  }

  #gone(reason: string): Started {
    const code = this.#options.host === undefined ? 'E_HELPER' : 'E_RUNNER'
    return { code, error: { code, message: `${this.#name()} is gone: ${reason}` }, unreachable: true }
  }

  #words(reason: string): [(entry: Entry, pid: number) => StartError, (entry: Entry) => StartError] {
    const code = this.#options.host === undefined ? 'E_HELPER' : 'E_RUNNER'
    const end = this.#options.host === undefined ? 'it was told to end' : 'it ends when its lease has passed'
    return [
      ({ spec }, pid) => {
        const fate = spec.detach === true ? 'it was detached and may still run' : end
        return { code, message: `${this.#name()} is gone (${reason}), so nobody saw how process ${pid} ended; ${fate}` }
      },
      ({ spec }) => ({ code, message: `${this.#name()} was gone before it said whether ${argumentsOf(spec)[0]} was started (${reason})` }),
    ]
  }

  #name(): string {
    const { host } = this.#options
    return host === undefined ? 'The helper' : `The runner on ${host}`
  }
}
