import { randomBytes } from 'node:crypto'
import { SchedulerError, TransferError } from '../errors.js'
import type { ProcessResult } from '../model/process.js'
import type { ProcessBackend, RunningProcess } from '../ports/process-backend.js'
import { isAborted } from '../util/async.js'
import { fullError, unusableError } from '../util/file-errors.js'

/** A program and a payload of more bytes are written piece by piece. */
const AT_ONCE_BYTES = 1 << 20
/** Pieces of a payload on the way. */
const PIECES_ON_THE_WAY = 4
const KEPT_BYTES = 65_536
/** The connection was cut before the whole program had come. */
const CUT_EXIT_CODE = 98

/**
 * Reads a program from its standard input, paragraph by paragraph, and executes each when it has come, the last one with the rest of the
 * input as its own. So neither its length nor the login shell matters. `read` takes no byte more than its line.
 */
const LOADER = `LC_ALL=C; export LC_ALL; k=$1 n='
' p= w=
while IFS= read -r l; do case $l in "$k") eval "$p"; p= ;; "$k.") w=1; break ;; *) p=$p$l$n ;; esac; done
[ "$w" ] || exit ${CUT_EXIT_CODE}
eval "$p"`

export interface Exchange {
  /** POSIX shell text. All but the last paragraph must leave the standard input alone. */
  readonly program: readonly string[]
  /** What the last paragraph reads. */
  readonly payload?: AsyncIterable<Uint8Array> | readonly Uint8Array[]
  /** Instead of keeping the output: what it returns is waited for, and what it throws ends the exchange. */
  readonly onOutput?: (chunk: Uint8Array) => Promise<void> | void
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number
  /** For messages: what is tried. */
  readonly what: string
}

export interface ExchangeAnswer {
  readonly exitCode: number
  /** Empty with `onOutput`. */
  readonly stdout: string
  readonly stderr: string
}

/** What {@link Exchange.program} is as the start of a standard input. */
export function programInput(token: string, program: readonly string[]): Buffer {
  return Buffer.from(program.map((text, index) => `${text}\n${token}${index === program.length - 1 ? '.' : ''}\n`).join(''))
}

export function loaderCommand(token: string): readonly [string, ...string[]] {
  return ['/bin/sh', '-c', LOADER, 'cahier', token]
}

export function makeToken(): string {
  return randomBytes(9).toString('hex')
}

/**
 * Runs one program on a site.
 *
 * @throws SchedulerError `E_SCHEDULER_SILENT` when it did not come to its own end
 */
export async function exchange(processes: ProcessBackend, asked: Exchange): Promise<ExchangeAnswer> {
  const { signal, onOutput, what } = asked
  signal?.throwIfAborted()
  const token = makeToken()
  const program = programInput(token, asked.program)
  const payload = asked.payload
  const small = payload === undefined ? program : Array.isArray(payload) ? joined([program, ...payload]) : undefined
  const kept: Uint8Array[] = []
  const failed = new AbortController()
  let failure: { readonly error: unknown } | undefined
  const fail = (error: unknown): void => {
    failure ??= { error }
    failed.abort()
  }
  let last = Promise.resolve()
  const take = (stream: 'stdout' | 'stderr', chunk: Uint8Array): Promise<void> | undefined => {
    if (stream === 'stderr' || failure !== undefined) return undefined
    if (onOutput === undefined) {
      kept.push(Uint8Array.from(chunk))
      return undefined
    }
    last = last.then(async () => {
      if (failure === undefined) await onOutput(chunk)
    })
    last = last.catch(fail)
    return last
  }
  const running = await processes.start(
    {
      command: loaderCommand(token),
      stdin: small === undefined ? 'pipe' : { text: small },
      keepBytes: KEPT_BYTES,
      spillTo: false,
      ...(asked.timeoutMs === undefined ? {} : { timeoutMs: asked.timeoutMs }),
    },
    { signal: signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal]), onOutput: take },
  )
  if (small === undefined && payload !== undefined) await pour(running, program, payload, fail)
  const result = await running.result
  await last
  if (failure !== undefined) throw failure.error
  return { ...answerOf(result, what, signal), stdout: Buffer.concat(kept).toString('utf8') }
}

function joined(parts: readonly Uint8Array[]): Uint8Array | undefined {
  return parts.reduce((sum, part) => sum + part.length, 0) > AT_ONCE_BYTES ? undefined : Buffer.concat(parts)
}

/** Writes to a process that may end before it has read everything: its result says why. */
async function pour(
  running: RunningProcess,
  program: Uint8Array,
  payload: AsyncIterable<Uint8Array> | readonly Uint8Array[],
  fail: (error: unknown) => void,
): Promise<void> {
  const onTheWay: Promise<void>[] = []
  let deaf = false
  const write = async (chunk: Uint8Array): Promise<void> => {
    const written = running.write(chunk)
    written.catch(() => {
      deaf = true
    })
    onTheWay.push(written)
    if (onTheWay.length >= PIECES_ON_THE_WAY) await onTheWay.shift()?.catch(() => undefined)
  }
  const ended = running.result.then(() => {
    deaf = true
  })
  try {
    await Promise.race([write(program), ended])
    for await (const chunk of payload) {
      if (deaf) break
      await Promise.race([write(chunk), ended])
    }
  } catch (error) {
    fail(error)
  }
  running.closeStdin()
}

function answerOf(
  result: ProcessResult,
  what: string,
  signal: AbortSignal | undefined,
): { readonly exitCode: number; readonly stderr: string } {
  const stderr = result.stderr.text
  if (result.outcome === 'exited' && result.exitCode !== undefined && result.exitCode !== CUT_EXIT_CODE) {
    return { exitCode: result.exitCode, stderr }
  }
  if (isAborted(signal)) throw signal?.reason
  const where = result.host === undefined ? '' : ` on ${result.host}`
  const why = result.error?.message ?? (result.outcome === 'exited' ? 'the connection was cut' : wordsOf(result))
  throw new SchedulerError('E_SCHEDULER_SILENT', `cannot ${what}${where}: ${why}`, {
    suggestions: result.error?.suggestions ?? ['Nothing was lost: it is tried again'],
    data: {
      code: result.error?.code ?? (result.outcome === 'timed-out' ? 'E_HOST_TIMEOUT' : 'E_CONNECTION_LOST'),
      host: result.host ?? null,
    },
  })
}

function wordsOf({ outcome, signal, durationMs, stderr }: ProcessResult): string {
  if (outcome === 'timed-out') return `no answer within ${Math.round(durationMs / 1000)} s`
  return `the shell there was ended${signal === undefined ? '' : ` by ${signal}`}${stderr.text === '' ? '' : `: ${lastWords(stderr.text)}`}`
}

/** GNU tar says of a write that found room for a part only how much that was. */
const FULL = /No space left on device|Disk quota exceeded|File too large|Wrote only \d+ of \d+ bytes/i
const UNUSABLE = /Permission denied|Read-only file system|Operation not permitted|Not a directory|Is a directory|File exists/i

/** The error of a program of ours that ended badly, by what the system's programs said in English. */
export function siteError(what: string, { exitCode, stderr }: Pick<ExchangeAnswer, 'exitCode' | 'stderr'>): Error {
  const lines = stderr.split('\n')
  const full = lines.find((line) => FULL.test(line))
  if (full !== undefined)
    return fullError(`cannot ${what}: ${full.trim()}`, undefined, ['Make room at the site, or ask for a larger quota: nothing was lost'])
  const unusable = lines.find((line) => UNUSABLE.test(line))
  if (unusable !== undefined)
    return unusableError(`cannot ${what}: ${unusable.trim()}`, undefined, [
      'Give the site a workDirectory that you may write to, in cahier.config',
    ])
  return new TransferError('E_STAGE', `cannot ${what}: ${lastWords(stderr) || `exit code ${exitCode}`}`, {
    suggestions: ['See that the site has tar, mv, ln, cp, find and sha256sum'],
    data: { exitCode, stderr: stderr.slice(-2000) },
  })
}

/** The same of a question: whatever is not understood is no answer. */
export function silentError(what: string, answer: Pick<ExchangeAnswer, 'exitCode' | 'stderr'>): Error {
  const error = siteError(what, answer)
  if (!(error instanceof TransferError)) return error
  const { message, suggestions, data } = error
  return new SchedulerError('E_SCHEDULER_SILENT', message, { suggestions, data: { ...data, code: error.code } })
}

function lastWords(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
