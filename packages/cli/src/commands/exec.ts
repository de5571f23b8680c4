import { fstatSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Remote, SshProcess } from '@cahier/core/hosts'
import { ConfigError } from '@cahier/core/spi'
import { Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { drained } from '../drained.js'
import { readWords, scriptCommand, terminalCommand } from '../exec-command.js'
import {
  countHosts,
  type ExecCounts,
  formatEnd,
  formatFaults,
  formatGroups,
  formatProgress,
  formatShortened,
  hostJson,
} from '../exec-text.js'
import { EXIT_CODES } from '../exit-codes.js'
import { chooseHosts, connectionFlags, connectionOptions, hostFlags, requireReadable } from '../host-flags.js'
import { LabelledLines } from '../labelled-lines.js'
import { LiveLine } from '../live-line.js'
import { listenForStop } from '../stop-signals.js'

type Core = typeof import('@cahier/core/hosts')

/** Of each stream of a host, when outputs are compared or written as JSON. */
const KEEP_BYTES = 1 << 20
/** Given to all hosts from memory. */
const MOST_STDIN_BYTES = 64 << 20

export default class Exec extends CahierCommand {
  static override summary = 'Run a command on many hosts.'
  static override description =
    `One word after -- is text for a shell there ('df -h | tail -1'); several words are executed there as they are, without a shell.
Each line of output comes as soon as it is whole, behind the name of its host; with -b, hosts that said the same come together at the end.
Hosts where the command failed, and hosts that were not reached, are listed at the end on standard error, each with its cause.
Standard input is not given to the commands, unless --stdin is.
Ctrl-C ends the commands on all hosts (SIGTERM, then SIGKILL after 5 s); twice: leave now, and the hosts end them by themselves.
The exit code is 0 when all went well, else the largest one: that of a command, 124 for a time limit, 128 and its number for a signal,
255 for a host that was not reached or a command that could not be started; 130 after Ctrl-C.
2 also when the command line or cahier.config cannot be understood: then no host was asked.`
  static override usage = 'exec -w HOSTS [flags] -- COMMAND...'
  static override examples = [
    { description: 'On 64 hosts, what is the same told once', command: `<%= config.bin %> exec -w 'node[1-64]' -b -- uname -r` },
    {
      description: 'A group of cahier.config without one host, 30 s each',
      command: `<%= config.bin %> exec -w @compute -x node7 -t 30s -- 'df -h / | tail -1'`,
    },
    {
      description: 'A script with arguments, results as JSON lines',
      command: `<%= config.bin %> exec -w 'node[1-4]' --script check.sh --json -- /scratch 90`,
    },
  ]
  static override strict = false
  static override flags = {
    ...hostFlags({ greedy: true }),
    script: Flags.string({ description: 'Send this file to the hosts and run it; what follows -- are its arguments.', helpValue: 'FILE' }),
    gather: Flags.boolean({
      char: 'b',
      description: 'Show outputs that are the same once, under the names of their hosts.',
      exclusive: ['json'],
    }),
    'no-prefix': Flags.boolean({
      char: 'N',
      description: 'Show lines without the name of their host. What one host writes into a file or a pipe is then as it is, byte for byte.',
    }),
    fanout: Flags.integer({ char: 'f', description: 'Hosts at a time. Default: 64.', min: 1 }),
    timeout: Flags.string({
      char: 't',
      description: 'Time limit of each host, connection included, as 30s or 5min.',
      helpValue: 'DURATION',
    }),
    ...connectionFlags({ greedy: true }),
    pty: Flags.boolean({
      description: 'Run on a terminal there, joined to this one. For one host.',
      exclusive: ['gather', 'json', 'stdin', 'script'],
    }),
    stdin: Flags.boolean({
      description: 'Read standard input to its end, and give it to the command on every host.',
      exclusive: ['script'],
    }),
  }

  #begun = false

  async run(): Promise<ExecCounts & { readonly exitCode: number }> {
    const { argv, flags } = await this.parse(Exec)
    await requireReadable(flags)
    const words = argv as string[]
    const script = flags.script === undefined ? undefined : await readScript(flags.script)
    const stdin = script ?? (flags.stdin ? await readStandardInput() : undefined)
    const command = script === undefined ? readWords(words) : scriptCommand(script, words)
    // Not the whole core: what a command of a tenth of a second loads is felt.
    const core = await import('@cahier/core/hosts')
    await core.useConfiguration(flags.site === undefined ? {} : { site: flags.site })
    // Where a program or a pager shows what comes, or all of the terminal belongs to the command, the line would stand in the middle of it.
    const live = new LiveLine(process.stderr, flags.pty || isPipe(process.stdout) ? { TERM: 'dumb' } : process.env)
    const show = new Output(live, flags)
    using stop = listenForStop(
      (text) => live.write(process.stderr, `${text}\n`),
      () => {
        live.close()
        process.exit(EXIT_CODES.detached.code)
      },
      'Ending the commands on all hosts. Ctrl-C again leaves at once; the hosts then end them by themselves.',
    )
    const terminal = flags.pty && process.stdin.isTTY && process.stdout.isTTY ? process.stdout : undefined
    const remote = new core.Remote(
      terminal === undefined ? command : terminalCommand(command, terminal),
      chooseHosts(core, flags.hosts, flags.exclude),
      {
        values: false,
        ...(flags.fanout === undefined ? {} : { concurrency: flags.fanout }),
        connection: connectionOptions(flags),
        signal: AbortSignal.any([stop.signal, show.closed]),
        process: () => ({
          ...(flags.timeout === undefined ? {} : { timeout: flags.timeout }),
          ...(flags.pty
            ? { pty: true, stdin: 'pipe' as const, ...terminalType(terminal) }
            : stdin === undefined
              ? {}
              : { stdin: { text: stdin } }),
          // What is not shown at once is kept until the end.
          keepBytes: flags.gather || this.jsonEnabled() ? KEEP_BYTES : 0,
          spillTo: false,
        }),
      },
    )
    if (flags.pty && remote.processes.length !== 1) {
      throw new ConfigError('E_ARGUMENT', `--pty is for one host, not for ${remote.processes.length}`, {
        suggestions: ['Leave --pty out', 'Name one host'],
      })
    }
    const asItIs = flags.pty || (flags['no-prefix'] && remote.processes.length === 1 && !process.stdout.isTTY)
    for (const one of remote.processes) {
      one.lifecycleHandlers.push({
        end: () => {
          if (this.jsonEnabled()) this.logJson(hostJson(one))
          live.set(formatProgress(remote.processes))
        },
      })
      if (!flags.gather && !this.jsonEnabled()) show.follow(one, asItIs)
    }
    live.set(formatProgress(remote.processes))
    const release = flags.pty ? joinTerminal(remote.processes[0] as SshProcess) : undefined
    this.#begun = true
    await remote.run()
    release?.()
    live.close()
    if (flags.gather) show.groups(remote)
    const counts = countHosts(remote.processes)
    const exitCode = stop.signal.aborted ? EXIT_CODES.detached.code : remote.worstExitCode
    if (!this.jsonEnabled()) {
      if (flags.gather) for (const line of formatShortened(remote.processes, core)) this.logToStderr(line)
      this.tellFaults(remote.processes, show.closed.aborted, core)
    }
    // It is 1 already when output could not be written.
    this.endWith(Math.max(exitCode, Number(process.exitCode ?? 0)))
    await core.closeConnections()
    return { ...counts, exitCode }
  }

  /** One line for each object, so that programs can read while it goes on. */
  override logJson(json: unknown): void {
    process.stdout.write(`${JSON.stringify(json)}\n`)
  }

  /** Before the first host was asked, every error is one of the command line: 1 could be a command's. */
  protected override async catch(error: Error & { readonly code?: string }): Promise<void> {
    await super.catch(error)
    if (!this.#begun && process.exitCode === EXIT_CODES.error.code) process.exitCode = EXIT_CODES.usage.code
  }

  /** @param leftEarly - nobody reads any more, as with head: what was ended for that is no fault */
  private tellFaults(all: Remote['processes'], leftEarly: boolean, core: Core): void {
    const processes = leftEarly ? all.filter((one) => !one.killed && one.result !== undefined) : all
    const counts = countHosts(processes)
    if (counts.ok === counts.hosts) return
    const explain = (code: string): string => (code in core.ERROR_CODES ? core.ERROR_CODES[code as keyof typeof core.ERROR_CODES] : '')
    for (const line of formatFaults(processes, { foldHosts: core.foldHosts, explain })) this.logToStderr(line)
    if (counts.hosts > 1) this.logToStderr(formatEnd(counts))
  }
}

/** Writes what comes from the hosts. */
class Output {
  readonly #live: LiveLine
  readonly #prefix: boolean
  readonly #closed = new AbortController()

  constructor(live: LiveLine, flags: { readonly 'no-prefix': boolean }) {
    this.#live = live
    this.#prefix = !flags['no-prefix']
    // Whoever reads has left, as head does: nobody wants the rest. oclif's own listener throws the others into the event loop.
    process.stdout.removeAllListeners('error').on('error', (error: NodeJS.ErrnoException) => {
      if (this.closed.aborted) return
      this.#closed.abort()
      if (error.code === 'EPIPE') return
      live.write(process.stderr, `Error: standard output cannot be written: ${error.message}\n`)
      process.exitCode = Math.max(Number(process.exitCode ?? 0), EXIT_CODES.error.code)
    })
  }

  get closed(): AbortSignal {
    return this.#closed.signal
  }

  /** Shows output as it comes. @param raw - as it is, not in lines */
  follow(one: SshProcess, raw: boolean): void {
    for (const [stream, handlers] of [
      [process.stdout, one.stdoutHandlers],
      [process.stderr, one.stderrHandlers],
    ] as const) {
      const lines = new LabelledLines(this.#prefix ? `${one.host}: ` : '', (text) => this.#live.write(stream, text))
      handlers.push({
        bytes: (chunk) => {
          if (raw) this.#live.write(stream, chunk)
          else lines.push(chunk)
          return drained(stream)
        },
      })
      one.lifecycleHandlers.unshift({ end: () => lines.end() })
    }
  }

  groups(remote: Remote): void {
    process.stdout.write(formatGroups(remote.byOutput({ stream: 'stdout', byExitCode: false })))
    process.stderr.write(formatGroups(remote.byOutput({ stream: 'stderr', byExitCode: false })))
  }
}

function isPipe(stream: { readonly fd: number }): boolean {
  try {
    const status = fstatSync(stream.fd)
    return status.isFIFO() || status.isSocket()
  } catch {
    return false
  }
}

function terminalType(terminal: unknown): { readonly env?: Readonly<Record<string, string>> } {
  const { TERM } = process.env
  return terminal === undefined || TERM === undefined ? {} : { env: { TERM } }
}

async function readScript(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file)
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', `the script ${file} cannot be read: ${(cause as Error).message}`, { cause })
  }
}

async function readStandardInput(): Promise<Uint8Array> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    chunks.push(chunk as Buffer)
    bytes += (chunk as Buffer).length
    if (bytes > MOST_STDIN_BYTES) {
      throw new ConfigError('E_ARGUMENT', 'standard input holds more than 64 MiB, too much to be given to every host from memory', {
        suggestions: ['Copy the data to the hosts as a file first'],
      })
    }
  }
  return Buffer.concat(chunks)
}

/** Keys go to the program there, as they are, when they are pressed on a terminal. Returns what undoes it. */
function joinTerminal(one: SshProcess): () => void {
  const { stdin } = process
  if (stdin.isTTY) stdin.setRawMode(true)
  stdin.on('data', (chunk: Buffer) => void one.write(chunk))
  stdin.once('end', () => one.closeStdin())
  return () => {
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.destroy()
  }
}
