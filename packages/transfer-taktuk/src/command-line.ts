import type { TaktukOptions } from './options.js'
import { TEMPLATES } from './templates.js'
import { SEPARATOR_OPTIONS } from './words.js'

/** A host as taktuk is told of it. */
export interface NamedHost {
  /** A command line for a shell that reaches a host whose name goes behind it. */
  readonly connector: string
  readonly destination: string
  readonly connectTimeoutMs: number
}

/** So often taktuk looks which commands have ended; its own choice of a second is how late it would say so. */
const LOOK_SECONDS = 0.1

/** Characters of taktuk's notation of host sets, and those of shells: the name goes into a command line as it is. */
const NO_NAME = /[^A-Za-z0-9._:%@+~-]/

/** True when taktuk takes this for the name of one host. */
export function isPlainName(destination: string): boolean {
  return destination !== '' && !destination.startsWith('-') && !NO_NAME.test(destination)
}

/** The program and its arguments. Hosts have the positions 1, 2… in their order here. */
export function renderCommandLine(hosts: readonly NamedHost[], options: TaktukOptions): readonly string[] {
  const words = ['taktuk', ...SEPARATOR_OPTIONS]
  if (options.selfPropagate) words.push('-s')
  words.push('-u', `${Math.ceil(options.cacheLimitMiB * 1_048_576)}`, '-w', `${options.window}`, '-d', `${arityOf(options)}`)
  words.push('-g', `${LOOK_SECONDS}`, '-R', 'taktuk=>&=1')
  for (const [stream, template] of Object.entries(TEMPLATES)) words.push('-o', `${stream}=${template}`)
  const groups: { connector: string; timeout: number; names: string[] }[] = []
  for (const { connector, destination, connectTimeoutMs } of hosts) {
    const timeout = Math.max(1, Math.ceil(connectTimeoutMs / 1000))
    const last = groups.at(-1)
    if (last?.connector === connector && last.timeout === timeout) last.names.push(destination)
    else groups.push({ connector, timeout, names: [destination] })
  }
  for (const { connector, timeout, names } of groups) {
    // A host takes over the work of others only with its own connector: those that are reached otherwise stay apart.
    if (groups.length > 1) words.push('-b')
    words.push('-c', connector, '-t', `${timeout}`, ...names.flatMap((name) => ['-m', name]))
    if (groups.length > 1) words.push('-e')
  }
  return words
}

/** @source taktuk(1) 3.7.7, `-d`: negative for none, 0 for no largest arity */
function arityOf({ topology }: TaktukOptions): number {
  if (topology === 'flat') return -1
  if (topology === 'chain') return 1
  return topology === 'dynamic' ? 0 : topology
}
