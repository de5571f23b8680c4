import { spawn } from 'node:child_process'
import { readFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { ProcessError, systemCodeOf } from '../errors.js'
import { isAborted, settlesWithin } from '../util/async.js'
import type { Askpass, Questioner } from './askpass.js'
import type { SshTarget } from './connection.js'
import { MuxControl } from './mux-control.js'
import { explainFailure, explainSilence, methodOf, reasonOfForward } from './openssh-messages.js'
import { PausableTimer } from './pausable-timer.js'

/** A master that nobody holds ends by itself after so long; we hold ours as long as we live. */
const PERSIST_S = 10
/** Beyond ssh's own limit, so that ssh can say what it was waiting for. */
const EXTRA_MS = 500
const LONGEST_LOG = 1 << 20
const END_PATIENCE_MS = 2000
/** A login that went well is not lost because its master, on a busy machine, needs a while to answer. */
const FIRST_ANSWER_MS = 10_000

/** A multiplexing master: a login that carries sessions. */
export interface Master {
  readonly path: string
  readonly control: MuxControl
  /** Ours: we end it. The user's own is left alone. */
  readonly own: boolean
  /** What it wrote; empty for the user's own. */
  readLog(): string
  /** How long the log is now; a log that has grown long is emptied first. */
  markLog(): number
  end(): Promise<void>
}

export interface MasterSettings {
  readonly program: string
  readonly path: string
  readonly askpass: Askpass | undefined
  /** The host on the way, over whose master this one connects. */
  readonly way: { readonly target: SshTarget; readonly master: Master } | undefined
  readonly signal: AbortSignal | undefined
}

/** The user's own master as ours to use, not to end. */
export function adoptMaster(path: string, control: MuxControl): Master {
  return { path, control, own: false, readLog: () => '', markLog: () => 0, end: async () => control.close() }
}

/**
 * Logs in: `ssh -M -N`, which goes to the background when the login is done.
 *
 * @throws ProcessError `E_HOST_*`, `E_LOGIN_*`, `E_SSH_CONFIG`, `E_PROGRAM_NOT_FOUND`, `E_ABORTED`
 */
export async function startMaster(target: SshTarget, settings: MasterSettings): Promise<Master> {
  const { path, signal, way } = settings
  if (isAborted(signal)) throw givenUp(target)
  const log = `${path}.log`
  const readLog = (): string => readText(log)
  const wayMark = way?.master.markLog() ?? 0
  const questioner = settings.askpass?.open(target.name, {
    onAsking: (isAsking) => (isAsking ? limit.pause() : limit.resume()),
    onSilence: () => child.kill('SIGKILL'),
    mayAskForKey: () => ['publickey', undefined].includes(methodOf(readLog())),
  })
  const child = spawn(settings.program, masterWords(target, settings, log), {
    // No stdout either: the master lives on in the background and would hold it.
    stdio: ['ignore', 'ignore', 'ignore'],
    env: environmentFor(settings, questioner),
  })
  const onAbort = (): void => void child.kill('SIGKILL')
  signal?.addEventListener('abort', onAbort, { once: true })
  const limit = new PausableTimer(target.connectTimeoutMs > 0 ? target.connectTimeoutMs + EXTRA_MS : 0, onAbort)
  try {
    const ended = await new Promise<number | undefined>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code) => resolve(code ?? undefined))
    })
    if (isAborted(signal)) throw givenUp(target)
    if (limit.passed) throw explainSilence(target, readLog())
    const control = ended === 0 ? await MuxControl.open(path, FIRST_ANSWER_MS) : undefined
    if (control !== undefined) return makeMaster(path, control, log)
    throw explainFailure(target, readLog(), {
      unanswered: questioner?.unanswered ?? [],
      wrong: questioner?.wrong ?? false,
      way: wayReason(target, way, wayMark),
    })
  } catch (error) {
    rmSync(log, { force: true })
    rmSync(`${path}.way`, { force: true })
    throw systemCodeOf(error) === 'ENOENT' ? noProgram(settings.program, target, error) : error
  } finally {
    limit.stop()
    signal?.removeEventListener('abort', onAbort)
    questioner?.forget()
  }
}

function makeMaster(path: string, control: MuxControl, log: string): Master {
  const readLog = (): string => readText(log)
  return {
    path,
    control,
    own: true,
    readLog,
    markLog: () => {
      const size = statSync(log, { throwIfNoEntry: false })?.size ?? 0
      if (size < LONGEST_LOG) return size
      truncateSync(log)
      return 0
    },
    end: async () => {
      control.terminate()
      if (!(await settlesWithin(control.closed, END_PATIENCE_MS))) {
        killMaster(control.pid, 'SIGKILL')
        control.close()
      }
      for (const file of [path, log, `${path}.way`]) rmSync(file, { force: true })
    },
  }
}

/** The process number is that of a master whose socket is still open, so it is no other's. */
export function killMaster(pid: number, signal: NodeJS.Signals): void {
  try {
    if (pid > 1) process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

/** @source ssh(1), ssh_config(5), OpenSSH 9.2: of several values the first counts, so ours stand before the user's */
function masterWords(target: SshTarget, { path, askpass, way, program }: MasterSettings, log: string): string[] {
  const { configFile, destination } = target.openssh
  const seconds = Math.max(1, Math.ceil(target.connectTimeoutMs / 1000))
  const options = [
    `ControlPath=${path}`,
    `ControlPersist=${PERSIST_S}`,
    'ControlMaster=yes',
    // Its log is read for the cause of a failure: at this level it names keys and fingerprints.
    'LogLevel=DEBUG1',
    `BatchMode=${askpass === undefined ? 'yes' : 'no'}`,
    `StrictHostKeyChecking=${target.hostKeys === 'strict' ? 'yes' : 'accept-new'}`,
    ...(target.connectTimeoutMs > 0 ? [`ConnectTimeout=${seconds}`] : []),
    `ServerAliveInterval=${target.keepAliveMs > 0 ? Math.max(1, Math.round(target.keepAliveMs / 1000)) : 0}`,
    'ServerAliveCountMax=3',
    'ConnectionAttempts=1',
    // What the configuration wants for a person's session is not for us.
    'ClearAllForwardings=yes',
    'PermitLocalCommand=no',
    'RemoteCommand=none',
    'RequestTTY=no',
    'ForwardX11=no',
    'Tunnel=no',
    'VisualHostKey=no',
    ...(way === undefined ? [] : [`ProxyCommand=${wayCommand(program, way, path)}`]),
    ...masterOptions(target),
  ]
  return [...fileWords(configFile), '-E', log, '-M', '-N', ...options.flatMap((option) => ['-o', option]), '--', destination]
}

/** The user's own master is looked for by us, not by ssh. */
function masterOptions(target: SshTarget): string[] {
  return target.openssh.options.filter((option) => !option.startsWith('ControlPath='))
}

export function fileWords(configFile: string | false | undefined): string[] {
  return configFile === undefined ? [] : ['-F', configFile === false ? 'none' : configFile]
}

/** A stream over the master of the host on the way, as a ProxyCommand. It cannot log in by itself. */
function wayCommand(program: string, way: NonNullable<MasterSettings['way']>, path: string): string {
  const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`).replaceAll('%', '%%')}'`
  const socket = way.master.path.replaceAll('%', '%%')
  const words = [program, '-F', 'none', '-S', socket, '-E', `${path}.way`, '-o', 'ControlMaster=no', '-o', 'ProxyCommand=false']
  return `${words.map(quote).join(' ')} -W '[%h]:%p' -- ${quote(way.target.openssh.destination)}`
}

function wayReason(
  target: SshTarget,
  way: MasterSettings['way'],
  mark: number,
): { readonly host: string; readonly reason: string } | undefined {
  if (way === undefined) return undefined
  const reason = reasonOfForward(way.master.readLog().slice(mark), target.address, target.port)
  return reason === undefined ? undefined : { host: way.target.name, reason }
}

function environmentFor(settings: MasterSettings, questioner: Questioner | undefined): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, LC_ALL: 'C', ...questioner?.environment }
  // ssh hands a ProxyCommand to this shell; ours is written for sh.
  if (settings.way !== undefined) env['SHELL'] = '/bin/sh'
  return env
}

function givenUp(target: SshTarget): ProcessError {
  return new ProcessError('E_ABORTED', `The login on ${target.name} was given up`, { data: { host: target.name } })
}

function noProgram(program: string, target: SshTarget, cause: unknown): ProcessError {
  return new ProcessError(
    'E_PROGRAM_NOT_FOUND',
    `${target.name} is to be reached with the system's ssh client, and there is no ${program}`,
    {
      suggestions: ['Install the OpenSSH client (openssh-client), or take the connector ssh2'],
      cause,
    },
  )
}
