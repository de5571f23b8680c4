import { setTimeout as pause } from 'node:timers/promises'
import { ProcessError } from '../errors.js'
import type { ProcessSpec } from '../model/process.js'
import type { OutputStream, RunningProcess, StartOptions } from '../ports/process-backend.js'
import { printable } from '../ssh/connect-errors.js'
import type { ChannelEnd, SshChannel } from '../ssh/connection.js'
import type { PooledConnection } from '../ssh/pooled-connection.js'
import { makeDeferred, settlesWithin, startTimer } from '../util/async.js'
import {
  type ChannelLeader,
  channelCommand,
  channelInput,
  channelScript,
  INPUT_END,
  inputPieces,
  sweepScript,
  treeScript,
} from './channel-script.js'
import { explainStartError, makeMarker, type StartError } from './command.js'
import { EndMark, explainStatus } from './end-mark.js'
import { MarkedOutput } from './marked-output.js'
import { makeToken } from './runner/bootstrap.js'
import { DEFAULT_GRACE_MS, endedProcess, type ProcessControls, SupervisedProcess } from './supervised-process.js'

/** How long the second channel that signals a tree may take. */
const TREE_PATIENCE_MS = 10_000
/** How long the channel that ends what a killed runner left may take: the grace, and many looks at a loaded host. */
const SWEEP_PATIENCE_MS = 30_000
/** A host that is short of processes or sessions is asked again. */
const TREE_TRIES = 10
const SIGNAL_TRIES = 2
const TREE_PAUSE_MS = 200
/** After the exit, silence for so long means that somebody else holds the output open. */
const HELD_OUTPUT_MS = 1_000
/** Of what was said instead of a command's begin, in the message. */
const MOST_NOISE = 500
/** End of file, typed on a terminal. */
const EOT = '\x04'

export interface PlainStart {
  readonly pooled: PooledConnection
  readonly spec: ProcessSpec
  readonly options: StartOptions
  /** As the user wrote it. */
  readonly host: string
  /** How long the shell there may take until the command begins. */
  readonly patienceMs: number
  /** Channels of this connection share a session; each has a process group of its own. */
  readonly sharedSession?: boolean
}

/**
 * Runs a command on a channel of its own: where no runner starts, and on a pseudo terminal.
 *
 * @returns when it is known whether the command began
 * @throws ProcessError when there is no channel to be had
 */
export async function startOnChannel({ pooled, spec, options, host, patienceMs, sharedSession }: PlainStart): Promise<RunningProcess> {
  const token = makeToken()
  const marker = makeMarker()
  const pty = spec.pty === true
  const channel = await pooled.exec(channelCommand(token, pty), { pty, signal: options.signal })
  const began = makeDeferred<RunningProcess>()
  let command: SupervisedChannel | undefined
  /** The streams come on ways of their own: what the command says on one may be here before the other tells that it began. */
  const early: { readonly stream: OutputStream; readonly chunk: Buffer }[] = []
  const send = (data: string | Uint8Array): void => {
    channel.write(typeof data === 'string' ? Buffer.from(data) : data).catch(() => {})
  }
  // Where the end of the channel is all that is seen, a shell says how the command ended.
  const watched = channel.exited === undefined && !pty
  const exited = watched ? makeDeferred<Ending>() : undefined
  const graceSeconds = Math.ceil((spec.graceMs ?? DEFAULT_GRACE_MS) / 1000)
  const script = channelScript({ spec, token, marker, watched, graceSeconds, sharedSession: sharedSession === true })
  const input = channelInput(spec)

  // Before the command begins the terminal is raw, and an end of file would be a character like others.
  const typeInput = (): void => {
    if (input !== undefined) send(input)
    if (input !== undefined && input.length > 0 && input.at(-1) !== 0x0a) send(EOT)
    if (spec.stdin !== 'pipe') send(EOT)
  }
  const onLine = (line: string): void => {
    const [kind = '', ...words] = line.split(' ')
    if (kind === 'S') {
      const [pid = 0, session = 0, guard = 0] = words.map(Number)
      command = superviseChannel({ channel, spec, marker, options, host, pooled, leader: { pid, session, guard }, exited: exited?.promise })
      for (const { stream, chunk } of early.splice(0)) command.take(stream, chunk)
      if (pty) typeInput()
      began.resolve(command.supervised)
    } else began.resolve(endedProcess('not-started', explainFailure(spec, words)))
  }
  const onOutput = (stream: OutputStream) => (chunk: Buffer) => {
    if (spec.outputFiles !== undefined) return
    if (command === undefined) early.push({ stream, chunk })
    else command.take(stream, chunk)
  }
  const stdout = new MarkedOutput(token, onLine, onOutput('stdout'))
  const ending = new EndMark(token, (status) => exited?.resolve(explainStatus(status)), onOutput('stderr'))
  const stderr = new MarkedOutput(token, () => {}, watched ? (chunk) => ending.push(chunk) : onOutput('stderr'))
  // Said before the command begins: by start-up files, or by what stands in the place of a shell.
  const noise: Record<OutputStream, string> = { stdout: '', stderr: '' }
  const note = (stream: OutputStream, chunk: Buffer): void => {
    if (noise[stream].length < MOST_NOISE) noise[stream] += chunk.toString('utf8', 0, MOST_NOISE)
  }
  const take = (stream: OutputStream, chunk: Buffer): void => {
    const marked = stream === 'stdout' ? stdout : stderr
    if (!marked.found) note(stream, chunk)
    if (!marked.push(chunk)) channel.close()
  }
  if (pty) {
    // Nothing is written to the terminal before it is ready: it would be shown.
    const ready = new MarkedOutput(
      token,
      () => send(script),
      (chunk) => take('stdout', chunk),
    )
    // What a terminal shows is all stdout; on stderr a client may say good-bye.
    channel.listen((stream, chunk) => {
      if (!ready.found) note(stream, chunk)
      if (stream === 'stdout' && !ready.push(chunk)) channel.close()
    })
  } else {
    channel.listen(take)
    send(script)
    if (input !== undefined) send(input)
  }

  const cancelPatience = startTimer(patienceMs, () => {
    const message = `Logged in on ${host}, but nothing was started there within ${patienceMs / 1000} s: its shell start-up files may wait for something`
    began.resolve(endedProcess('unreachable', { code: 'E_RUNNER', message }))
    channel.close()
  })
  const onAbort = (): void => {
    began.resolve(endedProcess('canceled'))
    channel.close()
  }
  options.signal?.addEventListener('abort', onAbort, { once: true })
  void channel.closed.then(({ lost, exitCode }) => {
    ending.flush()
    const lines = `${noise.stdout}\n${noise.stderr}`.split(/[\r\n]+/).filter((line) => line.trim() !== '')
    const said = printable(lines.map((line) => line.trim()).join('; '))
    const message = `No command could be started on ${host}: its login shell ended with exit code ${exitCode ?? 'unknown'}${said && `, saying ${JSON.stringify(said.slice(0, MOST_NOISE))}`}`
    began.resolve(endedProcess('unreachable', lost === undefined ? { code: 'E_RUNNER', message } : lost))
  })
  try {
    return await began.promise
  } finally {
    cancelPatience()
    options.signal?.removeEventListener('abort', onAbort)
  }
}

function explainFailure(spec: ProcessSpec, [stage = '', code = '']: readonly string[]): StartError {
  if (stage === 'stdout' || stage === 'stderr') return { code, message: `The file for its ${stage} cannot be opened (${code})` }
  return explainStartError(spec, code, `${code} at ${stage}`, stage)
}

export interface ChannelProcess {
  readonly channel: SshChannel
  readonly spec: ProcessSpec
  readonly marker: string
  readonly options: StartOptions
  readonly host: string
  readonly pooled: PooledConnection
  /** Undefined where nothing is known but the channel: closing it is all that can be done. */
  readonly leader: ChannelLeader | undefined
  /** How the command ended, by somebody who watches it; else the channel says it. */
  readonly exited?: Promise<Ending> | undefined
}

type Ending = Pick<ChannelEnd, 'exitCode' | 'signal'>

export interface SupervisedChannel {
  readonly supervised: SupervisedProcess
  /** Hands over what the command printed. */
  readonly take: (stream: OutputStream, chunk: Buffer) => void
}

/** Supervises a command that has a channel of its own. */
export function superviseChannel(process: ChannelProcess): SupervisedChannel {
  const { channel, spec, marker, options, host, pooled, leader } = process
  let ended = false
  let closed = false
  let paused = 0
  let told: Ending | undefined
  /** The last signal that we sent. */
  let sent: NodeJS.Signals | undefined
  let seen: readonly number[] = leader === undefined ? [] : [leader.pid]
  let pieces = 0
  const close = (): void => {
    closed = true
    channel.close()
  }
  const ask = async (signal: NodeJS.Signals | undefined, leaderEnded: boolean): Promise<readonly number[] | undefined> =>
    leader === undefined ? undefined : askTree(pooled, (token) => treeScript(token, leader, marker, signal, leaderEnded))
  const controls: ProcessControls = {
    pid: leader?.pid ?? 0,
    host,
    // The script for the tree wakes what is stopped.
    signalGroup: () => {},
    signalTree: async (signal, leaderEnded) => {
      sent = signal
      for (let tries = 0; leader !== undefined && !pooled.lost && tries < SIGNAL_TRIES; tries += 1) {
        const found = await ask(signal, leaderEnded)
        // As long as the leader lives, somebody is found.
        if (ended || (found !== undefined && (leaderEnded || found.length > 0))) return
        await pause(TREE_PAUSE_MS)
      }
      // Without a second session, the end of the channel tells the guard, and a terminal hangs up.
      if (!ended) close()
    },
    living: async (leaderEnded) => {
      for (let tries = 0; leader !== undefined && !pooled.lost && tries < TREE_TRIES; tries += 1) {
        const found = await ask(undefined, leaderEnded)
        if (found !== undefined) {
          seen = found
          return found
        }
        await pause(TREE_PAUSE_MS)
      }
      // Nobody could be asked: whoever was there last may be there still.
      return pooled.lost ? [] : seen
    },
    write: async (data) => {
      if (ended) throw new ProcessError('E_STDIN', `The command on ${host} has ended`)
      await channel.write(leader === undefined || spec.pty === true ? data : Buffer.from(inputPieces(data)))
    },
    closeStdin: () => {
      if (leader === undefined) channel.end()
      else channel.write(Buffer.from(spec.pty === true ? EOT : INPUT_END)).catch(() => {})
    },
    drop: close,
    pauseUntil: (_stream, ready) => {
      paused += 1
      channel.pause()
      void ready.then(() => {
        paused -= 1
        if (paused === 0) channel.resume()
      })
    },
    held: () => paused > 0,
  }
  const supervised = new SupervisedProcess(spec, marker, controls, options, spec.outputFiles === undefined ? 2 : 0)
  const exited = process.exited ?? channel.exited
  void exited?.then(async ({ exitCode, signal }) => {
    told = { exitCode, signal }
    // The server says so before it has sent all that the command wrote. Only silence tells that somebody else holds the output.
    for (let seen = -1; !ended && (paused > 0 || seen !== pieces); ) {
      seen = pieces
      await pause(HELD_OUTPUT_MS)
    }
    ended = true
    supervised.takeExit(exitCode, signal)
  })
  void channel.closed.then((end) => {
    ended = true
    const { lost } = end
    // A watching shell that said nothing was ended together with the command.
    const { exitCode, signal } = told ?? (process.exited === undefined ? end : { exitCode: undefined, signal: sent })
    if (lost !== undefined) void supervised.takeLoss({ code: lost.code, message: lost.message })
    else if (exitCode === undefined && signal === undefined && !closed) {
      void supervised.takeLoss({ code: 'E_CONNECTION_LOST', message: `${host} ended the command without saying how it ended` })
    } else {
      if (spec.outputFiles === undefined) for (let stream = 0; stream < 2; stream += 1) supervised.takeStreamEnd()
      supervised.takeExit(exitCode, signal)
    }
  })
  return {
    supervised,
    take: (stream, chunk) => {
      pieces += 1
      supervised.takeOutput(stream, chunk)
    },
  }
}

/**
 * Ends what a runner that was killed has left on its host.
 *
 * @param markers - of its commands
 * @returns how many processes were found, and those that could not be ended; undefined when nobody could be asked
 */
export async function sweepHost(
  pooled: PooledConnection,
  markers: readonly string[],
  graceSeconds: number,
): Promise<{ readonly found: number; readonly left: readonly number[] } | undefined> {
  const answer = await askTree(pooled, (token) => sweepScript(token, markers, graceSeconds), SWEEP_PATIENCE_MS)
  if (answer === undefined) return undefined
  const [found = 0, ...left] = answer
  return { found, left }
}

/** @returns the living processes of a tree, undefined when nobody could be asked */
async function askTree(
  pooled: PooledConnection,
  script: (token: string) => string,
  patienceMs = TREE_PATIENCE_MS,
): Promise<readonly number[] | undefined> {
  const token = makeToken()
  let channel: SshChannel
  try {
    channel = await pooled.exec(channelCommand(token, false), { urgent: true })
  } catch {
    return undefined
  }
  let found: readonly number[] | undefined
  const output = new MarkedOutput(
    token,
    (line) => {
      found = line.split(' ').slice(1).map(Number)
    },
    () => {},
  )
  channel.listen((stream, chunk) => {
    if (stream === 'stdout') output.push(chunk)
  })
  channel.write(Buffer.from(script(token))).catch(() => {})
  channel.end()
  if (!(await settlesWithin(channel.closed, patienceMs))) channel.close()
  return found
}
