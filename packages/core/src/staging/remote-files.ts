import { posix } from 'node:path'
import { ConfigError, TransferError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { CallOptions } from '../ports/scheduler.js'
import type { FileWatch, SiteFiles, SmallFile } from '../ports/site-files.js'
import { byteName, insideName } from '../util/byte-names.js'
import { shellQuote } from '../util/shell-quote.js'
import { TAR_END, tarHeader, tarPadding } from '../util/tar-write.js'
import { unknownVariable } from './local-files.js'
import { RemoteWatch } from './remote-watch.js'
import { exchange, makeToken, silentError, siteError } from './site-shell.js'
import { type TarEntry, TarReader } from './tar-read.js'

/** Small files are small: more than this is a mistake. */
const MOST_READ_BYTES = 64 << 20
/** Files that one tar is asked for. */
const PER_ARCHIVE = 200
const TIMEOUT_MS = 180_000

export interface RemoteFilesOptions {
  /** How commands are run on the site. */
  readonly processes: ProcessBackend
  readonly clock: Clock
}

/**
 * The files of a site that sees none of ours. Needs there a POSIX shell, `tar`, `mv`, `rm` and `sleep`.
 */
export class RemoteFiles implements SiteFiles {
  readonly isShared = false
  readonly #processes: ProcessBackend
  readonly #clock: Clock

  constructor({ processes, clock }: RemoteFilesOptions) {
    this.#processes = processes
    this.#clock = clock
  }

  async write(files: readonly SmallFile[], { signal }: CallOptions = {}): Promise<void> {
    if (files.length === 0) return
    const what = files.length === 1 ? `write ${files[0]?.path}` : `write ${files.length} files`
    const temporary = `.cahier-${makeToken()}`
    const folders = new Map<string, string[]>()
    const parts: Uint8Array[] = []
    for (const { path, data, mode } of new Map(files.map((file) => [file.path, file])).values()) {
      const folder = posix.dirname(checkAbsolute(path))
      const name = posix.basename(path)
      const names = folders.get(folder)
      if (names === undefined) folders.set(folder, [name])
      else names.push(name)
      const bytes = typeof data === 'string' ? Buffer.from(data) : data
      const member = byteName(posix.join(folder, temporary, name).slice(1))
      parts.push(tarHeader(member, bytes.length, mode ?? 0o644, this.#clock.now()), bytes, tarPadding(bytes.length))
    }
    const program = renderPlacing(folders, temporary)
    const answer = await exchange(this.#processes, {
      program: [program],
      payload: [...parts, TAR_END],
      signal,
      what,
      timeoutMs: TIMEOUT_MS,
    })
    if (answer.exitCode !== 0) throw siteError(what, answer)
  }

  async read(paths: readonly string[], { signal }: CallOptions = {}): Promise<readonly (string | undefined)[]> {
    if (paths.length === 0) return []
    const what = paths.length === 1 ? `read ${paths[0]}` : `read ${paths.length} files`
    const names = paths.map((path) => byteName(checkAbsolute(path).slice(1)))
    const program = ['e=0']
    for (let at = 0; at < paths.length; at += PER_ARCHIVE) {
      const lines = paths.slice(at, at + PER_ARCHIVE).map((path) => `f=${shellQuote(path)}; [ ! -f "$f" ] || set -- "$@" ".$f"`)
      program.push(['set --', ...lines, '[ $# -eq 0 ] || tar cf - -C / -- "$@" </dev/null || e=1'].join('\n'))
    }
    program.push('exit $e')
    const found = new TextSink()
    const reader = new TarReader(found)
    const answer = await exchange(this.#processes, {
      program,
      signal,
      what,
      timeoutMs: TIMEOUT_MS,
      onOutput: (chunk) => reader.push(chunk),
    })
    if (answer.exitCode !== 0) checkVanished(what, answer)
    return names.map((name) => found.text(name))
  }

  watch(onFile: (path: string, text: string) => void): FileWatch {
    return new RemoteWatch({ processes: this.#processes, clock: this.#clock }, onFile)
  }

  async resolve(path: string, { signal }: CallOptions = {}): Promise<string> {
    const what = `find out what ${path} stands for`
    const answer = await exchange(this.#processes, { program: [renderResolving(path)], signal, what, timeoutMs: TIMEOUT_MS })
    const variable = variableOf(path)
    if (answer.exitCode === 3 && variable !== undefined) throw unknownVariable(path, variable)
    const text = answer.stdout
    if (answer.exitCode !== 0 || !text.startsWith('/')) throw silentError(what, answer)
    return posix.normalize(text).replace(/(?<=.)\/$/, '')
  }
}

/** Unpacks what comes into a folder of its own beside each file's place, then renames. Nothing stays when it fails. */
function renderPlacing(folders: ReadonlyMap<string, readonly string[]>, temporary: string): string {
  const all = [...folders.keys()].map((folder) => shellQuote(posix.join(folder, temporary))).join(' ')
  const moves = [...folders].map(
    ([folder, names]) =>
      `mv -f ${names.map((name) => shellQuote(posix.join(folder, temporary, name))).join(' ')} ${shellQuote(`${folder}/`)} || e=1`,
  )
  return [
    `c() { rm -rf ${all}; }`,
    "trap 'c; exit 97' HUP INT TERM PIPE",
    'tar xof - -m -C / || { c; exit 1; }',
    'e=0',
    ...moves,
    'c',
    'exit $e',
  ].join('\n')
}

function variableOf(path: string): string | undefined {
  const found = /^\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))(?=\/|$)/.exec(path)
  return found?.[1] ?? found?.[2]
}

/** A variable that only login shells set is asked of one. */
function renderResolving(path: string): string {
  const variable = variableOf(path)
  const home = /^~([A-Za-z0-9._-]*)(?=\/|$)/.exec(path)
  if (variable !== undefined) {
    const rest = path.replace(/^\$(\{\w+\}|\w+)/, '')
    return `v=$${variable}
[ -n "$v" ] || v=$("\${SHELL:-/bin/sh}" -l -c env </dev/null 2>/dev/null | sed -n 's/^${variable}=//p')
[ -n "$v" ] || exit 3
printf '%s%s' "$v" ${shellQuote(rest === '' ? '' : rest)}`
  }
  if (home !== null) return `eval ${shellQuote(`h=~${home[1] ?? ''}`)}\nprintf '%s%s' "$h" ${shellQuote(path.slice(home[0].length))}`
  return path.startsWith('/') ? `printf '%s' ${shellQuote(path)}` : `printf '%s/%s' "$HOME" ${shellQuote(path)}`
}

function checkAbsolute(path: string): string {
  if (path.startsWith('/') && posix.normalize(path) === path && !path.endsWith('/') && !path.includes('\0')) return path
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(path)} is no absolute name of a file`)
}

/** A file that went while it was to be read is one that is not there. */
function checkVanished(what: string, answer: { readonly exitCode: number; readonly stderr: string }): void {
  const harmless =
    /No such file or directory|Removing leading|file changed as we read|failure status|previous errors|^\s*$|error is not recoverable/i
  if (answer.exitCode !== 1 || answer.stderr.split('\n').some((line) => !harmless.test(line))) throw silentError(what, answer)
}

/** The texts of an archive by name. */
class TextSink {
  readonly #texts = new Map<string, string>()
  #name = ''
  #chunks: Uint8Array[] = []
  #bytes = 0

  text(name: string): string | undefined {
    return this.#texts.get(name)
  }

  control(): void {
    // There are none in this answer.
  }

  begin({ name, link }: TarEntry): void {
    this.#name = insideName(name) ?? ''
    const known = link === undefined ? undefined : this.#texts.get(insideName(link) ?? '')
    this.#chunks = known === undefined ? [] : [Buffer.from(known)]
  }

  data(chunk: Uint8Array): void {
    this.#bytes += chunk.length
    if (this.#bytes > MOST_READ_BYTES)
      throw new TransferError('E_FETCH', `files of more than ${MOST_READ_BYTES} bytes are not read as texts`)
    this.#chunks.push(Buffer.from(chunk))
  }

  end(): void {
    this.#texts.set(this.#name, Buffer.concat(this.#chunks).toString('utf8'))
  }
}
