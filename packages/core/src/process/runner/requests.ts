import type { ProcessSpec } from '../../model/process.js'
import { shellQuote } from '../../util/shell-quote.js'
import type { StartError } from '../command.js'
import type { FrameWriter } from './frames.js'
import type { RunnerKind } from './runner-program.js'

/** A start as a runner wants it. */
export interface StartRequest {
  readonly id: number
  readonly words: readonly string[]
  readonly spec: ProcessSpec
  /** Names to set, or to remove (`undefined`), against the environment that the runner has. */
  readonly environment: readonly (readonly [string, string | undefined])[]
}

/** A job that the runner's own child wraps, as the wrapper script would. */
export interface JobRequest {
  readonly id: number
  readonly tag: string
  readonly directory: string
  readonly startNumber: number
  readonly walltimeSeconds: number | undefined
  readonly graceSeconds: number
  /** The wrapper's, as in {@link StartRequest}. */
  readonly environment: StartRequest['environment']
  /** For the script only. */
  readonly variables: Readonly<Record<string, string>>
}

/** How a kind of runner is spoken to. */
export interface RequestWriter {
  /** What this runner cannot do of a spec; `undefined` when it can do everything. */
  refuse(spec: ProcessSpec, environment: StartRequest['environment']): StartError | undefined
  start(out: FrameWriter, request: StartRequest): void
  /** Absent where the runner cannot play the job wrapper. */
  job?(out: FrameWriter, request: JobRequest): void
  signal(out: FrameWriter, id: number, signal: NodeJS.Signals): void
  signalTree(out: FrameWriter, id: number, signal: NodeJS.Signals): void
  askTree(out: FrameWriter, id: number): void
  input(out: FrameWriter, id: number, data: Uint8Array): void
  closeInput(out: FrameWriter, id: number): void
  forget(out: FrameWriter, id: number): void
  acknowledge(out: FrameWriter, offset: number): void
  ping(out: FrameWriter): void
  quit(out: FrameWriter): void
}

const NOTHING = new Uint8Array(0)

const perlRequests: RequestWriter = {
  refuse: () => undefined,
  start: (out, { id, words, spec, environment }) => {
    const fields: [string, string | Uint8Array][] = words.map((word) => ['a', word])
    if (spec.cwd !== undefined) fields.push(['d', spec.cwd])
    for (const [name, value] of environment) fields.push(value === undefined ? ['u', name] : ['e', `${name}=${value}`])
    if (spec.stdin === 'pipe') fields.push(['p', NOTHING])
    else if (typeof spec.stdin === 'object') fields.push(['t', spec.stdin.text])
    if (spec.outputFiles !== undefined) {
      fields.push(['o', spec.outputFiles.stdout], ['r', spec.outputFiles.stderr])
      if (spec.outputFiles.append === true) fields.push(['A', NOTHING])
    }
    if (spec.detach === true) fields.push(['D', NOTHING])
    out.fields('s', id, fields)
  },
  job: (out, { id, tag, directory, startNumber, walltimeSeconds, graceSeconds, environment, variables }) => {
    const fields: [string, string][] = [
      ['d', directory],
      ['t', tag],
      ['n', String(startNumber)],
      ['g', String(graceSeconds)],
    ]
    if (walltimeSeconds !== undefined) fields.push(['w', String(walltimeSeconds)])
    for (const [name, value] of environment) fields.push(value === undefined ? ['u', name] : ['e', `${name}=${value}`])
    for (const [name, value] of Object.entries(variables)) fields.push(['v', `${name}=${value}`])
    out.fields('j', id, fields)
  },
  signal: (out, id, signal) => out.frame('k', id, signal.slice(3)),
  signalTree: (out, id, signal) => out.frame('K', id, signal.slice(3)),
  askTree: (out, id) => out.frame('t', id, NOTHING),
  input: (out, id, data) => out.frame('w', id, data),
  closeInput: (out, id) => out.frame('c', id, NOTHING),
  forget: (out, id) => out.frame('f', id, NOTHING),
  acknowledge: (out, offset) => out.frame('a', 0, String(offset)),
  ping: (out) => out.frame('p', 0, NOTHING),
  quit: (out) => out.frame('q', 0, NOTHING),
}

/** One quoted word that holds no line end, because the runner reads lines. */
function lineWord(value: string): string {
  return value.includes('\n') ? value.split('\n').map(shellQuote).join('"$_nl"') : shellQuote(value)
}

const shellRequests: RequestWriter = {
  refuse: () => undefined,
  start: (out, { id, words, spec, environment }) => {
    const files = spec.outputFiles
    const text = typeof spec.stdin === 'object' ? Buffer.from(spec.stdin.text) : NOTHING
    const set = environment.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${value as string}`)
    const unset = environment.filter(([, value]) => value === undefined).map(([name]) => name)
    const head = [
      files?.stdout ?? '',
      files?.stderr ?? '',
      files?.append === true ? '1' : '',
      spec.detach === true ? '1' : '',
      spec.cwd ?? '',
      typeof spec.stdin === 'object' ? String(text.length) : '',
      spec.stdin === 'pipe' ? '1' : '',
      unset.join(' '),
    ]
    out.line(`s ${id} ${[...head, ...set, '--', ...words].map(lineWord).join(' ')}`)
    out.bytes(text)
  },
  signal: (out, id, signal) => out.line(`k ${id} ${signal.slice(3)}`),
  signalTree: (out, id, signal) => out.line(`K ${id} ${signal.slice(3)}`),
  askTree: (out, id) => out.line(`t ${id}`),
  input: (out, id, data) => {
    out.line(`w ${id} ${data.length}`)
    out.bytes(data)
  },
  closeInput: (out, id) => out.line(`c ${id}`),
  forget: (out, id) => out.line(`f ${id}`),
  acknowledge: (out, offset) => out.line(`a ${offset}`),
  ping: (out) => out.line('p'),
  quit: (out) => out.line('q'),
}

export function requestsFor(kind: RunnerKind): RequestWriter {
  return kind === 'perl' ? perlRequests : shellRequests
}
