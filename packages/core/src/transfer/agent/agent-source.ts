import { ConfigError, TransferError } from '../../errors.js'
import type { CopyPolicy } from '../../model/transfer.js'
import { type ByteName, byteName, readableName } from '../../util/byte-names.js'
import { decodeManifest, decodeName, encodeName, type ManifestEntry } from '../manifest.js'
import type { Listed, RemoteSource } from '../place.js'
import { agentError, type HostAgent } from './host-agent.js'

export interface Problem {
  readonly code: string
  readonly file: string
  readonly message: string
}

/** A file that was named, with all that is in it. */
export interface Tree {
  readonly name: ByteName
  readonly path: ByteName
  readonly entries: { readonly entry: ManifestEntry; readonly path: ByteName }[]
}

/** More are only counted. */
const NAMED_PROBLEMS = 8

/** The sending side of a `get` on a host that has an agent. It does not end the agent. */
export class AgentSource implements RemoteSource {
  readonly #agent: HostAgent
  /** Of each entry that was given back: its number in the list of the agent. */
  #numbers: number[] = []

  constructor(agent: HostAgent) {
    this.#agent = agent
  }

  async list(files: readonly (string | Uint8Array)[], policy: CopyPolicy, signal?: AbortSignal): Promise<Listed> {
    if (files.length === 0) throw new ConfigError('E_ARGUMENT', 'No file is named that is to be copied')
    const paths = files.map(wantedPath)
    // All files of a host are listed only when it was meant.
    if (policy.as === undefined && paths.some((path) => /^\/+$/.test(path))) throw nameless('/')
    const wanted = paths.map((path) => `${encodeName(path)}\n`).join('')
    const { payload } = await this.#agent.request('list', [policy.links, policy.special], wanted, signal)
    const trees: Tree[] = []
    const leftOut: { file: string; why: string }[] = []
    const problems: Problem[] = []
    const numbers = new Map<ManifestEntry, number>()
    for (const line of payload.toString('latin1').split('\n')) {
      if (line === '') continue
      const [kind, first = '', second = '', third = '%'] = line.split(' ')
      if (kind === 'o') leftOut.push({ file: readableName(decodeName(first)), why: readableName(decodeName(second)) })
      else if (kind === 'x') {
        const { code, message } = agentError(first, third)
        problems.push({ code, file: readableName(decodeName(second)), message })
      } else {
        const [entry] = decodeManifest(line.slice(kind!.length + first.length + 2))
        if (entry === undefined) throw new TransferError('E_AGENT', `The agent on ${this.#agent.host} listed ${JSON.stringify(line)}`)
        numbers.set(entry, numbers.size)
        const path = decodeName(first)
        if (!entry.name.includes('/')) trees.push({ name: entry.name, path, entries: [] })
        trees.at(-1)?.entries.push({ entry, path })
      }
    }
    if (problems.length > 0) throw sourceError(problems, this.#agent.host)
    const named = nameTrees(trees, policy.as)
    this.#numbers = named.flatMap(({ entries }) => entries.map(({ entry }) => numbers.get(entry) as number))
    return {
      manifest: named.flatMap(({ name, entries }) => entries.map(({ entry }) => renamed(entry, name))),
      paths: named.flatMap(({ entries }) => entries.map(({ path }) => path)),
      leftOut: leftOut.map((one) => ({ ...one, file: policy.as === undefined ? one.file : one.file.replace(/^[^/]*/, () => policy.as!) })),
    }
  }

  async digests(indexes: readonly number[], signal?: AbortSignal): Promise<readonly (string | undefined)[]> {
    const wanted = indexes.map((index) => `${this.#numbers[index]}\n`).join('')
    const { payload } = await this.#agent.request('digests', [], wanted, signal)
    const lines = payload.toString('latin1').split('\n')
    return indexes.map((_, at) => (/^[0-9a-f]{64}$/.test(lines[at] ?? '') ? lines[at] : undefined))
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export function wantedPath(file: string | Uint8Array): ByteName {
  const path = typeof file === 'string' ? byteName(file) : Buffer.from(file).toString('latin1')
  if (path === '' || path.includes('\0')) {
    throw new ConfigError('E_ARGUMENT', `This is no name of a file: ${JSON.stringify(readableName(path))}`)
  }
  return path
}

/** In the order of their names, each once. @throws ConfigError `E_ARGUMENT` for two with one name, and for none */
export function nameTrees(trees: readonly Tree[], as: string | undefined): Tree[] {
  if (as !== undefined && trees.length > 1) {
    throw new ConfigError('E_ARGUMENT', `${trees.length} files cannot all be named ${as}`, {
      suggestions: ['Name one file, or leave "as" out'],
    })
  }
  const named = new Map<ByteName, Tree>()
  for (const tree of trees) {
    const name = as === undefined ? tree.name : byteName(as)
    if (name === '') throw nameless(readableName(tree.path))
    const other = named.get(name)
    if (other !== undefined && other.path !== tree.path) {
      const both = `${readableName(other.path)} and ${readableName(tree.path)}`
      throw new ConfigError('E_ARGUMENT', `Two files would be ${readableName(name)} in the target directory: ${both}`, {
        suggestions: ['Copy them one after the other, with "as" for one of them'],
      })
    }
    if (other === undefined) named.set(name, { ...tree, name })
  }
  return [...named.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

function nameless(said: string): ConfigError {
  return new ConfigError('E_ARGUMENT', `${said} has no name that it could have in the target directory`, {
    suggestions: ['Say with "as" how it is to be named there'],
  })
}

export function renamed(entry: ManifestEntry, top: ByteName): ManifestEntry {
  const slash = entry.name.indexOf('/')
  const name = slash < 0 ? top : `${top}${entry.name.slice(slash)}`
  return name === entry.name ? entry : { ...entry, name }
}

export function sourceError(problems: readonly Problem[], host: string): TransferError {
  const said = problems.slice(0, NAMED_PROBLEMS).map(({ file, message }) => `${file}: ${message}`)
  if (problems.length > said.length) said.push(`and ${problems.length - said.length} more`)
  const codes = new Set(problems.map(({ code }) => code))
  const suggestions: string[] = []
  if (codes.has('E_SOURCE_MISSING')) suggestions.push('Look how the files are named there: names are taken from the home directory on')
  if (codes.has('E_SOURCE_UNREADABLE')) suggestions.push('Make the files readable, or leave them out')
  if (codes.has('E_SOURCE_SPECIAL')) {
    suggestions.push('Copy files, directories and links only: sockets, named pipes and devices have no content')
  }
  const code = (problems[0] as Problem).code as TransferError['code']
  return new TransferError(code, `Cannot be copied from ${host}: ${said.join('; ')}`, {
    suggestions,
    data: { problems: problems.slice(0, 1000) },
  })
}
