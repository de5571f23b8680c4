import { ConfigError, systemCodeOf } from '../../errors.js'
import type { CopyPolicy } from '../../model/transfer.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import { nameTrees, type Problem, renamed, sourceError, type Tree, wantedPath } from '../agent/agent-source.js'
import { fitsPattern, isPattern } from '../local/local-glob.js'
import type { Manifest, ManifestEntry } from '../manifest.js'
import { eachAtOnce } from '../mover-parts.js'
import type { Listed, RemoteSource } from '../place.js'
import { type SftpClient, SftpFailure, type SftpName } from './sftp-client.js'
import { absoluteThere, digestThere, kindOf, look } from './sftp-files.js'
import type { SftpAttributes } from './sftp-packets.js'

/** Requests under way at a time. */
const AT_ONCE = 16

/** A directory that is being listed, and those that it is in. */
interface Above {
  readonly path: ByteName
  readonly above: Above | undefined
}

/** The sending side of a `get` from a host that gives nothing but sftp. Times have whole seconds there. */
export class SftpSource implements RemoteSource {
  readonly #client: SftpClient
  #manifest: Manifest = []
  #paths: readonly ByteName[] = []

  /** @param client - not closed by this */
  constructor(client: SftpClient) {
    this.#client = client
  }

  async list(files: readonly (string | Uint8Array)[], policy: CopyPolicy): Promise<Listed> {
    if (files.length === 0) throw new ConfigError('E_ARGUMENT', 'No file is named that is to be copied')
    const listing = new Listing(this.#client, policy)
    for (const file of files) await listing.enter(file)
    const { trees, leftOut, problems } = listing
    if (problems.length > 0) throw sourceError(problems, 'the host')
    const named = nameTrees(trees, policy.as)
    this.#manifest = named.flatMap(({ name, entries }) => entries.map(({ entry }) => renamed(entry, name)))
    this.#paths = named.flatMap(({ entries }) => entries.map(({ path }) => path))
    return { manifest: this.#manifest, paths: this.#paths, leftOut }
  }

  async digests(indexes: readonly number[], signal?: AbortSignal): Promise<readonly (string | undefined)[]> {
    const digests: (string | undefined)[] = []
    for (const index of indexes) {
      signal?.throwIfAborted()
      digests.push(await this.#digest(index))
    }
    return digests
  }

  async unchanged(indexes: readonly number[], signal?: AbortSignal): Promise<readonly boolean[]> {
    const same: boolean[] = []
    await eachAtOnce(indexes.entries(), AT_ONCE, async ([at, index]) => {
      signal?.throwIfAborted()
      same[at] = await this.#isSame(index)
    })
    return same
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #digest(index: number): Promise<string | undefined> {
    try {
      const digest = await digestThere(this.#client, this.#paths[index] ?? '')
      return (await this.#isSame(index)) ? digest : undefined
    } catch (error) {
      if (error instanceof SftpFailure) return undefined
      throw error
    }
  }

  async #isSame(index: number): Promise<boolean> {
    const entry = this.#manifest[index]
    try {
      const { size, mtime } = await this.#client.stat(this.#paths[index] ?? '')
      return entry?.kind === 'file' && size === entry.size && microseconds({ mtime }) === entry.timeUs
    } catch (error) {
      if (error instanceof SftpFailure) return false
      throw error
    }
  }
}

class Listing {
  readonly trees: Tree[] = []
  readonly leftOut: { readonly file: string; readonly why: string }[] = []
  readonly problems: Problem[] = []
  readonly #client: SftpClient
  readonly #policy: CopyPolicy

  constructor(client: SftpClient, policy: CopyPolicy) {
    this.#client = client
    this.#policy = policy
  }

  /** What the user names is followed when it is a link. A text is a pattern unless a file has just that name. */
  async enter(file: string | Uint8Array): Promise<void> {
    const said = readableName(wantedPath(file))
    const path = await absoluteThere(this.#client, file)
    if ((await this.#look(path, said)) !== undefined) return await this.#tree(path, said)
    if (typeof file !== 'string' || !isPattern(path)) return
    const found = await this.#glob(path)
    if (found.length > 0) this.problems.splice(this.problems.length - 1, 1)
    for (const one of found) await this.#tree(one, readableName(one))
  }

  async #tree(path: ByteName, said: string): Promise<void> {
    const attributes = await this.#look(path, said)
    if (attributes === undefined) return
    const kind = kindOf(attributes)
    if (kind !== 'file' && kind !== 'directory') {
      this.problems.push({ code: 'E_SOURCE_SPECIAL', file: said, message: `this is a ${kind}` })
      return
    }
    const real = path.endsWith('/..') || path.includes('/../') ? await this.#client.realpath(path) : path
    const name = real.slice(real.lastIndexOf('/') + 1)
    const tree: Tree = { name, path: real, entries: [] }
    this.trees.push(tree)
    // The root has no name: it is refused when names are given, and not walked before.
    if (name !== '' || this.#policy.as !== undefined) await this.#take(tree, name, real, attributes, undefined)
  }

  async #take(tree: Tree, name: ByteName, path: ByteName, attributes: SftpAttributes, above: Above | undefined): Promise<void> {
    const mode = (attributes.mode ?? 0) & 0o7777
    const timeUs = microseconds(attributes)
    const add = (entry: ManifestEntry): void => void tree.entries.push({ entry, path })
    if (kindOf(attributes) === 'file') {
      add({ kind: 'file', name, mode, timeUs, size: attributes.size ?? 0 })
      return
    }
    let names: SftpName[]
    try {
      names = await this.#client.list(path)
    } catch (error) {
      this.#problem(path, error)
      return
    }
    add({ kind: 'directory', name, mode, timeUs })
    names.sort((a, b) => (a.name < b.name ? -1 : 1))
    for (const inner of names) await this.#inside(tree, `${name}/${inner.name}`, `${path}/${inner.name}`, inner.attributes, { path, above })
  }

  /** What is inside of a directory. */
  async #inside(tree: Tree, name: ByteName, path: ByteName, attributes: SftpAttributes, above: Above): Promise<void> {
    const kind = kindOf(attributes)
    if (kind === 'file' || kind === 'directory') return await this.#take(tree, name, path, attributes, above)
    if (kind !== 'link') {
      if (this.#policy.special === 'skip') this.leftOut.push({ file: readableName(name), why: kind })
      else this.problems.push({ code: 'E_SOURCE_SPECIAL', file: readableName(path), message: `this is a ${kind}` })
    } else if (this.#policy.links === 'skip') this.leftOut.push({ file: readableName(name), why: 'symbolic link' })
    else if (this.#policy.links === 'keep') {
      const target = await this.#client.readlink(path)
      tree.entries.push({ entry: { kind: 'link', name, timeUs: microseconds(attributes), target }, path })
    } else await this.#follow(tree, name, path, above)
  }

  async #follow(tree: Tree, name: ByteName, path: ByteName, above: Above): Promise<void> {
    const attributes = await this.#look(path, readableName(path), 'a link to what does not exist')
    if (attributes === undefined) return
    if (kindOf(attributes) === 'directory') {
      const real = await this.#client.realpath(path)
      for (let folder: Above | undefined = above; folder !== undefined; folder = folder.above) {
        if ((await this.#client.realpath(folder.path)) !== real) continue
        const message = `it leads back to ${readableName(real)}, without end`
        this.problems.push({ code: 'E_SOURCE_UNREADABLE', file: readableName(path), message })
        return
      }
    }
    await this.#inside(tree, name, path, attributes, above)
  }

  async #look(path: ByteName, said: string, absent = 'no such file or directory'): Promise<SftpAttributes | undefined> {
    try {
      const attributes = await look(this.#client, path, 'stat')
      if (attributes === undefined) this.problems.push({ code: 'E_SOURCE_MISSING', file: said, message: absent })
      return attributes
    } catch (error) {
      this.#problem(path, error)
      return undefined
    }
  }

  async #glob(pattern: ByteName): Promise<ByteName[]> {
    let found: ByteName[] = ['']
    for (const part of pattern.split('/').filter((text) => text !== '')) {
      const next: ByteName[] = []
      for (const path of found) {
        if (!isPattern(part)) next.push(`${path}/${part}`)
        else {
          const names = await this.#client.list(path === '' ? '/' : path).catch((error: unknown) => {
            if (error instanceof SftpFailure) return []
            throw error
          })
          const fitting = names.map(({ name }) => name).filter((name) => fitsPattern(part, name))
          next.push(...fitting.sort().map((name) => `${path}/${name}`))
        }
      }
      found = next
    }
    const there: ByteName[] = []
    for (const path of found) if ((await look(this.#client, path, 'stat')) !== undefined) there.push(path)
    return there
  }

  #problem(path: ByteName, error: unknown): void {
    if (!(error instanceof SftpFailure)) throw error
    const message = systemCodeOf(error) === 'EACCES' ? 'it may not be read' : error.message
    this.problems.push({ code: 'E_SOURCE_UNREADABLE', file: readableName(path), message })
  }
}

function microseconds({ mtime = 0 }: SftpAttributes): number {
  return mtime * 1_000_000
}
