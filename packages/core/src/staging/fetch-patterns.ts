import { type ByteName, byteName, readableName } from '../util/byte-names.js'
import { RECORD_FILES } from '../util/job-files.js'
import { shellQuote } from '../util/shell-quote.js'

/** What comes home of every job, whatever is asked for. */
const ALWAYS_FETCHED = ['stdout', 'stderr', ...RECORD_FILES]

/**
 * Which files of a job come home. A pattern without a slash stands for files of that name and for folders of that name with all that is in
 * them, at any depth; one with a slash for a path from the job's directory. `*` stands for any characters, slashes among them, `?` for
 * one, `[…]` for one of a set: as in `find`, so that the site and this machine mean the same.
 */
export class FetchPatterns {
  /** Patterns of paths that begin with `./`. */
  readonly #paths: readonly string[] | undefined
  readonly #expressions: readonly RegExp[]
  readonly #exclude: ReadonlySet<ByteName>

  /**
   * @param patterns - `undefined`: everything
   * @param exclude - names in the job's directory that do not come home, whatever the patterns say
   */
  constructor(patterns: readonly string[] | undefined, exclude: readonly string[] = []) {
    this.#exclude = new Set(exclude.map(byteName))
    this.#paths = patterns === undefined ? undefined : [...ALWAYS_FETCHED.map((name) => `./${name}`), ...patterns.flatMap(pathsOf)]
    this.#expressions = (this.#paths ?? []).map((path) => new RegExp(`^${expressionOf(byteName(path))}$`, 's'))
  }

  matches(name: ByteName): boolean {
    if (this.#exclude.has(name)) return false
    return this.#paths === undefined || this.#expressions.some((expression) => expression.test(`./${name}`))
  }

  /**
   * Words for `find` that take out what is not wanted. No brackets: in those of busybox, what ends with a plus is not executed.
   *
   * @source find(1) findutils 4.9, busybox 1.35
   */
  findOthers(): string {
    const excluded = [...this.#exclude].map((name) => readableName(name).replaceAll(/[\\*?[\]]/g, '\\$&'))
    const prunes = excluded.map((name) => `-path ${shellQuote(`./${name}`)} -prune -o`)
    if (this.#paths !== undefined) prunes.push(`-type f ${this.#paths.map((path) => `! -path ${shellQuote(path)}`).join(' ')} -prune -o`)
    return prunes.join(' ')
  }
}

function pathsOf(pattern: string): string[] {
  const clean = pattern.replace(/^(\.?\/)+/, '').replace(/\/+$/, '')
  if (clean === '') return []
  if (clean.includes('/')) return [`./${clean}`, `./${clean}/*`]
  return [`./${clean}`, `./${clean}/*`, `*/${clean}`, `*/${clean}/*`]
}

/** @source fnmatch(3) without flags */
function expressionOf(pattern: string): string {
  return pattern.replaceAll(/\\(.)|\[([!^]?)(\]?[^\]]*)\]|[\s\S]/g, (all, escaped?: string, not?: string, set?: string) => {
    if (escaped !== undefined) return literal(escaped)
    if (set !== undefined) return `[${not === '' ? '' : '^'}${set.replaceAll(/[\\\][^]/g, '\\$&')}]`
    if (all === '*') return '.*'
    if (all === '?') return '.'
    return literal(all)
  })
}

function literal(character: string): string {
  return character.replaceAll(/[\\^$.|+*?(){}[\]/]/g, '\\$&')
}
