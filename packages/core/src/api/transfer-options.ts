import { ConfigError } from '../errors.js'
import type { ConnectionOptions } from '../model/connection.js'
import { type TransferDefaults, transferDefaultsSchema } from '../model/site.js'
import { type CopyOptions, type CopyPolicy, copyOptionsSchema, type TransferResult } from '../model/transfer.js'
import type { AdapterSources } from '../plugins/adapter-registry.js'
import { OFFICIAL_ADAPTERS } from '../plugins/official.js'
import type { Transfer, TransferPhase } from '../ports/transfer.js'
import { nearestName } from '../util/nearest.js'
import type { ActionOptions } from './action.js'
import { checkOptions } from './check-options.js'
import type { CommandValues } from './command-values.js'
import type { Host } from './host.js'
import type { HostGroups } from './hosts.js'

/** The drivers of core, by name. */
export const TRANSFER_NAMES = ['auto', 'local', 'scp', 'sftp', 'rsync', 'cat', 'chain'] as const
export type TransferName = (typeof TRANSFER_NAMES)[number]

/** What is going on at one host of a transfer. */
export interface HostProgress {
  readonly host: Host
  /** Of `hosts`. */
  readonly index: number
  readonly phase: TransferPhase
  /** Content that is there so far, what was there before included. */
  readonly bytes: number
  /** All that is to be there; undefined as long as that is not known. */
  readonly total: number | undefined
  /** With the phase `ended`. */
  readonly result?: TransferResult
}

export interface TransferOptions extends ActionOptions, CopyOptions {
  /**
   * The target directory: one for all hosts, a list of which each host takes the entry of its own position, or a function. `{{host}}` is the
   * address of the host, `{{name}}` its value of `values`; what a function returns is taken as it is.
   */
  readonly to?: string | readonly string[] | ((host: Host, index: number) => string) | undefined
  /**
   * What moves the files: `auto` (default), one of {@link TRANSFER_NAMES}, the name of an adapter (`taktuk`), or a transfer made by the
   * program, which is not closed at the end. `local`: all directories are on this machine, as on a file system that the hosts share.
   */
  readonly via?: TransferName | (string & {}) | Transfer | undefined
  /** How hosts of a chain pass files on: over connections of their own (`tcp`, default), or over ssh when they may not open ports. */
  readonly over?: 'tcp' | 'ssh' | undefined
  /** What stands at the places `{{name}}` of files and `to`. `false`: there are no places, every brace is meant as it is. */
  readonly values?: CommandValues | false | undefined
  /** How the hosts are reached, over the defaults of the program. What a host itself says (user, port…) wins. */
  readonly connection?: ConnectionOptions | undefined
  /** Hosts at a time, of what serves each by itself; default 16. A chain always holds all of its hosts. */
  readonly concurrency?: number | undefined
  /** What `@name` stands for in host sets, instead of the groups of the configuration. */
  readonly groups?: HostGroups | undefined
  /** Told a few times a second for each host, and at its end. */
  readonly onProgress?: ((progress: HostProgress) => void) | undefined
  /** Where the adapter named in `via` is looked for, beside the packages that the `package.json` of the current folder lists. */
  readonly adapters?: AdapterSources | undefined
  /** Of the adapter named in `via`, over those of the configuration. */
  readonly adapterOptions?: unknown
}

/** What `Put` and `Broadcast` need to know. */
export type PutOptions = TransferOptions & Required<Pick<TransferOptions, 'to'>>
export type GetOptions = TransferOptions

const OWN_KEYS = [
  'to',
  'via',
  'over',
  'values',
  'connection',
  'concurrency',
  'groups',
  'onProgress',
  'adapters',
  'adapterOptions',
  'name',
  'timeout',
  'lifecycleHandlers',
  'signal',
] as const satisfies readonly (keyof TransferOptions)[]

let defaults: TransferDefaults = {}

/** What moves files when a transfer does not say it, for all of the program; `options` are those of the adapter named in `via`. */
export function setTransferDefaults(options: TransferDefaults): void {
  defaults = checkOptions(transferDefaultsSchema, options, 'the defaults of transfers')
}

/** Whatever `setTransferDefaults` was given last. */
export function transferDefaults(): TransferDefaults {
  return defaults
}

/** The options of a transfer over the defaults of the program. Those of an adapter hold for that adapter only, one by one. */
export function withTransferDefaults<T extends TransferOptions>(direction: 'put' | 'get', options: T): T {
  // A chain brings, and fetches nothing.
  const preset = direction === 'get' && defaults.via === 'chain' ? undefined : defaults.via
  const via = options.via ?? preset
  const isChain = direction === 'put' && (via === undefined || via === 'auto' || via === 'chain')
  const over = options.over ?? (isChain ? defaults.over : undefined)
  const isPreset = defaults.options !== undefined && via === defaults.via
  const adapterOptions = isPreset ? { ...defaults.options, ...(options.adapterOptions as object | undefined) } : options.adapterOptions
  return {
    ...options,
    ...(via === undefined ? {} : { via }),
    ...(over === undefined ? {} : { over }),
    ...(adapterOptions === undefined ? {} : { adapterOptions }),
  }
}

/** @throws ConfigError `E_ARGUMENT` with the nearest known name */
export function checkPolicy(options: TransferOptions): CopyPolicy {
  const known: readonly string[] = [...OWN_KEYS, ...Object.keys(copyOptionsSchema.shape)]
  for (const key of Object.keys(options)) {
    if (known.includes(key)) continue
    const near = nearestName(key, known)
    throw new ConfigError('E_ARGUMENT', `a transfer has no option ${key}`, {
      suggestions: [near === undefined ? `Known options: ${known.join(', ')}` : `Did you mean ${near}?`],
      data: { known },
    })
  }
  const copy = Object.entries(options).filter(([key, value]) => key in copyOptionsSchema.shape && value !== undefined)
  return checkOptions(copyOptionsSchema, Object.fromEntries(copy), 'the options of the transfer')
}

/** @throws ConfigError `E_ARGUMENT` for a way that does not exist, and for one that does not go with the rest */
export function checkVia(direction: 'put' | 'get', { via = 'auto', over, adapters, adapterOptions }: TransferOptions): void {
  if (typeof via === 'string') checkName(via, adapters)
  else if (typeof (via as Partial<Transfer> | null)?.put !== 'function' || typeof via.get !== 'function') {
    throw new ConfigError('E_ARGUMENT', 'via is neither a name nor a transfer', {
      suggestions: [`Write one of ${TRANSFER_NAMES.join(', ')}, or give an object with put and get`],
    })
  }
  if (direction === 'get' && via === 'chain') {
    throw new ConfigError('E_NOT_SUPPORTED', 'a chain brings the same files to many hosts; it gets nothing from them', {
      suggestions: ['Leave via out, or write sftp'],
    })
  }
  if (over !== undefined && over !== 'tcp' && over !== 'ssh') {
    throw new ConfigError('E_ARGUMENT', `over is ${JSON.stringify(over)}`, { suggestions: ['Write tcp or ssh'] })
  }
  if (over !== undefined && via !== 'auto' && via !== 'chain') {
    throw new ConfigError('E_ARGUMENT', `over is for chains, not for ${nameOfVia(via)}`, {
      suggestions: ['Leave over out', 'Or write via: chain'],
    })
  }
  if (adapterOptions !== undefined && (typeof via !== 'string' || isBuiltIn(via))) {
    throw new ConfigError('E_ARGUMENT', `options of an adapter (adapterOptions, -o) are not for ${nameOfVia(via)}`, {
      suggestions: ['Leave them out', 'Or name the adapter that they are for: via (--via)'],
    })
  }
}

export function isBuiltIn(name: string): name is TransferName {
  return (TRANSFER_NAMES as readonly string[]).includes(name)
}

export function nameOfVia(via: TransferOptions['via']): string {
  return via === undefined ? 'auto' : typeof via === 'string' ? via : via.name
}

/** A name that is nearly one of ours is a slip; any other may be that of an adapter, which is looked for when it is needed. */
function checkName(name: string, adapters: AdapterSources | undefined): void {
  const official = Object.keys(OFFICIAL_ADAPTERS).flatMap((key) => (key.startsWith('transfer/') ? [key.slice('transfer/'.length)] : []))
  const given = (adapters?.given ?? []).flatMap((one) => (one.kind === 'transfer' ? [one.name] : []))
  const known = [...TRANSFER_NAMES, ...official, ...given]
  if (known.includes(name)) return
  const near = nearestName(name, known)
  if (near === undefined && /^[a-z][\w.-]*$/i.test(name)) return
  throw new ConfigError('E_ARGUMENT', `there is no transfer ${JSON.stringify(name)}`, {
    suggestions: [near === undefined ? `Known: ${known.join(', ')}` : `Did you mean ${near}?`],
    data: { known },
  })
}
