import { ConfigError, TransferError } from '../../errors.js'
import type { CopyPolicy } from '../../model/transfer.js'
import { type ByteName, byteName, readableName } from '../../util/byte-names.js'
import type { ManifestEntry } from '../manifest.js'
import type { ReachedHost } from '../mover.js'
import type { Listed, RemoteSource } from '../place.js'
import { shellWord } from './shell-session.js'
import { ShellTalk } from './shell-talk.js'
import { digestsOf, findTools, type ShellTools, sizesAndTimes, timeOf } from './shell-tools.js'

/** More are only counted. */
const NAMED_PROBLEMS = 8

type SourceCode = 'E_SOURCE_MISSING' | 'E_SOURCE_UNREADABLE' | 'E_SOURCE_SPECIAL'

interface Problem {
  readonly code: SourceCode
  readonly file: string
  readonly message: string
}

interface Seen {
  readonly type: number
  readonly mode: number
  readonly size: number
  readonly timeUs: number
  /** Relative to the directory that is named; empty for what is named itself. */
  readonly name: ByteName
}

const TYPE = 0o170000
const KINDS: ReadonlyMap<number, string> = new Map([
  [0o140000, 'socket'],
  [0o010000, 'named pipe'],
])

/** What a path is, followed: a directory, a file, something else, a link to nothing, nothing; then what it is called after links. */
const LOOK = `look() {
  if [ -d "$1" ]; then echo d; elif [ -f "$1" ]; then echo f; elif [ -e "$1" ]; then echo o; elif [ -L "$1" ]; then echo l; else echo -; fi
}`

/** The sending side of a `get` on a host that has neither Python nor Perl: find, `stat -c`, and for digests sha256sum or the like. */
export class ShellSource implements RemoteSource {
  readonly #reached: ReachedHost
  #listed: { readonly path: ByteName; readonly entry: ManifestEntry }[] = []

  constructor(reached: ReachedHost) {
    this.#reached = reached
  }

  async list(files: readonly (string | Uint8Array)[], policy: CopyPolicy, signal?: AbortSignal): Promise<Listed> {
    if (files.length === 0) throw new ConfigError('E_ARGUMENT', 'No file is named that is to be copied')
    await using talk = await ShellTalk.start(this.#reached.pooled, signal)
    const tools = await findTools(talk)
    if (!tools.stat) {
      throw new TransferError('E_AGENT', `${talk.host} has neither python3, perl nor a stat that says what a file is`, {
        suggestions: ['Install python3, perl or coreutils there'],
      })
    }
    const walk = new Walk(talk, tools, policy)
    await talk.ask(LOOK)
    const sources: ByteName[] = []
    for (const file of files) sources.push(...(await walk.find(file)))
    walk.check()
    for (const [name, path] of await nameSources(talk, sources, policy.as)) await walk.enter(name, path)
    walk.check()
    this.#listed = walk.entries
    return { manifest: walk.entries.map(({ entry }) => entry), paths: walk.entries.map(({ path }) => path), leftOut: walk.leftOut }
  }

  async digests(indexes: readonly number[], signal?: AbortSignal): Promise<readonly (string | undefined)[]> {
    await using talk = await ShellTalk.start(this.#reached.pooled, signal)
    const tools = await findTools(talk)
    const paths = indexes.map((index) => fromRoot(this.#listed[index]?.path ?? '/'))
    // Names are said from the root on.
    await talk.ask('cd /')
    const before = await sizesAndTimes(talk, tools, paths)
    const digests = await digestsOf(
      talk,
      paths.filter((path) => before.has(path)),
    )
    const after = await sizesAndTimes(talk, tools, paths)
    return indexes.map((index, at) => {
      const entry = this.#listed[index]?.entry
      const path = paths[at] as ByteName
      const isUnchanged = [before.get(path), after.get(path)].every(
        (is) => entry?.kind === 'file' && is?.size === entry.size && is.timeUs === entry.timeUs,
      )
      return isUnchanged ? digests.get(path) : undefined
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function fromRoot(path: ByteName): ByteName {
  return path.replace(/^\/+/, '')
}

class Walk {
  readonly entries: { readonly path: ByteName; readonly entry: ManifestEntry }[] = []
  readonly leftOut: { readonly file: string; readonly why: string }[] = []
  readonly #problems: Problem[] = []
  readonly #talk: ShellTalk
  readonly #tools: ShellTools
  readonly #policy: CopyPolicy

  constructor(talk: ShellTalk, tools: ShellTools, policy: CopyPolicy) {
    this.#talk = talk
    this.#tools = tools
    this.#policy = policy
  }

  check(): void {
    const [first] = this.#problems
    if (first === undefined) return
    const said = this.#problems.slice(0, NAMED_PROBLEMS).map(({ file, message }) => `${file}: ${message}`)
    if (this.#problems.length > said.length) said.push(`and ${this.#problems.length - said.length} more`)
    throw new TransferError(first.code, `Cannot be copied from ${this.#talk.host}: ${said.join('; ')}`, {
      suggestions: ['Look how the files are named and who may read them: names are taken from the home directory on'],
      data: { problems: this.#problems.slice(0, 1000).map((one) => ({ ...one })) },
    })
  }

  /** Absolute paths: the one of that name, or those that the pattern stands for. */
  async find(file: string | Uint8Array): Promise<ByteName[]> {
    const said = typeof file === 'string' ? byteName(file) : Buffer.from(file).toString('latin1')
    if (said === '' || said.includes('\0'))
      throw new ConfigError('E_ARGUMENT', `This is no name of a file: ${JSON.stringify(readableName(said))}`)
    const fromHome = typeof file === 'string' && said.startsWith('~/') ? said.slice(2) : said
    const path = said.startsWith('/') ? shellWord(said) : `"$HOME"/${shellWord(fromHome)}`
    const { text } = await this.#talk.ask(`look ${path}; printf '%s' ${path}`)
    const kind = text.slice(0, 1)
    if (kind === 'd' || kind === 'f' || kind === 'o') return [text.slice(2)]
    if (kind === '-' && typeof file === 'string' && /[*?[]/.test(said)) {
      const pattern = said.startsWith('/') ? patternWord(said) : `"$HOME"/${patternWord(fromHome)}`
      const found = await this.#talk.ask(`set +f; for f in ${pattern}; do [ ! -e "$f" ] || printf '%s\\n%s\\n' "$f" "$k."; done; set -f`)
      const mark = /\n([0-9a-f]{24}\.)\n$/.exec(found.text)?.[1]
      const names = mark === undefined ? [] : found.text.split(`\n${mark}\n`).slice(0, -1)
      if (names.length === 0) this.#problem('E_SOURCE_MISSING', said, 'this pattern fits no file')
      return names
    }
    this.#problem('E_SOURCE_MISSING', said, kind === 'l' ? 'a link to what does not exist' : 'no such file or directory')
    return []
  }

  /** One named file, or a directory with all that is in it. */
  async enter(top: ByteName, path: ByteName): Promise<void> {
    const word = shellWord(path)
    const { text: kind } = await this.#talk.ask(`look ${word}`)
    const follow = this.#policy.links === 'follow' ? '-L ' : ''
    // A marked line for each, whatever is in its name.
    const format = `'%f %s %Y %y|%n'`
    const command =
      kind.trim() === 'd'
        ? `cd ${word} && find ${follow}. -exec stat ${follow}-c "$k. "${format} {} +`
        : `stat -L -c "$k. "${format} ${word}`
    const { text: said, exitCode } = await this.#talk.ask(`( ${command} )`)
    const text = said.replace(/\n$/, '')
    const mark = /(?:^|\n)([0-9a-f]{24}\. )/.exec(text)?.[1]
    if (mark === undefined) {
      this.#problem('E_SOURCE_UNREADABLE', path, exitCode === 0 ? 'it is gone' : 'it may not be read')
      return
    }
    const seen = `\n${text}`
      .split(`\n${mark}`)
      .slice(1)
      .flatMap((record) => parseSeen(record, kind.trim() === 'd'))
      .sort((a, b) => (keyOf(a.name) < keyOf(b.name) ? -1 : 1))
    await this.#checkReadable(path, seen)
    await this.#add(top, path.replace(/\/+$/, ''), seen)
  }

  /** A directory that cannot be entered hides what is in it. */
  async #checkReadable(path: ByteName, seen: readonly Seen[]): Promise<void> {
    if (this.#tools.isRoot) return
    const doubtful = seen.filter(
      ({ type, mode }) => (type === 0o100000 && (mode & 0o444) !== 0o444) || (type === 0o040000 && (mode & 0o555) !== 0o555),
    )
    const render = (batch: readonly Seen[]): ByteName =>
      batch
        .map(({ name, type }) => [shellWord(pathOf(path, name)), type] as const)
        .map(([word, type]) => `if [ -r ${word} ]${type === 0o040000 ? ` && [ -x ${word} ]` : ''}; then echo y; else echo n; fi`)
        .join('\n')
    for (const [batch, { text }] of await this.#talk.askInBatches(doubtful, render)) {
      const lines = text.split('\n').filter((line) => line === 'y' || line === 'n')
      for (const [at, { name }] of batch.entries()) {
        if (lines[at] !== 'y') this.#problem('E_SOURCE_UNREADABLE', pathOf(path, name), 'it may not be read')
      }
    }
  }

  async #add(top: ByteName, path: ByteName, seen: readonly Seen[]): Promise<void> {
    const links: { readonly at: number; readonly path: ByteName }[] = []
    for (const { type, mode, size, timeUs, name: inner } of seen) {
      const name = inner === '' ? top : `${top}/${inner}`
      const where = pathOf(path, inner)
      if (type === 0o100000) this.entries.push({ path: where, entry: { kind: 'file', name, mode, timeUs, size } })
      else if (type === 0o040000) this.entries.push({ path: where, entry: { kind: 'directory', name, mode, timeUs } })
      else if (type === 0o120000 && this.#policy.links === 'skip') this.#leave(name, 'symbolic link')
      else if (type === 0o120000 && this.#policy.links === 'keep') {
        links.push({ at: this.entries.length, path: where })
        this.entries.push({ path: where, entry: { kind: 'link', name, timeUs, target: '' } })
      } else if (type === 0o120000) this.#problem('E_SOURCE_MISSING', where, 'a link to what does not exist')
      else {
        const kind = KINDS.get(type) ?? 'device'
        if (inner === '' || this.#policy.special === 'refuse') this.#problem('E_SOURCE_SPECIAL', where, `this is a ${kind}`)
        else this.#leave(name, kind)
      }
    }
    const render = (batch: readonly (typeof links)[number][]): ByteName =>
      batch.map((link) => `readlink ${shellWord(link.path)}; echo "$k."`).join('\n')
    for (const [batch, { text }] of await this.#talk.askInBatches(links, render)) {
      const mark = /\n([0-9a-f]{24}\.)\n?$/.exec(text)?.[1]
      const targets = text.split(`\n${mark}`)
      for (const [at, link] of batch.entries()) {
        const { entry, path: where } = this.entries[link.at] as (typeof this.entries)[number]
        const target = (targets[at] ?? '').replace(/^\n/, '')
        this.entries[link.at] = { path: where, entry: { ...(entry as ManifestEntry & { kind: 'link' }), target } }
      }
    }
  }

  #leave(name: ByteName, why: string): void {
    this.leftOut.push({ file: readableName(name), why })
  }

  #problem(code: SourceCode, path: ByteName, message: string): void {
    this.#problems.push({ code, file: readableName(path), message })
  }
}

function parseSeen(record: string, isBelow: boolean): Seen[] {
  const [, type = '', size = '', seconds = '', written = '', name = ''] =
    /^([0-9a-f]+) (\d+) (-?\d+) ([^|]*)\|([\s\S]*)$/.exec(record) ?? []
  if (type === '') return []
  const raw = Number.parseInt(type, 16)
  const relative = isBelow ? name.replace(/^\.\/?/, '') : ''
  return [{ type: raw & TYPE, mode: raw & 0o7777, size: Number(size), timeUs: timeOf(seconds, written), name: relative }]
}

/** So that siblings are in the order of their bytes, and each directory stands before its content. */
function keyOf(name: ByteName): string {
  return name.replaceAll('/', '\0')
}

function pathOf(path: ByteName, inner: ByteName): ByteName {
  return inner === '' ? path : `${path}/${inner}`
}

/** A pattern as one word in which only what makes it a pattern means something to the shell. */
function patternWord(pattern: ByteName): ByteName {
  return pattern.replace(/\\[\s\S]|[^A-Za-z0-9_./*?[\]!^-]/g, (part) => shellWord(part.length === 2 ? part.slice(1) : part))
}

/** The names in the target directory, in the order of their bytes. */
async function nameSources(talk: ShellTalk, sources: readonly ByteName[], as: string | undefined): Promise<[ByteName, ByteName][]> {
  if (as !== undefined && sources.length > 1) {
    throw new ConfigError('E_ARGUMENT', `${sources.length} files cannot all be named ${as}`, {
      suggestions: ['Name one file, or leave "as" out'],
    })
  }
  const named = new Map<ByteName, ByteName>()
  for (const path of sources) {
    const name = as === undefined ? await baseName(talk, path) : byteName(as)
    if (name === '') {
      throw new ConfigError('E_ARGUMENT', `${readableName(path)} has no name that it could have in the target directory`, {
        suggestions: ['Say with "as" how it is to be named there'],
      })
    }
    const other = named.get(name)
    if (other !== undefined && other !== path) {
      const both = `${readableName(other)} and ${readableName(path)}`
      throw new ConfigError('E_ARGUMENT', `Two files would be ${readableName(name)} in the target directory: ${both}`, {
        suggestions: ['Copy them one after the other, with "as" for one of them'],
      })
    }
    named.set(name, path)
  }
  return [...named].sort(([a], [b]) => (a < b ? -1 : 1))
}

async function baseName(talk: ShellTalk, path: ByteName): Promise<ByteName> {
  const last = path.replace(/\/+$/, '').split('/').at(-1) ?? ''
  if (last !== '.' && last !== '..') return last
  const { text } = await talk.ask(`( cd ${shellWord(path)} && pwd -P )`)
  return text.replace(/\n$/, '').split('/').at(-1) ?? ''
}
