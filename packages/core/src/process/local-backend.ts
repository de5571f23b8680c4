import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { messageOf, ProcessError, systemCodeOf } from '../errors.js'
import type { ProcessSpec } from '../model/process.js'
import type { OutputStream, ProcessBackend, RunningProcess, StartOptions } from '../ports/process-backend.js'
import { explainStartError, makeMarker, markerValue, planStart, type Started } from './command.js'
import { localTree } from './local-tree.js'
import { MARKER_VARIABLE, sendSignal } from './process-tree.js'
import { type SpawnWindow, spawnWindow } from './spawn-window.js'
import { startInWindow } from './start-in-window.js'
import { endedProcess, type ProcessControls, SupervisedProcess } from './supervised-process.js'

/**
 * Starts processes on this machine, one fork of this program each.
 *
 * @remarks A fork costs what this program weighs; for hundreds of processes per second, or from a program of gigabytes, take
 * the HelperBackend. The standard streams are sockets, as always under Node: a script that opens `/dev/stderr` by name
 * fails, one that writes to `>&2` does not.
 */
export class LocalBackend implements ProcessBackend {
  readonly #window: SpawnWindow
  readonly #running = new Set<SupervisedProcess>()

  constructor(options: { readonly window?: SpawnWindow } = {}) {
    this.#window = options.window ?? spawnWindow()
  }

  async start(spec: ProcessSpec, options: StartOptions = {}): Promise<RunningProcess> {
    const plan = planStart(spec)
    if ('error' in plan) return endedProcess('not-started', plan.error)
    return startInWindow(this.#window, options.signal, () => this.#spawn(spec, plan.words, options))
  }

  async #spawn(spec: ProcessSpec, words: readonly string[], options: StartOptions): Promise<Started> {
    const marker = makeMarker()
    const files: number[] = []
    let child: ChildProcess
    try {
      const output = openOutputs(spec, files)
      if (wasShort) checkDescriptors()
      child = spawn(words[0] as string, words.slice(1), {
        env: environmentOf(spec, marker),
        cwd: spec.cwd,
        // A session of its own: the terminal's Ctrl-C is for us, and the whole group can be signalled.
        detached: true,
        stdio: [spec.stdin === undefined || spec.stdin === 'ignore' ? 'ignore' : 'pipe', output?.[0] ?? 'pipe', output?.[1] ?? 'pipe'],
      })
    } catch (error) {
      return failureOf(spec, systemCodeOf(error) ?? 'E_ARGUMENT', messageOf(error))
    } finally {
      for (const file of files) closeSync(file)
    }
    if (child.pid === undefined) {
      // Of another failure there are streams.
      wasShort ||= (child.stdio as unknown) === undefined
      // Without descriptors there are not even streams: nothing of the child may be touched but this event.
      const error = await new Promise<Error>((resolve) => child.once('error', resolve))
      return failureOf(spec, systemCodeOf(error) ?? 'UNKNOWN', error.message)
    }
    // A signal that could not be sent is seen by what remains.
    child.on('error', ignore)
    return { running: this.#supervise(child, child.pid, spec, marker, options) }
  }

  #supervise(child: ChildProcess, pid: number, spec: ProcessSpec, marker: string, options: StartOptions): SupervisedProcess {
    const streams: [OutputStream, Readable | null][] = [
      ['stdout', child.stdout],
      ['stderr', child.stderr],
    ]
    const open = streams.filter(([, stream]) => stream !== null).length
    const onEnd = (): void => {
      this.#running.delete(supervised)
      this.#window.leave()
    }
    const controls = controlsOf(child, pid, marker, streams, onEnd)
    const supervised: SupervisedProcess = new SupervisedProcess(spec, marker, controls, options, open)
    for (const [name, stream] of streams) {
      if (stream === null) continue
      stream.on('data', (chunk: Buffer) => supervised.takeOutput(name, chunk))
      stream.once('close', () => supervised.takeStreamEnd())
      stream.on('error', ignore)
    }
    const { stdin } = child
    if (stdin !== null) {
      stdin.on('error', ignore)
      if (typeof spec.stdin === 'object') stdin.end(spec.stdin.text)
    }
    if (spec.detach !== true) this.#running.add(supervised)
    child.once('exit', (code, signal) => {
      // Node now lets all streams flow, at its next tick; those that wait for their readers are held again before they do.
      process.nextTick(() => process.nextTick(() => controls.holdAgain()))
      supervised.takeExit(code ?? undefined, signal ?? undefined)
    })
    if (spec.detach === true) child.unref()
    return supervised
  }

  /** Stops what still runs, except what was detached. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#running].map((running) => running[Symbol.asyncDispose]()))
  }
}

function failureOf(spec: ProcessSpec, code: string, detail: string): Started {
  return { code, error: explainStartError(spec, code === 'ERR_INVALID_ARG_VALUE' ? 'E_ARGUMENT' : code, detail) }
}

function ignore(): void {
  // Seen through the callback of the write, or of no consequence.
}

function environmentOf(spec: ProcessSpec, marker: string): Record<string, string> {
  const environment: Record<string, string | undefined> = { ...process.env, ...spec.env, [MARKER_VARIABLE]: markerValue(marker) }
  for (const name of Object.keys(spec.env ?? {})) if (environment[name] === undefined) delete environment[name]
  return environment as Record<string, string>
}

/** What a start takes for a moment: two for each pipe, two to learn how it went, one in the child. */
const DESCRIPTORS_OF_A_START = 9
/** Descriptors have run out in this program. */
let wasShort = false

/**
 * Node never closes the pipes of a child whose start fails for want of descriptors: each such failure would cost some for ever. So once
 * they have run out, they are counted first.
 *
 * @throws Error EMFILE or ENFILE
 */
function checkDescriptors(): void {
  const files: number[] = []
  try {
    while (files.length < DESCRIPTORS_OF_A_START) files.push(openSync('/dev/null', 'r'))
  } finally {
    for (const file of files) closeSync(file)
  }
}

function openOutputs(spec: ProcessSpec, files: number[]): [number, number] | undefined {
  const wanted = spec.outputFiles
  if (wanted === undefined) return undefined
  const flags = wanted.append === true ? 'a' : 'w'
  const stdout = openSync(wanted.stdout, flags)
  files.push(stdout)
  if (wanted.stderr === wanted.stdout) return [stdout, stdout]
  const stderr = openSync(wanted.stderr, flags)
  files.push(stderr)
  return [stdout, stderr]
}

type Streams = readonly (readonly [OutputStream, Readable | null])[]

interface LocalControls extends ProcessControls {
  holdAgain(): void
}

function controlsOf(child: ChildProcess, pid: number, marker: string, streams: Streams, onEnd: () => void): LocalControls {
  const { stdin } = child
  const holds = { stdout: 0, stderr: 0 }
  const signalGroup = (signal: NodeJS.Signals): void => {
    // The group may not exist for an instant after the fork; the leader does.
    if (!groupTakes(pid, signal)) sendSignal(pid, signal)
  }
  return {
    pid,
    host: undefined,
    signalGroup,
    ...localTree(pid, marker, signalGroup),
    write: (data) =>
      new Promise((resolve, reject) => {
        stdin?.write(data, (error) => {
          if (error === null || error === undefined) resolve()
          else
            reject(new ProcessError('E_STDIN', `Process ${pid} no longer reads what is written to it: ${error.message}`, { cause: error }))
        })
      }),
    closeStdin: () => void stdin?.end(),
    drop: () => {
      stdin?.destroy()
      for (const [, stream] of streams) stream?.destroy()
      onEnd()
    },
    pauseUntil: (name, ready) => {
      const stream = streams.find(([other]) => other === name)?.[1]
      holds[name] += 1
      stream?.pause()
      void ready.then(() => {
        holds[name] -= 1
        if (holds[name] === 0) stream?.resume()
      })
    },
    holdAgain: () => {
      for (const [name, stream] of streams) if (holds[name] > 0) stream?.pause()
    },
    held: () => holds.stdout + holds.stderr > 0,
  }
}

function groupTakes(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(-pid, signal)
    return true
  } catch {
    return false
  }
}
