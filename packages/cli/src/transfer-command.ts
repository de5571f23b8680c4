import type { HostProgress, TransferAction, TransferOptions, TransferResult } from '@cahier/core/hosts'
import { ConfigError } from '@cahier/core/spi'
import { Flags } from '@oclif/core'
import { adapterSources } from './adapter-sources.js'
import { CahierCommand } from './base-command.js'
import { EXIT_CODES } from './exit-codes.js'
import { chooseHosts, connectionFlags, connectionOptions, type GivenConnection, hostFlags, requireReadable } from './host-flags.js'
import { readOptions } from './job-flags.js'
import { LiveLine } from './live-line.js'
import { suggestUsage, usageExample } from './scp-words.js'
import { listenForStop } from './stop-signals.js'
import { terminalWidth, wrapLine } from './table.js'
import { TransferMeter } from './transfer-meter.js'
import {
  countResults,
  exitCodeOfTransfer,
  formatLeftOut,
  formatMeasured,
  formatResults,
  formatTransferEnd,
  formatTransferFaults,
  type TransferCounts,
} from './transfer-text.js'

type Core = typeof import('@cahier/core/hosts')

const REFRESH_MS = 1_000
const STYLE = { greedy: false }

export function viaFlag(names: string) {
  return Flags.string({ description: `What moves the files: ${names}, or an adapter as taktuk. Default: auto.`, helpValue: 'NAME' })
}

/** What all copies of files can be told. */
export const transferFlags = {
  ...hostFlags(STYLE),
  via: viaFlag('auto, scp, sftp, rsync, cat, chain, local'),
  option: Flags.string({
    char: 'o',
    description: 'Option of the adapter that moves the files, as topology=flat. May be given again.',
    multiple: true,
    multipleNonGreedy: true,
    helpValue: 'NAME=VALUE',
  }),
  create: Flags.boolean({ description: 'Make the target directory, and those above it.' }),
  as: Flags.string({ description: 'Name of the one file there, instead of its own.', helpValue: 'NAME' }),
  links: Flags.string({
    description: 'Symbolic links inside a directory: copied as links (default), replaced by what they point to, or left out.',
    options: ['keep', 'follow', 'skip'],
  }),
  special: Flags.string({
    description: 'Sockets, named pipes and devices inside a directory: left out (default), or an error before anything is moved.',
    options: ['skip', 'refuse'],
  }),
  checksum: Flags.boolean({ description: 'Tell by SHA-256 what is there already, not by size and time.' }),
  'no-resume': Flags.boolean({ description: 'Begin anew what an interrupted copy has left.' }),
  limit: Flags.string({ description: 'What this machine sends or receives at most, as 20MB/s.', helpValue: 'RATE' }),
  fanout: Flags.integer({
    char: 'f',
    description: 'Hosts at a time, of what serves each by itself. Default: 16.',
    min: 1,
    helpValue: 'N',
  }),
  timeout: Flags.string({ char: 't', description: 'Time limit of the whole, as 30s or 5min.', helpValue: 'DURATION' }),
  ...connectionFlags(STYLE),
}

export const overFlag = Flags.string({
  description:
    'How hosts of a chain pass files on: over connections of their own (tcp, default), or over ssh when they may not open ports.',
  options: ['tcp', 'ssh'],
})

/** The lines of the help. @param good - what 0 means @param local - what else may be wrong before a host is asked */
export function exitCodes(good: string, local: string): string {
  return [
    'The exit code is the largest of all hosts:',
    `- 0: ${good}`,
    '- 1: files of a host could not be copied',
    `- 2: the command line, ${local} or cahier.config is wrong; no host was asked`,
    '- 124: the time limit has passed',
    '- 130: Ctrl-C',
    '- 255: a host was not reached',
  ].join('\n')
}

export interface GivenTransfer extends GivenConnection {
  readonly hosts: readonly string[]
  readonly exclude?: readonly string[] | undefined
  readonly to?: string | undefined
  readonly via?: string | undefined
  readonly option?: readonly string[] | undefined
  readonly over?: string | undefined
  readonly create: boolean
  readonly as?: string | undefined
  readonly links?: string | undefined
  readonly special?: string | undefined
  readonly checksum: boolean
  readonly 'no-resume': boolean
  readonly limit?: string | undefined
  readonly fanout?: number | undefined
  readonly timeout?: string | undefined
  readonly site?: string | undefined
}

export type TransferSummary = TransferCounts & { readonly exitCode: number }

/** What `put`, `get` and `broadcast` have in common. */
export abstract class TransferCommand extends CahierCommand {
  #begun = false

  protected async copy(kind: 'Put' | 'Get' | 'Broadcast', files: readonly string[], flags: GivenTransfer): Promise<TransferSummary> {
    if (files.length === 0) {
      throw new ConfigError('E_ARGUMENT', 'there is no file to copy', {
        suggestions: [usageExample(kind.toLowerCase())],
      })
    }
    await requireReadable(flags)
    this.#tellFullOutput()
    const live = new LiveLine(process.stderr)
    // What follows is loaded first, and then asks hosts.
    live.begin('starting')
    try {
      return await this.#copyShown(kind, files, flags, live)
    } finally {
      live.close()
    }
  }

  async #copyShown(
    kind: 'Put' | 'Get' | 'Broadcast',
    files: readonly string[],
    flags: GivenTransfer,
    live: LiveLine,
  ): Promise<TransferSummary> {
    // Not the whole core: what a command of a tenth of a second loads is felt.
    const core = await import('@cahier/core/hosts')
    await core.useConfiguration(flags.site === undefined ? {} : { site: flags.site })
    using stop = listenForStop(
      (text) => live.write(process.stderr, `${text}\n`),
      () => {
        live.close()
        process.exit(EXIT_CODES.detached.code)
      },
      'Ending the copies on all hosts. Ctrl-C again leaves at once.',
    )
    const hosts = chooseHosts(core, flags.hosts, flags.exclude)
    const meter = new TransferMeter(hosts.length)
    const show = (progress?: HostProgress): void => {
      if (progress !== undefined) meter.take(progress, performance.now())
      live.set(() => formatMeasured(meter.measure(performance.now()), core, (process.stderr.columns ?? 80) - 1))
    }
    const options = { ...(await this.optionsOf(core, flags)), onProgress: show, signal: stop.signal }
    const action: TransferAction = new core[kind](files, hosts, options as TransferOptions & { to: string })
    const begun = performance.now()
    action.start()
    show()
    // A rate falls also while nothing comes.
    const refresh = setInterval(() => show(), REFRESH_MS)
    try {
      for await (const result of action) {
        if (action.errorReason !== undefined) break
        this.#begun = true
        if (!this.jsonEnabled()) continue
        const line = JSON.stringify({ ...result, seconds: Math.round(result.seconds * 1000) / 1000 })
        live.write(process.stdout, `${line}\n`)
      }
      await action.wait()
    } finally {
      clearInterval(refresh)
      live.close()
    }
    const seconds = (performance.now() - begun) / 1000
    if (action.errorReason !== undefined) throw action.errorReason
    const counts = countResults(action.results)
    const exitCode = stop.signal.aborted ? EXIT_CODES.detached.code : exitCodeOfTransfer(counts, action.timedOut)
    if (!this.jsonEnabled()) this.tell(action, { seconds, resume: !flags['no-resume'] }, core)
    // It is 1 already when output could not be written.
    this.endWith(Math.max(exitCode, Number(process.exitCode ?? 0)))
    await core.closeConnections()
    const { choices } = action
    return { ...counts, ...(choices.length === 0 ? {} : { choices }), exitCode }
  }

  /** One line for each object, so that programs can read while it goes on. */
  override logJson(json: unknown): void {
    process.stdout.write(`${JSON.stringify(json)}\n`)
  }

  /** Before the first host was asked, every error is one of the command line. */
  protected override async catch(error: Error & { readonly code?: string; suggestions?: readonly string[] }): Promise<void> {
    const tip = suggestUsage(this.id ?? 'put', this.argv, error)
    if (tip !== undefined) error.suggestions = [...(error.suggestions ?? []), tip]
    await super.catch(error)
    if (!this.#begun && process.exitCode === EXIT_CODES.error.code) process.exitCode = EXIT_CODES.usage.code
  }

  private async optionsOf(core: Core, flags: GivenTransfer): Promise<Partial<TransferOptions>> {
    const via = flags.via ?? core.transferDefaults().via
    const isAdapter = via !== undefined && !(core.TRANSFER_NAMES as readonly string[]).includes(via)
    const options = {
      to: flags.to,
      via: flags.via,
      over: flags.over,
      as: flags.as,
      links: flags.links,
      special: flags.special,
      limit: flags.limit,
      concurrency: flags.fanout,
      timeout: flags.timeout,
      create: flags.create ? true : undefined,
      checksum: flags.checksum ? true : undefined,
      resume: flags['no-resume'] ? false : undefined,
      connection: connectionOptions(flags),
      adapterOptions: flags.option === undefined ? undefined : readOptions(flags.option),
      adapters: isAdapter ? await adapterSources(this.config) : undefined,
    }
    return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  }

  private tell(action: TransferAction, { seconds, resume }: { readonly seconds: number; readonly resume: boolean }, core: Core): void {
    const explain = (code: string): string => (code in core.ERROR_CODES ? core.ERROR_CODES[code as keyof typeof core.ERROR_CODES] : '')
    const words = { formatBytes: core.formatBytes, foldHosts: core.foldHosts, explain }
    const { results, choices } = action
    const say = (line: string): void => this.logToStderr(wrapLine(line, terminalWidth(process.stderr)))
    this.log(formatResults(results, words, terminalWidth()))
    // Of one host there is nothing to choose.
    for (const { via, why } of results.length > 1 ? choices : choices.slice(1)) say(`via ${via}: ${why}`)
    for (const line of [...formatLeftOut(results, words), ...formatTransferFaults(results, words)]) say(line)
    if (results.length > 1) say(formatTransferEnd(results, seconds, words))
    if (resume && results.some(wasCut)) say('What came of unfinished files is kept: the same command goes on from there.')
  }

  /** Nobody reads what is written here: the copies go on all the same. oclif's own listener throws it into the event loop. */
  #tellFullOutput(): void {
    process.stdout.removeAllListeners('error').on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE' || process.exitCode === EXIT_CODES.error.code) return
      process.stderr.write(`Error: standard output cannot be written: ${error.message}\n`)
      process.exitCode = EXIT_CODES.error.code
    })
  }
}

/** Something came and is not placed yet. */
function wasCut({ bytes, error }: TransferResult): boolean {
  return bytes > 0 && CUT.has(error?.code ?? '')
}

const CUT = new Set(['E_ABORTED', 'E_COPY_LOST', 'E_COPY_STALLED', 'E_CONNECTION_LOST'])
