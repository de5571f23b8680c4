import { deepStrictEqual, ok } from 'node:assert/strict'
import type { ProcessResult, ProcessSpec } from '../model/process.js'
import type { ChunkListener, OutputStream, StartOptions } from '../ports/process-backend.js'
import type { ProcessWorld } from './process-types.js'
import { newTag, pause } from './steps.js'

const PATIENCE_MS = 30_000

/** The environment variable by which the lab finds the processes of a case. */
export const TOKEN_VARIABLE = 'CAHIER_CONFORMANCE'

export function patienceOf({ lab }: ProcessWorld): number {
  return lab.patienceMs ?? PATIENCE_MS
}

/** Waits for a promise that must settle, and says what did not happen when it does not. */
export async function soon<T>(world: ProcessWorld, promise: PromiseLike<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen in time`)), patienceOf(world))
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Starts a process and waits for its end. */
export async function run(world: ProcessWorld, spec: ProcessSpec, options: StartOptions = {}): Promise<ProcessResult> {
  const running = await soon(world, world.backend.start(spec, options), 'the start of a process')
  return await soon(world, running.result, 'the end of a process')
}

/**
 * Runs a process into its time limit.
 *
 * @param isReady - it had come as far as the case needs: one that its limit met before says nothing, and gets a longer one. A busy machine
 * may not even have begun its program by then.
 */
export async function runToLimit(
  world: ProcessWorld,
  spec: ProcessSpec & { readonly timeoutMs: number },
  isReady: () => Promise<boolean>,
): Promise<ProcessResult> {
  for (let { timeoutMs } = spec; ; timeoutMs *= 4) {
    const result = await run(world, { ...spec, timeoutMs })
    if (timeoutMs > patienceOf(world) / 4 || (await isReady())) return result
  }
}

/** A spec of shell text. */
export function shell(script: string, fields: Omit<Partial<ProcessSpec>, 'command'> = {}): ProcessSpec {
  return { command: { script }, ...fields }
}

export type ExpectedFields = { readonly [Name in keyof ProcessResult]?: ProcessResult[Name] | undefined }

/** The fields of a result that are named in `expected` must be these. */
export function hasFields(result: ProcessResult, expected: ExpectedFields): void {
  const names = Object.keys(expected) as (keyof ProcessResult)[]
  const found = Object.fromEntries(names.map((name) => [name, result[name]]))
  deepStrictEqual(found, expected, `wrong result: ${JSON.stringify(result).slice(0, 1_000)}`)
}

/** A result that says why nothing ran. */
export function isRefusal(result: ProcessResult, code: string): void {
  hasFields(result, { outcome: 'not-started', exitCode: undefined, signal: undefined })
  ok(result.error?.code === code, `expected the error ${code}, not ${JSON.stringify(result.error)}`)
  ok(result.error.message.length > 10, 'the error says nothing')
}

/** Takes down every chunk. */
export function listen(): { readonly onOutput: ChunkListener; readonly chunks: OutputStream[]; bytes(stream: OutputStream): Buffer } {
  const seen: { readonly stream: OutputStream; readonly chunk: Buffer }[] = []
  const chunks: OutputStream[] = []
  return {
    // A copy: what a backend does with its buffer afterwards must not matter.
    onOutput: (stream, chunk) => {
      seen.push({ stream, chunk: Buffer.from(chunk) })
      chunks.push(stream)
    },
    chunks,
    bytes: (stream) => Buffer.concat(seen.filter((one) => one.stream === stream).map(({ chunk }) => chunk)),
  }
}

/** Waits until `reached` says so. */
export async function until(world: ProcessWorld, what: string, reached: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patienceOf(world)
  while (!(await reached())) {
    ok(performance.now() < deadline, `${what}: not in time`)
    await pause(20)
  }
}

export async function textOf({ lab }: ProcessWorld, path: string): Promise<string> {
  const bytes = await lab.readFile(path)
  return bytes === undefined ? '' : Buffer.from(bytes).toString('utf8')
}

/** Waits until a file of the host holds so many lines, and returns them. */
export async function linesOf(world: ProcessWorld, path: string, count: number): Promise<readonly string[]> {
  let lines: readonly string[] = []
  await until(world, `${count} lines in ${path}`, async () => {
    lines = (await textOf(world, path)).split('\n').slice(0, -1)
    return lines.length >= count
  })
  return lines
}

/** An environment that marks the processes of one case, and the question which of them live. */
export function track(world: ProcessWorld): { readonly env: Record<string, string>; living(): Promise<readonly number[]> } {
  const token = newTag()
  return { env: { [TOKEN_VARIABLE]: token }, living: async () => (await world.lab.findProcesses?.(`${TOKEN_VARIABLE}=${token}`)) ?? [] }
}

/** Nothing of the tree is left, or is gone within a moment: a busy machine may take a while to end what was killed. */
export async function allGone(world: ProcessWorld, living: () => Promise<readonly number[]>): Promise<void> {
  // Not so long that what lives on would have ended by itself.
  const deadline = performance.now() + Math.min(patienceOf(world) / 3, 20_000)
  let left = await living()
  while (left.length > 0 && performance.now() < deadline) {
    await pause(50)
    left = await living()
  }
  deepStrictEqual(left, [], 'processes of the tree live on')
}

/** Values that a shell, a format or a protocol would change on their way. */
export const ODD_WORDS: readonly string[] = [
  '',
  ' ',
  '  a  b ',
  "it's",
  '"quoted"',
  '$(echo no)',
  '`echo no`',
  '${HOME}',
  '$HOME',
  '\\',
  'a\\nb\\\\',
  '-n',
  '--',
  '-',
  '*',
  '[a-z]?',
  '~',
  '#',
  '!!',
  'a\nb',
  '\n',
  'end\n',
  '\t',
  '\r\n',
  '=',
  'A=b',
  '%s%n%%',
  ';|&<>()',
  'é 日本 🎲',
  '\u0001\u001b[31m\u007f',
  'x'.repeat(5_000),
]
