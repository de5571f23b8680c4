import { startTimer } from '../util/async.js'

/** Characters before the newest text that a search looks at again, so that a match may span two reads. */
const DEFAULT_BACKTRACK = 4_096

/** A match, or why there is none. */
export type ExpectOutcome =
  | { readonly index: number; readonly match: RegExpExecArray }
  | { readonly index: -1; readonly match: undefined; readonly why: 'timeout' | 'ended' }

export interface SearchOptions {
  readonly timeoutMs?: number | undefined
  readonly backtrack?: number | undefined
  /** Looks only at what comes from now on. */
  readonly fromNow?: boolean | undefined
}

/**
 * The text that one stream has given so far: its beginning and its latest part in bounded memory, and the searches that
 * wait for more.
 */
export class StreamText {
  readonly #keep: number
  #head = ''
  #recent = ''
  /** Position of the first character of `#recent` in the whole stream. */
  #recentAt = 0
  #total = 0
  #position = 0
  #ended = false
  #searches: (() => void)[] = []

  constructor(keep: number) {
    this.#keep = Math.max(2, keep)
  }

  get text(): string {
    if (this.#recentAt === 0) return this.#recent
    const tail = this.#recent.slice(Math.max(0, this.#recent.length - (this.#keep >> 1)))
    const missing = this.#total - this.#head.length - tail.length
    return missing <= 0
      ? this.#head + this.#recent.slice(this.#recent.length - tail.length - missing)
      : `${this.#head}\n[... ${missing} characters left out ...]\n${tail}`
  }

  push(text: string): void {
    if (text === '') return
    this.#recent += text
    this.#total += text.length
    if (this.#recent.length > 2 * this.#keep) {
      if (this.#recentAt === 0) this.#head = this.#recent.slice(0, this.#keep >> 1)
      const drop = this.#recent.length - this.#keep
      this.#recent = this.#recent.slice(drop)
      this.#recentAt += drop
    }
    for (const search of this.#searches.slice()) search()
  }

  end(): void {
    this.#ended = true
    for (const search of this.#searches.slice()) search()
  }

  /**
   * Waits for the first pattern of the list that matches, in what has come since the last match and in what comes.
   * Several searches may wait at once, each from where the last match stood when it began.
   */
  expect(patterns: readonly RegExp[], options: SearchOptions = {}): Promise<ExpectOutcome> {
    const backtrack = options.backtrack ?? DEFAULT_BACKTRACK
    const begin = options.fromNow === true ? this.#total : this.#position
    let from = begin
    return new Promise((resolve) => {
      let cancelTimer: (() => void) | undefined
      const settle = (outcome: ExpectOutcome): void => {
        this.#searches = this.#searches.filter((other) => other !== search)
        cancelTimer?.()
        resolve(outcome)
      }
      const search = (): void => {
        const found = this.#find(patterns, from)
        if (found !== undefined) settle(found)
        else if (this.#ended) settle({ index: -1, match: undefined, why: 'ended' })
        else from = Math.max(begin, this.#total - backtrack)
      }
      this.#searches.push(search)
      search()
      if (this.#searches.includes(search) && options.timeoutMs !== undefined) {
        cancelTimer = startTimer(options.timeoutMs, () => settle({ index: -1, match: undefined, why: 'timeout' }))
      }
    })
  }

  #find(patterns: readonly RegExp[], from: number): ExpectOutcome | undefined {
    const start = Math.max(0, from - this.#recentAt)
    for (const [index, pattern] of patterns.entries()) {
      pattern.lastIndex = start
      const match = pattern.exec(this.#recent)
      if (match === null) continue
      this.#position = Math.max(this.#position, this.#recentAt + match.index + match[0].length)
      return { index, match }
    }
    return undefined
  }
}

/** A string is found as it stands; an expression is searched from where the last match ended, whatever its flags say. */
export function makePatterns(patterns: string | RegExp | readonly (string | RegExp)[]): RegExp[] {
  const list = typeof patterns === 'string' || patterns instanceof RegExp ? [patterns] : patterns
  return list.map((pattern) =>
    typeof pattern === 'string'
      ? new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&'), 'g')
      : new RegExp(pattern.source, `${pattern.flags.replace(/[gy]/g, '')}g`),
  )
}
