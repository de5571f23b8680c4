import { SchedulerError } from '../../errors.js'
import type { ProcessResult } from '../../model/process.js'
import type { ProcessBackend } from '../../ports/process-backend.js'
import type { CallOptions } from '../../ports/scheduler.js'
import type { CommandAnswer, SiteCommand } from '../../ports/scheduler-dialect.js'

/** An answer about 100,000 jobs has room in it. */
const KEEP_BYTES = 64 * 1024 * 1024
const KILL_GRACE_MS = 1_000

/** A command that did not run, or whose end nobody has seen. */
export interface UnsentCommand {
  readonly error: SchedulerError
  /** True when it is certain that nothing was started. */
  readonly isUnsent: boolean
}

/** What of a failed start makes it certain that the command was never begun: the site was not reached. */
const NEVER_REACHED = /^E_(LOGIN_|HOST_|SSH_CONFIG)/

/** Runs the commands of a scheduler on its site, each within a time limit. */
export class SiteCommands {
  readonly #processes: ProcessBackend
  readonly #timeoutMs: number
  readonly #scheduler: string

  constructor(options: { readonly processes: ProcessBackend; readonly timeoutMs: number; readonly scheduler: string }) {
    this.#processes = options.processes
    this.#timeoutMs = options.timeoutMs
    this.#scheduler = options.scheduler
  }

  /**
   * Runs a question.
   *
   * @throws SchedulerError `E_SCHEDULER_SILENT` when the site was not reached, with the connection's code in `data.code`;
   * `E_SCHEDULER_MISSING` when it has no such program; the signal's reason
   */
  async ask(command: SiteCommand, { signal }: CallOptions = {}): Promise<CommandAnswer> {
    signal?.throwIfAborted()
    const answer = await this.try(command, { signal })
    if ('error' in answer) {
      if (signal?.aborted === true) throw signal.reason
      throw answer.error
    }
    return answer
  }

  /** Runs a command of which it matters whether it was begun. Never throws. */
  async try(command: SiteCommand, { signal }: CallOptions = {}): Promise<CommandAnswer | UnsentCommand> {
    await using running = await this.#processes.start(
      {
        command: command.argv,
        ...(command.env === undefined ? {} : { env: command.env }),
        ...(command.stdin === undefined ? {} : { stdin: { text: command.stdin } }),
        timeoutMs: this.#timeoutMs,
        graceMs: KILL_GRACE_MS,
        keepBytes: KEEP_BYTES,
        spillTo: false,
      },
      { signal },
    )
    return this.#answerOf(command, await running.result)
  }

  #answerOf(command: SiteCommand, result: ProcessResult): CommandAnswer | UnsentCommand {
    const { outcome, exitCode, stdout, stderr } = result
    const program = programOf(command)
    if (outcome === 'exited' && exitCode === 127 && command.argv[0] === 'env' && NOT_FOUND_BY_ENV.test(stderr.text)) {
      return { error: this.#missing(program, firstLine(stderr.text), result.host), isUnsent: true }
    }
    if (outcome === 'not-started' || outcome === 'unreachable') {
      const { code = 'unknown', message = 'no reason was given', suggestions = [] } = result.error ?? {}
      if (code === 'E_PROGRAM_NOT_FOUND') return { error: this.#missing(program, message, result.host), isUnsent: true }
      const where = result.host === undefined ? 'this machine' : result.host
      const error = new SchedulerError('E_SCHEDULER_SILENT', `${program} could not be asked on ${where}: ${message}`, {
        suggestions,
        data: { code, program, ...(result.host === undefined ? {} : { host: result.host }) },
      })
      return { error, isUnsent: outcome === 'not-started' || (result.startedAt === undefined && NEVER_REACHED.test(code)) }
    }
    if (outcome === 'canceled') {
      return { error: new SchedulerError('E_SCHEDULER_SILENT', `${program} was given up before it answered`), isUnsent: false }
    }
    if (stdout.truncated) {
      const error = new SchedulerError('E_SCHEDULER_SILENT', `${program} answered ${stdout.bytes} bytes, more than can be read`)
      return { error, isUnsent: false }
    }
    return {
      exitCode: outcome === 'exited' ? exitCode : undefined,
      timedOut: outcome === 'timed-out',
      stdout: stdout.text,
      stderr: stderr.text,
    }
  }

  #missing(program: string, message: string, host: string | undefined): SchedulerError {
    return new SchedulerError('E_SCHEDULER_MISSING', `${program} is not on ${host ?? 'this machine'}: ${message}`, {
      suggestions: [
        `Name the machine on which ${this.#scheduler} is used as "host" of the site`,
        `Put the folder of ${program} into the PATH of logins there`,
      ],
      data: { code: 'E_PROGRAM_NOT_FOUND', program, ...(host === undefined ? {} : { host }) },
    })
  }
}

/** What `env` says of a program that it does not find. */
const NOT_FOUND_BY_ENV = /^env: .*No such file or directory/

/** Of a command, also where `env -u NAME` stands in front of it. */
function programOf({ argv }: SiteCommand): string {
  return (argv[0] === 'env' && argv[1] === '-u' ? argv[3] : undefined) ?? argv[0]
}

/** The first line of a text with something in it, not too long for one line of a message. */
export function firstLine(text: string): string {
  const line = text.split('\n').find((one) => one.trim() !== '') ?? ''
  return line.trim().slice(0, 300)
}

/** A question that was not answered. */
export function silence(scheduler: string, why: string, suggestions: readonly string[] = []): SchedulerError {
  return new SchedulerError('E_SCHEDULER_SILENT', `${scheduler} does not answer: ${why}`, {
    suggestions: suggestions.length > 0 ? suggestions : ['Wait: jobs that it has go on, and nothing changes until it answers'],
  })
}
