import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { ERROR_CODES, type ErrorCode } from '../../error-codes.js'
import { type CampaignError, isCampaignError, messageOf, ProcessError, TransferError } from '../../errors.js'
import { formatHost } from '../../model/host.js'
import type { SshChannel } from '../../ssh/connection.js'
import { isAborted, makeDeferred, settlesWithin, startTimer } from '../../util/async.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { decodeName } from '../manifest.js'
import type { ReachedHost } from '../mover.js'
import { AGENT_KINDS, AGENT_PROGRAMS, AGENT_PROTOCOL, type AgentKind, bootstrapAgent } from './agent-program.js'
import { AgentReader, type AgentWord } from './agent-reader.js'

export interface AgentAnswer {
  readonly words: readonly string[]
  readonly payload: Buffer
}

/** `have`, `up`, `down`, `bad`, `whole`, `fail`: docs/reference/chain.md. */
export interface AgentEvent {
  readonly name: string
  readonly words: readonly string[]
}

export interface AgentStart {
  readonly signal?: AbortSignal | undefined
  /** Which to try, in this order; default: Python, then Perl. */
  readonly kinds?: readonly AgentKind[] | undefined
}

/** An agent ends when it has heard nothing for 60 s. */
const PING_MS = 10_000
/** It has nothing to do any more when it is told to end. */
const BYE_MS = 2_000
const STDERR_KEPT = 4_096
/** Of what was said instead of a hello, in the message. */
const SAID_SHOWN = 300
/** The last of its standard error may come after the end of its output. */
const LAST_WORDS_MS = 50

const SUGGESTIONS: Partial<Record<ErrorCode, readonly string[]>> = {
  E_TARGET_BUSY: ['Wait until it has ended'],
  E_TARGET_DENIED: ['Choose a directory that you may write to, or ask its owner'],
  E_TARGET_FULL: ['Make room, then ask again: what came so far is not sent twice'],
  E_TARGET_KIND: ['Move it away, or choose another directory'],
  E_TARGET_MISSING: ['Make it, or let it be made: create: true, or --create on the command line'],
}

interface Waiting {
  readonly verb: string
  readonly resolve: (answer: AgentAnswer) => void
  readonly reject: (error: Error) => void
}

/** The program that looks after files on one host. Requests may be made without waiting for the answers of others. */
export class HostAgent implements AsyncDisposable {
  /** For messages. */
  readonly host: string
  readonly kind: AgentKind
  readonly pid: number
  /** The home directory there. */
  readonly home: ByteName
  /** Resolves when it has ended, and every request was settled: with the reason when that was not our wish. */
  readonly closed: Promise<CampaignError | undefined>
  readonly #channel: SshChannel
  readonly #closed = makeDeferred<CampaignError | undefined>()
  readonly #listeners = new Set<(event: AgentEvent) => void>()
  readonly #waiting = new Map<number, Waiting>()
  readonly #stopPings: () => void
  #number = 0
  #error: CampaignError | undefined
  #isEnding = false
  #isOver = false
  #heard = performance.now()

  private constructor(start: StartedAgent) {
    this.host = start.host
    this.kind = start.kind
    this.pid = start.pid
    this.home = start.home
    this.closed = this.#closed.promise
    this.#channel = start.channel
    const timer = setInterval(() => this.request('ping', []).catch(() => undefined), PING_MS)
    timer.unref()
    this.#stopPings = () => clearInterval(timer)
    start.take((word) => this.#take(word))
    void start.ended.then((error) => this.#end(error))
  }

  /**
   * Sends the program to a host and starts it.
   *
   * @throws TransferError `E_AGENT` when none of the kinds can work there, with what each said; ProcessError `E_CONNECTION_LOST`,
   * `E_HOST_DROPPED`, `E_ABORTED`
   */
  static async start(reached: ReachedHost, { signal, kinds = AGENT_KINDS }: AgentStart = {}): Promise<HostAgent> {
    const host = formatHost(reached.host)
    const reasons: string[] = []
    for (const kind of kinds) {
      for (const program of AGENT_PROGRAMS[kind]) {
        const started = await startAgent(reached, host, kind, program, signal)
        if (typeof started !== 'string') return new HostAgent(started)
        reasons.push(`${program}: ${started}`)
      }
    }
    throw new TransferError('E_AGENT', `No agent could be started on ${host} (${reasons.join('; ')})`, {
      suggestions: ['Install python3 or perl there'],
      data: { host, reasons },
    })
  }

  /** When it last said anything, in milliseconds of `performance.now`: it answers also while it is at work. */
  get heard(): number {
    return this.#heard
  }

  /** Why it is over; undefined as long as it is not. */
  get error(): CampaignError | undefined {
    return this.#error
  }

  /**
   * Asks for one thing.
   *
   * @param words - each without spaces: names are given as `encodeName` makes them
   * @throws TransferError with the code that the agent answers; `E_COPY_LOST` when it has ended, ProcessError `E_CONNECTION_LOST` when the
   * connection has; ProcessError `E_ABORTED`: then it goes on there all the same
   */
  async request(
    verb: string,
    words: readonly (string | number)[],
    payload?: Uint8Array | string,
    signal?: AbortSignal,
  ): Promise<AgentAnswer> {
    if (this.#error !== undefined) throw this.#error
    if (this.#isEnding) throw this.#lost('was told to end')
    if (isAborted(signal)) throw givenUp(this.host)
    const data = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
    this.#number += 1
    const number = this.#number
    const line = [number, verb, ...words, ...(data === undefined ? [] : [`#${data.length}`])].join(' ')
    const answer = makeDeferred<AgentAnswer>()
    this.#waiting.set(number, { verb, resolve: answer.resolve, reject: answer.reject })
    const onAbort = (): void => answer.reject(givenUp(this.host))
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#write(data === undefined ? Buffer.from(`${line}\n`) : Buffer.concat([Buffer.from(`${line}\n`), data]))
    try {
      return await answer.promise
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
  }

  /** @returns what ends it */
  onEvent(listener: (event: AgentEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The agent ends; parts stay where they are. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isEnding && !this.#isOver) {
      void this.request('bye', []).catch(() => undefined)
      this.#isEnding = true
      this.#channel.end()
    }
    if (!(await settlesWithin(this.closed, BYE_MS))) {
      this.#channel.close()
      this.#end(this.#lost('did not end'))
    }
  }

  #write(data: Buffer): void {
    // That nobody reads any more is seen as the end of the channel.
    this.#channel.write(data).catch(() => undefined)
  }

  #take(word: AgentWord): void {
    this.#heard = performance.now()
    if (word.kind === 'event') {
      // Somebody else wants what it holds, and it does not know whether we are still here.
      if (word.name === 'asked') void this.request('ping', []).catch(() => undefined)
      for (const listener of [...this.#listeners]) listener({ name: word.name, words: word.words })
      return
    }
    if (word.kind !== 'answer') throw new Error('it greeted twice')
    const waiting = this.#waiting.get(word.number)
    if (waiting === undefined) throw new Error(`it answered ${word.number}, which was not asked`)
    this.#waiting.delete(word.number)
    const [state, ...words] = word.words
    if (state === 'ok') waiting.resolve({ words, payload: word.payload })
    else waiting.reject(agentError(words[0] ?? '', words[1] ?? '%'))
  }

  #end(error: CampaignError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#stopPings()
    const reason = error ?? this.#lost('ended')
    this.#error = reason
    for (const { verb, resolve, reject } of this.#waiting.values()) {
      if (verb === 'bye') resolve({ words: [], payload: Buffer.alloc(0) })
      else reject(reason)
    }
    this.#waiting.clear()
    this.#closed.resolve(this.#isEnding ? undefined : reason)
  }

  #lost(what: string): TransferError {
    return new TransferError('E_COPY_LOST', `The agent on ${this.host} ${what}`, { data: { host: this.host } })
  }
}

/** The error that stands behind a code and a message of an agent. */
export function agentError(code: string, message: string): TransferError {
  const known = code in ERROR_CODES ? (code as ErrorCode) : 'E_TRANSFER'
  const said = readableName(decodeName(message))
  const text = known === code ? said : `${code}: ${said}`
  return new TransferError(known, text.charAt(0).toUpperCase() + text.slice(1), { suggestions: SUGGESTIONS[known] ?? [] })
}

function givenUp(host: string): ProcessError {
  return new ProcessError('E_ABORTED', `The work on ${host} was given up`)
}

interface StartedAgent {
  readonly host: string
  readonly kind: AgentKind
  readonly pid: number
  readonly home: ByteName
  readonly channel: SshChannel
  /** Everything that it says after its hello; called once. What the listener throws ends the agent. */
  take(listener: (word: AgentWord) => void): void
  /** Resolves when the channel has ended: with the reason. */
  readonly ended: Promise<CampaignError>
}

/** @returns why this kind cannot work there */
async function startAgent(
  reached: ReachedHost,
  host: string,
  kind: AgentKind,
  program: string,
  signal?: AbortSignal,
): Promise<StartedAgent | string> {
  if (isAborted(signal)) throw givenUp(host)
  const token = randomBytes(8).toString('hex')
  const { command, input } = bootstrapAgent(kind, token, program)
  const channel = await reached.pooled.exec(command, { signal })
  const reader = new AgentReader(token)
  const first = makeDeferred<AgentWord>()
  const failed = makeDeferred<CampaignError>()
  let stderr = ''
  let early: AgentWord[] = []
  let isGreeted = false
  let listener = (word: AgentWord): void => void early.push(word)
  channel.listen((stream, chunk) => {
    if (stream === 'stderr') {
      if (stderr.length < STDERR_KEPT) stderr += chunk.toString('utf8')
      return
    }
    try {
      for (const word of reader.read(chunk)) {
        if (isGreeted) listener(word)
        else first.resolve(word)
        isGreeted = true
      }
    } catch (error) {
      failed.resolve(new TransferError('E_AGENT', `What came from the agent on ${host} cannot be read: ${messageOf(error)}`))
      channel.close()
    }
  })
  const ended = channel.closed.then(({ exitCode, signal: killed, lost }): CampaignError => {
    if (lost !== undefined) return lost
    const how = killed === undefined ? `exit code ${exitCode ?? 'unknown'}` : killed
    const said = stderr.trim().slice(-SAID_SHOWN)
    return new TransferError('E_COPY_LOST', `The agent on ${host} ended (${how})${said === '' ? '' : `: ${said}`}`, {
      data: { host, exitCode: exitCode ?? null, signal: killed ?? null, stderr: said },
    })
  })
  // That nobody reads it is seen as the end of the channel.
  channel.write(input).catch(() => undefined)
  const { connectTimeout } = reached.connection
  const late = makeDeferred<'late'>()
  const aborted = makeDeferred<'aborted'>()
  const onAbort = (): void => aborted.resolve('aborted')
  const stopTimer = startTimer(connectTimeout, () => late.resolve('late'))
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    const what = await Promise.race([first.promise, failed.promise, ended, late.promise, aborted.promise])
    if (what === 'aborted') throw givenUp(host)
    if (what === 'late') return `no answer in ${connectTimeout / 1000} s${quoted(reader.noise)}`
    if (isCampaignError(what)) {
      await pause(LAST_WORDS_MS)
      const { lost, exitCode } = await channel.closed
      if (lost !== undefined) throw lost
      return exitCode === 127 && stderr.trim() === '' ? 'not found' : `exit code ${exitCode ?? 'unknown'}${quoted(stderr || reader.noise)}`
    }
    if (what.kind === 'unfit') return readableName(decodeName(what.reason))
    if (what.kind !== 'hello') return 'it did not say hello'
    if (what.version !== AGENT_PROTOCOL || what.agent !== kind) return `it speaks version ${what.version} (${what.agent})`
    isGreeted = true
    const { pid } = what
    return {
      host,
      kind,
      pid,
      home: decodeName(what.home),
      channel,
      take: (taker) => {
        listener = taker
        const before = early
        early = []
        before.forEach(taker)
      },
      ended: Promise.race([failed.promise, ended]),
    }
  } finally {
    stopTimer()
    signal?.removeEventListener('abort', onAbort)
    if (!isGreeted || isAborted(signal)) channel.close()
  }
}

function quoted(text: string): string {
  const said = text.trim().slice(-SAID_SHOWN)
  return said === '' ? '' : `: ${JSON.stringify(said)}`
}
