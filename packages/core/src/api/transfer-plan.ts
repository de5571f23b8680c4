import { homedir } from 'node:os'
import { basename, resolve } from 'node:path'
import { ConfigError } from '../errors.js'
import type { Connection } from '../model/connection.js'
import type { CopyPolicy } from '../model/transfer.js'
import type { FilePath, TransferRequest } from '../ports/transfer.js'
import { type ByteName, byteName, readableName } from '../util/byte-names.js'
import { checkValues, parseWord } from './command-values.js'
import { type Host, keyOf } from './host.js'
import type { TransferOptions } from './transfer-options.js'

export type TransferDirection = 'put' | 'get'

/** Hosts that get (or give) the same files. */
export interface PlannedRequest {
  readonly request: TransferRequest
  /** Of each end, where its host stands in the list: more than once when it was listed more than once. */
  readonly positions: readonly (readonly number[])[]
}

export interface PlanInput {
  readonly direction: TransferDirection
  readonly files: FilePath | readonly FilePath[]
  readonly hosts: readonly Host[]
  readonly to: TransferOptions['to']
  readonly values: TransferOptions['values']
  readonly connection: Connection
  readonly policy: CopyPolicy
  /** All directories are on this machine. */
  readonly isLocal: boolean
}

type Filled<T> = (host: Host, index: number) => T

/** One copy: what is moved where. */
interface Copy {
  readonly host: Host
  readonly files: readonly FilePath[]
  readonly directory: string
  readonly positions: number[]
}

/**
 * Who gets what, before anybody is asked: hosts with the same files together, the same copy once.
 *
 * @throws ConfigError `E_ARGUMENT`: no host, no file, no directory; a place without values; two files that would have the same name
 */
export function planTransfer(input: PlanInput): PlannedRequest[] {
  const { direction, hosts, connection, policy, isLocal } = input
  if (hosts.length === 0) {
    throw new ConfigError('E_ARGUMENT', 'there is no host to copy files to or from', { suggestions: ['Name at least one host'] })
  }
  const files = fillFiles(input)
  const directory = fillDirectory(input)
  const copies = new Map<string, Copy>()
  hosts.forEach((host, index) => {
    const own = files(host, index)
    const to = directory(host, index)
    const key = JSON.stringify([isLocal ? '' : keyOf(host), trimmed(to), own.map(textOf)])
    const known = copies.get(key)
    if (known === undefined) copies.set(key, { host, files: own, directory: to, positions: [index] })
    else known.positions.push(index)
  })
  refuseClashes(input, [...copies.values()])
  const requests = new Map<string, PlannedRequest & { readonly positions: (readonly number[])[] }>()
  for (const { host, files: own, directory: to, positions } of copies.values()) {
    const key = JSON.stringify(own.map(textOf))
    const end = { host: isLocal ? undefined : host, connection, directory: direction === 'get' ? resolve(atHome(to)) : to }
    const known = requests.get(key)
    if (known === undefined) requests.set(key, { request: { files: own, ends: [end], policy }, positions: [positions] })
    else {
      ;(known.request.ends as (typeof end)[]).push(end)
      known.positions.push(positions)
    }
  }
  return [...requests.values()]
}

function fillFiles({ direction, files, values, policy }: PlanInput): Filled<readonly FilePath[]> {
  const list: readonly FilePath[] = typeof files === 'string' || files instanceof Uint8Array ? [files] : files
  if (!Array.isArray(list) || list.length === 0) {
    throw new ConfigError('E_ARGUMENT', 'there is no file to copy', { suggestions: ['Name at least one file or directory'] })
  }
  if (policy.as !== undefined && list.length > 1) {
    throw new ConfigError('E_ARGUMENT', `${list.length} files cannot all be named ${JSON.stringify(policy.as)}`, {
      suggestions: ['Leave "as" out, or name one file'],
    })
  }
  const filled = list.map((file) =>
    typeof file === 'string' ? fillWord(file, values, `the file name ${JSON.stringify(file)}`) : () => file,
  )
  return (host, index) => filled.map((fill) => checkFile(fill(host, index), direction))
}

function fillDirectory({ direction, to, values, hosts }: PlanInput): Filled<string> {
  const several = new Set(hosts.map(keyOf)).size > 1
  const given = to ?? (direction === 'put' ? undefined : several && values !== false ? '{{host}}' : several ? undefined : '.')
  if (given === undefined) {
    throw new ConfigError('E_ARGUMENT', 'the target directory (to) is missing', {
      suggestions: [
        direction === 'put'
          ? "Write to: '/scratch', or to: '.' for the home directory"
          : "Write to: '{{host}}' for a directory of each host",
      ],
    })
  }
  if (typeof given === 'function') return (host, index) => checkDirectory(given(host, index))
  const list = typeof given === 'string' ? [given] : given
  if (!Array.isArray(list) || list.length === 0) {
    throw new ConfigError('E_ARGUMENT', 'the target directory (to) is neither a text, a function, nor a list with something in it')
  }
  const filled = list.map((text) => fillWord(checkPath(text, 'the target directory', DIRECTORY_HINT), values, 'the target directory'))
  return (host, index) => checkDirectory((filled[index % filled.length] as Filled<string>)(host, index))
}

function fillWord(text: string, values: TransferOptions['values'], what: string): Filled<string> {
  if (values === false) return () => text
  checkValues(values ?? {})
  return parseWord(text, values ?? {}, what)
}

const DIRECTORY_HINT = "Write '.' for the home directory, or for the current one of a get"

/** `~` is the home directory of whoever has the file: of this machine for a put. */
function checkFile(file: FilePath, direction: TransferDirection): FilePath {
  const path = checkPath(file, 'a file name', 'Name a file or a directory')
  if (typeof path !== 'string') return path
  refuseHomeOf(path, /^~[^/]+(?=\/)/)
  return direction === 'put' && path.startsWith('~/') ? atHome(path) : path
}

function checkDirectory(directory: string): string {
  const path = checkPath(directory, 'the target directory', DIRECTORY_HINT)
  refuseHomeOf(path, /^~[^/]+/)
  return path
}

/** No shell looks at it, so that nobody would know where the home directory of another user is. */
function refuseHomeOf(path: string, home: RegExp): void {
  const [user] = home.exec(path) ?? []
  if (user === undefined) return
  throw new ConfigError('E_ARGUMENT', `${path}: only ~ by itself stands for a home directory, not ${user}`, {
    suggestions: [`Write the absolute path, or ./${path} when that is really its name`],
  })
}

function atHome(path: string): string {
  return path === '~' || path.startsWith('~/') ? `${homedir()}${path.slice(1)}` : path
}

function checkPath<T extends FilePath>(path: T, what: string, hint: string): T {
  const isPath = typeof path === 'string' || (path as unknown) instanceof Uint8Array
  if (!isPath) throw new ConfigError('E_ARGUMENT', `${what} is ${JSON.stringify(path) ?? String(path)}, not a text`)
  if (path.length === 0) throw new ConfigError('E_ARGUMENT', `${what} is empty`, { suggestions: [hint] })
  if (typeof path === 'string' ? path.includes('\0') : path.includes(0)) throw new ConfigError('E_ARGUMENT', `${what} holds a NUL byte`)
  return path
}

/** Two things of the same name in the same directory: the second would take the place of the first. */
function refuseClashes({ direction, policy, isLocal }: PlanInput, copies: readonly Copy[]): void {
  const owners = new Map<string, { readonly host: Host; readonly file: FilePath }>()
  for (const { host, files, directory } of copies) {
    // Of a get, all directories are on one machine: this one.
    const place = direction === 'get' ? resolve(atHome(directory)) : `${isLocal ? '' : keyOf(host)} ${trimmed(directory)}`
    for (const file of files) {
      const name = policy.as === undefined ? baseOf(file) : byteName(policy.as)
      const key = JSON.stringify([place, name])
      const owner = owners.get(key)
      if (owner === undefined) {
        owners.set(key, { host, file })
        continue
      }
      const several = keyOf(owner.host) !== keyOf(host)
      const one = direction === 'get' && several ? `${owner.host}:${showPath(owner.file)}` : showPath(owner.file)
      const other = direction === 'get' && several ? `${host}:${showPath(file)}` : showPath(file)
      const where = direction === 'put' && !isLocal ? `${host}:${directory}` : directory
      if (one === other)
        throw new ConfigError('E_ARGUMENT', `${one} is to be copied twice into ${where}`, { suggestions: ['Name it once'] })
      throw new ConfigError('E_ARGUMENT', `${one} and ${other} would both become ${readableName(name)} in ${where}`, {
        suggestions: several
          ? [`Write to: '${ofEachHost(directory)}' (--to '${ofEachHost(directory)}') for a directory of each host`]
          : ['Copy one of them into another directory, or under another name (as)'],
      })
    }
  }
}

function ofEachHost(directory: string): string {
  const base = trimmed(directory)
  return base === '.' ? '{{host}}' : base === '/' ? '/{{host}}' : `${base}/{{host}}`
}

/** Of a path that ends in `.` or `..`, the whole: its name is only known where it is. */
function baseOf(file: FilePath): ByteName {
  const text = textOf(file)
  const base = basename(text)
  return base === '' || base === '.' || base === '..' ? text : base
}

function textOf(file: FilePath): ByteName {
  return typeof file === 'string' ? byteName(file) : Buffer.from(file).toString('latin1')
}

/** For messages. */
function showPath(file: FilePath): string {
  return readableName(textOf(file))
}

/** Not more: `a/../b` is not `b` where `a` is a link. */
function trimmed(directory: string): string {
  return directory.replace(/\/+$/, '').replace(/^(?:\.\/+)+/, '') || (directory.startsWith('/') ? '/' : '.')
}
