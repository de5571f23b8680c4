import { ConfigError, messageOf } from '../errors.js'
import { parseHostSet } from '../host-set.js'
import type { HostSpec } from '../model/host.js'
import { Host } from './host.js'

/** One host, or several: a host set, a host, a list of these. */
export type HostInput = string | HostSpec | readonly HostInput[]

/** Groups by name, each a host set or a list of them; a group may name others: `@compute,@login`. */
export type HostGroups = Readonly<Record<string, string | readonly string[]>>

export interface HostsOptions {
  /** What `@name` stands for. Default: the groups given to `setHostGroups` or read by `useConfiguration`. */
  readonly groups?: HostGroups | undefined
}

let known: HostGroups = {}
let knownPlaces: string | undefined

/**
 * Says what `@name` stands for in the host sets of this program.
 *
 * @param places - where the groups come from, for the message about one that is not there
 */
export function setHostGroups(groups: HostGroups, places?: string): void {
  known = groups
  knownPlaces = places
}

/**
 * The hosts that are meant, in the order in which they are written.
 *
 * A string is a host set in the notation of ClusterShell, in which a host comes once: `node[1-4]`, `@compute!node3`,
 * `alice@node[1-4]:2222`. Entries of a list stay apart: a host that is listed twice comes twice, and runs two processes.
 *
 * ```ts
 * console.log(hosts('node[1-3]').join(' '), hosts(['node1', 'node1']).length)
 * console.log(hosts('@compute!node2', { groups: { compute: 'node[1-4]' } }).join(' '))
 * ```
 *
 * @throws ConfigError `E_HOST_SET`, `E_ARGUMENT`
 */
export function hosts(input: HostInput, options: HostsOptions = {}): Host[] {
  const groups = options.groups ?? known
  return flatten(input, groups)
}

function flatten(input: HostInput, groups: HostGroups): Host[] {
  if (typeof input === 'string') return unfold(input, groups).map((name) => new Host(name))
  if (Array.isArray(input)) return (input as readonly HostInput[]).flatMap((entry) => flatten(entry, groups))
  if (input instanceof Host) return [input]
  const spec = input as HostSpec | null | undefined
  if (typeof spec?.address === 'string') return [new Host(spec)]
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(input) ?? String(input)} is neither a host, a host set nor a list of these`, {
    suggestions: ["Write a host set like 'node[1-4]', or new Host('node1')"],
  })
}

/** An IPv6 address with a port has brackets of its own. */
const BRACKETED = /^(?:[^@\s,[\]]+@)?\[[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%\w]*\](?::\d+)?$/

function unfold(text: string, groups: HostGroups, within: readonly string[] = []): string[] {
  if (BRACKETED.test(text)) return [text]
  return parseHostSet(text, {
    groupNames: Object.keys(groups),
    groupPlaces: groups === known ? knownPlaces : undefined,
    group: (name) => readGroup(name, groups, within),
  })
}

function readGroup(name: string, groups: HostGroups, within: readonly string[]): string[] | undefined {
  if (within.includes(name)) {
    throw new ConfigError('E_HOST_SET', `the group ${name} contains itself: ${[...within, name].map((one) => `@${one}`).join(' > ')}`)
  }
  // The group of all groups, as ClusterShell has it.
  if (name === '*') return [...new Set(Object.keys(groups).flatMap((one) => readGroup(one, groups, [...within, name]) ?? []))]
  const members = Object.hasOwn(groups, name) ? groups[name] : undefined
  if (members === undefined) return undefined
  try {
    const texts = typeof members === 'string' ? [members] : members
    return [...new Set(texts.flatMap((text) => unfold(text, groups, [...within, name])))]
  } catch (error) {
    if (within.length > 0) throw error
    throw new ConfigError('E_HOST_SET', `the group ${name} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}
