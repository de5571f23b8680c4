import { type BigIntStats, closeSync, fstatSync, lstatSync, readdirSync, readlinkSync, readSync, realpathSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { ConfigError, messageOf, systemCodeOf, TransferError } from '../../errors.js'
import type { CopyPolicy, LeftOut } from '../../model/transfer.js'
import type { FilePath } from '../../ports/transfer.js'
import { type ByteName, byteName, readableName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import type { Manifest, ManifestEntry } from '../manifest.js'
import { microsecondsOf } from './file-times.js'
import { globHere, isPattern } from './local-glob.js'
import { isLeased, openFileSync } from './local-open.js'

export interface Walked {
  readonly manifest: Manifest
  /** Absolute, here, of each entry. */
  readonly paths: readonly ByteName[]
  readonly leftOut: readonly LeftOut[]
}

/** One file that is named, before anybody looked into it. */
interface Source {
  /** As it is said in messages. */
  readonly said: string
  readonly path: ByteName
}

interface Problem {
  readonly code: 'E_SOURCE_MISSING' | 'E_SOURCE_UNREADABLE' | 'E_SOURCE_SPECIAL'
  readonly file: string
  readonly message: string
}

/** More are only counted. */
const NAMED_PROBLEMS = 8

/**
 * Looks at files of this machine and all that is in them.
 *
 * The names in the manifest are the base names of the files, or `as`; siblings are in the order of their bytes, each directory stands before
 * its content. What vanishes while it is looked at was never there.
 *
 * @throws TransferError `E_SOURCE_MISSING`, `E_SOURCE_UNREADABLE`, `E_SOURCE_SPECIAL`: the code of the first of all that are wrong; each
 * stands in `data.problems`. ConfigError `E_ARGUMENT` for two with one name, for `as` with several, and for none
 */
export async function walkSources(files: readonly FilePath[], policy: CopyPolicy, signal?: AbortSignal): Promise<Walked> {
  if (files.length === 0) throw new ConfigError('E_ARGUMENT', 'No file is named that is to be copied')
  const walk = new Walk(policy, signal)
  const sources = files.flatMap((file) => walk.find(file))
  walk.check()
  for (const { name, source } of nameSources(sources, policy)) await walk.enter(name, source)
  walk.check()
  return walk
}

class Walk implements Walked {
  readonly manifest: ManifestEntry[] = []
  readonly paths: ByteName[] = []
  readonly leftOut: LeftOut[] = []
  readonly #problems: Problem[] = []
  readonly #policy: CopyPolicy
  readonly #signal: AbortSignal | undefined
  readonly #turns = new Turns()

  constructor(policy: CopyPolicy, signal: AbortSignal | undefined) {
    this.#policy = policy
    this.#signal = signal
  }

  /** Throws what was found to be wrong so far. */
  check(): void {
    const [first] = this.#problems
    if (first === undefined) return
    const said = this.#problems.slice(0, NAMED_PROBLEMS).map(({ file, message }) => `${file}: ${message}`)
    const more = this.#problems.length - said.length
    if (more > 0) said.push(`and ${more} more`)
    throw new TransferError(first.code, `Cannot be copied: ${said.join('; ')}`, {
      suggestions: suggestionsFor(new Set(this.#problems.map(({ code }) => code))),
      data: { problems: this.#problems.slice(0, 1000) },
    })
  }

  /** The file of that name, or those that the pattern stands for. */
  find(file: FilePath): Source[] {
    const { base, name } = absolute(file)
    const path = base + name
    const said = typeof file === 'string' ? file : readableName(path)
    try {
      statSync(bytes(path), { bigint: true })
      return [{ said, path }]
    } catch (error) {
      if (typeof file === 'string' && isPattern(name) && isAbsent(error) && !isThere(path)) {
        const found = globHere(name, base)
        if (found.length === 0) this.#problem('E_SOURCE_MISSING', said, 'this pattern fits no file')
        return found.map((one) => ({ said: readableName(one), path: one }))
      }
      this.#unreadable(said, error, isThere(path) ? 'a link to what does not exist' : 'no such file or directory')
      return []
    }
  }

  /** What the user names is followed when it is a link. */
  async enter(name: ByteName, { path, said }: Source): Promise<void> {
    let stats: BigIntStats
    try {
      stats = statSync(bytes(path), { bigint: true })
    } catch (error) {
      this.#unreadable(said, error)
      return
    }
    if (!stats.isFile() && !stats.isDirectory()) this.#problem('E_SOURCE_SPECIAL', said, `this is a ${kindOf(stats)}`)
    else await this.#enterTree(name, path, stats)
  }

  async #enterTree(name: ByteName, path: ByteName, stats: BigIntStats): Promise<void> {
    const top = this.#take(name, path, stats, undefined)
    const open = top === undefined ? [] : [top]
    // The deepest directory is last; no recursion, for trees of any depth.
    for (let folder = open.at(-1); folder !== undefined; folder = open.at(-1)) {
      const next = folder.names.pop()
      if (next === undefined) {
        open.pop()
        continue
      }
      const inner = this.#look(`${folder.name}/${next}`, `${folder.path}/${next}`, folder)
      if (inner !== undefined) open.push(inner)
      await this.#turns.pause(this.#signal)
    }
  }

  /** @returns a directory that is to be entered */
  #look(name: ByteName, path: ByteName, above: Folder): Folder | undefined {
    let stats: BigIntStats
    try {
      stats = lstatSync(bytes(path), { bigint: true })
      if (stats.isSymbolicLink()) {
        const { links } = this.#policy
        if (links === 'skip') return this.#leave(name, 'symbolic link')
        if (links === 'keep') return this.#takeLink(name, path, stats)
        try {
          stats = statSync(bytes(path), { bigint: true })
        } catch (error) {
          return this.#unreadable(readableName(path), error, 'a link to what does not exist')
        }
      }
    } catch (error) {
      // It was there a moment ago.
      return isAbsent(error) ? undefined : this.#unreadable(readableName(path), error)
    }
    if (stats.isFile() || stats.isDirectory()) return this.#take(name, path, stats, above)
    if (this.#policy.special === 'skip') return this.#leave(name, kindOf(stats))
    return this.#problem('E_SOURCE_SPECIAL', readableName(path), `this is a ${kindOf(stats)}`)
  }

  #takeLink(name: ByteName, path: ByteName, stats: BigIntStats): undefined {
    const target = readlinkSync(bytes(path), 'latin1')
    this.#add({ kind: 'link', name, timeUs: microsecondsOf(stats.mtimeNs), target }, path)
  }

  #take(name: ByteName, path: ByteName, stats: BigIntStats, above: Folder | undefined): Folder | undefined {
    const mode = Number(stats.mode) & 0o7777
    const timeUs = microsecondsOf(stats.mtimeNs)
    if (stats.isFile()) {
      try {
        checkContent(bytes(path), stats)
      } catch (error) {
        return isAbsent(error) && above !== undefined ? undefined : this.#unreadable(readableName(path), error)
      }
      return this.#add({ kind: 'file', name, mode, timeUs, size: Number(stats.size) }, path)
    }
    const identity = `${stats.dev}:${stats.ino}`
    for (let folder = above; folder !== undefined; folder = folder.above) {
      if (folder.identity === identity) {
        return this.#problem('E_SOURCE_UNREADABLE', readableName(path), `it leads back to ${readableName(folder.path)}, without end`)
      }
    }
    try {
      // From the end, because that is what a list gives away cheaply.
      const names = readdirSync(bytes(path), 'latin1').sort().reverse()
      this.#add({ kind: 'directory', name, mode, timeUs }, path)
      return { name, path, identity, above, names }
    } catch (error) {
      return isAbsent(error) && above !== undefined ? undefined : this.#unreadable(readableName(path), error)
    }
  }

  #add(entry: ManifestEntry, path: ByteName): undefined {
    this.manifest.push(entry)
    this.paths.push(path)
  }

  #leave(name: ByteName, why: string): undefined {
    this.leftOut.push({ file: readableName(name), why })
  }

  #unreadable(file: string, error: unknown, absent = 'no such file or directory'): undefined {
    const denied = systemCodeOf(error) === 'EACCES' || systemCodeOf(error) === 'EPERM'
    if (isAbsent(error)) this.#problem('E_SOURCE_MISSING', file, absent)
    else this.#problem('E_SOURCE_UNREADABLE', file, denied ? 'it may not be read' : messageOf(error))
  }

  #problem(code: Problem['code'], file: string, message: string): undefined {
    // The system repeats the path in what it says; one that is too long for it is too long for anybody.
    this.#problems.push({ code, file: shortened(file), message: shortened(message) })
  }
}

/**
 * Refuses a file that may not be read, and one that is said to be empty and is not: it would be copied without its content.
 *
 * @throws the system's errors
 */
function checkContent(path: Buffer, { mode, size }: BigIntStats): void {
  if (size > 0n && (mode & 0o444n) === 0o444n) return
  let file: number
  try {
    // access(2) would ask for the user who started the program, not for the one that it is.
    file = openFileSync(path)
  } catch (error) {
    if (isLeased(error)) return
    throw error
  }
  try {
    // When it has a size now, somebody has written to it since.
    if (size === 0n && readSync(file, Buffer.alloc(1), 0, 1, 0) > 0 && fstatSync(file).size === 0) {
      throw new Error('it says that it is empty, and has content: the system makes it when it is read. Copy it to a plain file first')
    }
  } finally {
    closeSync(file)
  }
}

function shortened(text: string): string {
  return text.length > 300 ? `${text.slice(0, 200)}…${text.slice(-60)}` : text
}

interface Folder {
  readonly name: ByteName
  readonly path: ByteName
  readonly identity: string
  readonly above: Folder | undefined
  /** Still to be looked at, the next one last. */
  readonly names: ByteName[]
}

/** The names in the target directory, in the order of their bytes. */
function nameSources(sources: readonly Source[], { as }: CopyPolicy): { readonly name: ByteName; readonly source: Source }[] {
  if (as !== undefined && sources.length > 1) {
    throw new ConfigError('E_ARGUMENT', `${sources.length} files cannot all be named ${as}: ${listed(sources)}`, {
      suggestions: ['Name one file, or leave "as" out'],
    })
  }
  const named = new Map<ByteName, Source>()
  for (const source of sources) {
    const name = as === undefined ? baseName(source.path) : byteName(as)
    if (name === '')
      throw new ConfigError('E_ARGUMENT', `${source.said} has no name that it could have in the target directory`, {
        suggestions: ['Say with "as" how it is to be named there'],
      })
    const other = named.get(name)
    if (other !== undefined && plainPath(other.path) !== plainPath(source.path)) {
      throw new ConfigError(
        'E_ARGUMENT',
        `Two files would be ${readableName(name)} in the target directory: ${other.said} and ${source.said}`,
        {
          suggestions: ['Copy them one after the other, with "as" for one of them'],
        },
      )
    }
    named.set(name, source)
  }
  return [...named].map(([name, source]) => ({ name, source })).sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Without the slashes and dots that mean nothing. */
function plainPath(path: ByteName): ByteName {
  return path.replace(/\/+(\.?\/+)*/g, '/').replace(/(.)\/\.?$/, '$1')
}

function listed(sources: readonly Source[]): string {
  const said = sources.slice(0, 5).map((source) => source.said)
  return said.length < sources.length ? `${said.join(', ')}…` : said.join(', ')
}

/** A name, and what stands before it, which is no pattern whatever it holds. */
function absolute(file: FilePath): { readonly base: ByteName; readonly name: ByteName } {
  const name = typeof file === 'string' ? byteName(file) : Buffer.from(file).toString('latin1')
  if (name === '' || name.includes('\0')) {
    throw new ConfigError('E_ARGUMENT', `This is no name of a file: ${JSON.stringify(readableName(name))}`)
  }
  if (typeof file === 'string' && name.startsWith('~/')) return { base: byteName(homedir()), name: name.slice(1) }
  return name.startsWith('/') ? { base: '', name } : { base: here(), name: `/${name}` }
}

function here(): ByteName {
  try {
    return realpathSync.native(bytes('.'), 'latin1')
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', 'The current directory does not exist any more', {
      suggestions: ['Go into one that exists, or write names that begin with a slash'],
      cause,
    })
  }
}

/** The last name of a path; of one that ends in `.` or `..`, that of the directory it stands for. Empty for the root. */
function baseName(path: ByteName): ByteName {
  const last = path.replace(/\/+$/, '').split('/').at(-1) ?? ''
  return last === '.' || last === '..' ? baseName(realpathSync.native(bytes(path), 'latin1')) : last
}

function bytes(path: ByteName): Buffer {
  return Buffer.from(path, 'latin1')
}

function isAbsent(error: unknown): boolean {
  const code = systemCodeOf(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

function isThere(path: ByteName): boolean {
  try {
    lstatSync(bytes(path))
    return true
  } catch {
    return false
  }
}

function kindOf(stats: BigIntStats): string {
  if (stats.isSocket()) return 'socket'
  return stats.isFIFO() ? 'named pipe' : 'device'
}

function suggestionsFor(codes: ReadonlySet<Problem['code']>): string[] {
  const suggestions: string[] = []
  if (codes.has('E_SOURCE_MISSING')) suggestions.push('Look how the files are named: names are taken from the current directory on')
  if (codes.has('E_SOURCE_UNREADABLE')) suggestions.push('Make the files readable, or leave them out')
  if (codes.has('E_SOURCE_SPECIAL'))
    suggestions.push('Copy files, directories and links only: sockets, named pipes and devices have no content')
  return suggestions
}
