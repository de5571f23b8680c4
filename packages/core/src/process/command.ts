import { randomBytes } from 'node:crypto'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { isCampaignError, messageOf } from '../errors.js'
import type { ProcessResult, ProcessSpec } from '../model/process.js'
import type { RunningProcess } from '../ports/process-backend.js'
import { shellQuote } from '../util/shell-quote.js'
import { MARKER_VARIABLE } from './process-tree.js'

export type StartError = NonNullable<ProcessResult['error']>

/** What was thrown, as the error of a result. @param code - of what carries none of ours */
export function startErrorOf(error: unknown, code: string): StartError {
  if (!isCampaignError(error)) return { code, message: messageOf(error) }
  const { message, suggestions } = error
  return { code: error.code, message, ...(suggestions.length > 0 ? { suggestions } : {}) }
}

/** How one try to start a process went. */
export type Started =
  | { readonly running: RunningProcess }
  | {
      /** The system's, when it has one. */
      readonly code: string
      readonly error: StartError
      /** Who was asked is gone: nobody can say whether it was started. */
      readonly unreachable?: boolean
    }

/** The list of words that is executed. */
export function argumentsOf(spec: ProcessSpec): readonly string[] {
  return 'script' in spec.command ? [spec.command.shell ?? '/bin/sh', '-c', spec.command.script] : spec.command
}

/** What cannot be executed whatever the system says; `undefined` when nothing is wrong. */
export function checkSpec(spec: ProcessSpec): StartError | undefined {
  const words = argumentsOf(spec)
  if (words[0] === undefined || words[0] === '')
    return { code: 'E_ARGUMENT', message: 'The command is empty: there is no program to start' }
  if (words.some((word) => typeof word !== 'string')) return { code: 'E_ARGUMENT', message: 'A word of the command is not a string' }
  const zero = words.find((word) => word.includes('\0'))
  if (zero !== undefined)
    return { code: 'E_ARGUMENT', message: `A word of the command holds a NUL character: ${JSON.stringify(zero.slice(0, 200))}` }
  for (const [name, value] of Object.entries(spec.env ?? {})) {
    if (name === '' || name.includes('=') || name.includes('\0') || value?.includes('\0') === true) {
      return { code: 'E_ARGUMENT', message: `The environment variable ${JSON.stringify(name)} cannot be set: '=' or NUL where none may be` }
    }
  }
  if (spec.cwd?.includes('\0') === true) return { code: 'E_ARGUMENT', message: 'The working directory holds a NUL character' }
  if (spec.detach === true && (spec.outputFiles === undefined || spec.stdin === 'pipe')) {
    return { code: 'E_ARGUMENT', message: 'A detached process wants outputFiles and no stdin pipe: nobody would be at the other end' }
  }
  if (spec.outputFiles !== undefined && spec.pty === true) {
    return { code: 'E_NOT_SUPPORTED', message: 'A process on a pseudo terminal cannot write to outputFiles' }
  }
  return undefined
}

const seed = randomBytes(6).toString('hex')
let count = 0

/** A name for one process that no other process of any program has. */
export function makeMarker(): string {
  count += 1
  return `${seed}-${process.pid}-${count}`
}

/** The value of the marker variable: ours after those of the programs that we run in. */
export function markerValue(marker: string): string {
  const outer = process.env[MARKER_VARIABLE]
  return outer === undefined || outer === '' ? marker : `${outer} ${marker}`
}

/** What is executed on this machine for a spec, or why it cannot be. */
export function planStart(spec: ProcessSpec): { readonly words: readonly string[] } | { readonly error: StartError } {
  const wrong = checkSpec(spec)
  if (wrong !== undefined) return { error: wrong }
  const words = spec.pty === true ? onTerminal(spec) : argumentsOf(spec)
  if (words !== undefined) return { words }
  return { error: { code: 'E_NOT_SUPPORTED', message: 'A pseudo terminal wants the program script of util-linux 2.36 or later' } }
}

/**
 * Says what an error of the system means for this process.
 *
 * @param code - `ENOENT`, `EACCES`, `E2BIG`…
 * @param stage - where it happened, when that is known: `cwd` or `exec`
 */
export function explainStartError(spec: ProcessSpec, code: string, detail: string, stage?: string): StartError {
  const program = argumentsOf(spec)[0] as string
  if (stage === 'cwd' || (stage === undefined && spec.cwd !== undefined && !mayEnter(spec.cwd))) {
    return {
      code: 'E_DIRECTORY',
      message: `Cannot start ${program}: the working directory ${spec.cwd} does not exist or may not be entered (${code})`,
    }
  }
  if (code === 'ENOENT')
    return {
      code: 'E_PROGRAM_NOT_FOUND',
      message: `Cannot start ${program}: there is no such program${program.includes('/') ? '' : ' in PATH'} (ENOENT)`,
    }
  if (code === 'EACCES' || code === 'ENOEXEC' || code === 'EPERM') {
    return { code: 'E_PROGRAM_NOT_FOUND', message: `Cannot start ${program}: it may not be executed (${code})` }
  }
  if (code === 'E2BIG')
    return {
      code,
      message: `Cannot start ${program}: arguments and environment are too long for the system; pass long values in a file (E2BIG)`,
    }
  return { code, message: `Cannot start ${program}: ${detail}` }
}

function mayEnter(directory: string): boolean {
  try {
    accessSync(directory, constants.X_OK)
    return statSync(directory).isDirectory()
  } catch {
    return false
  }
}

let scriptProgram: string | false | undefined

/**
 * The command that runs `spec` on a pseudo terminal, through `script` of util-linux.
 *
 * @returns `undefined` where there is no such `script`
 * @source script(1), util-linux 2.38: -q, -e (return the status of the child), -f (flush), -E never (no echo), -c
 */
function onTerminal(spec: ProcessSpec): readonly string[] | undefined {
  scriptProgram ??= findScript()
  if (scriptProgram === false) return undefined
  // script starts the command with $SHELL, whose place in the command's own environment is restored.
  const shell = spec.env !== undefined && 'SHELL' in spec.env ? spec.env['SHELL'] : process.env['SHELL']
  const restore = shell === undefined ? 'unset SHELL' : `SHELL=${shellQuote(shell)}`
  const line = `${restore}; stty -onlcr 2>/dev/null; exec ${argumentsOf(spec).map(shellQuote).join(' ')}`
  return [scriptProgram, '-q', '-e', '-f', '-E', 'never', '-c', line, '/dev/null']
}

function findScript(): string | false {
  if (process.platform !== 'linux') return false
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const file = join(folder, 'script')
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Next folder.
    }
  }
  return false
}
