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
  start(out: FrameWriter, request: StartRequest, directory: string): void
  /** Absent where the runner cannot play the job wrapper. */
  job?(out: FrameWriter, request: JobRequest): void
  signal(out: FrameWriter, id: number, pid: number, signal: NodeJS.Signals): void
  input(out: FrameWriter, id: number, data: Uint8Array): void
  closeInput(out: FrameWriter, id: number): void
  drop(out: FrameWriter, id: number): void
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
  signal: (out, id, _pid, signal) => out.frame('k', id, signal.slice(3)),
  input: (out, id, data) => out.frame('w', id, data),
  closeInput: (out, id) => out.frame('c', id, NOTHING),
  drop: (out, id) => out.frame('d', id, NOTHING),
}

/** One quoted word that holds no line end, because the runner reads lines. */
function lineWord(value: string): string {
  return value.includes('\n') ? value.split('\n').map(shellQuote).join('"$nl"') : shellQuote(value)
}

const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/

const shellRequests: RequestWriter = {
  refuse: (spec, environment) => {
    if (spec.stdin === 'pipe')
      return {
        code: 'E_NOT_SUPPORTED',
        message: 'Without perl, the helper cannot write to a process that runs; give the text at the start',
      }
    if (typeof spec.stdin === 'object' && Buffer.from(spec.stdin.text as string).includes(0)) {
      return { code: 'E_NOT_SUPPORTED', message: 'Without perl, the helper cannot pass a NUL character on stdin; give the text in a file' }
    }
    const name = environment.find(([key]) => !IDENTIFIER.test(key))?.[0]
    if (name !== undefined)
      return { code: 'E_NOT_SUPPORTED', message: `Without perl, the helper cannot set the environment variable ${JSON.stringify(name)}` }
    return undefined
  },
  start: (out, { id, words, spec, environment }, directory) => {
    let input = ''
    if (typeof spec.stdin === 'object') {
      input = `${directory}/${id}.in`
      const text = typeof spec.stdin.text === 'string' ? spec.stdin.text : Buffer.from(spec.stdin.text).toString('utf8')
      out.line(`i ${id} ${lineWord(text)}`)
    }
    const files = spec.outputFiles
    const set = environment.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${value as string}`)
    const unset = environment.filter(([, value]) => value === undefined).map(([name]) => name)
    const head = [
      files?.stdout ?? '',
      files?.stderr ?? '',
      files?.append === true ? '1' : '',
      spec.detach === true ? '1' : '',
      spec.cwd ?? '',
      input,
    ]
    out.line(`s ${id} ${[...head, unset.join(' '), ...set, '--', ...words].map(lineWord).join(' ')}`)
  },
  signal: (out, _id, pid, signal) => out.line(`k ${pid} ${signal.slice(3)}`),
  input: () => {},
  closeInput: () => {},
  drop: () => {},
}

export function requestsFor(kind: RunnerKind): RequestWriter {
  return kind === 'perl' ? perlRequests : shellRequests
}
