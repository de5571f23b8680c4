import { HashedNames } from './hashed-name.js'
import { matchesPatterns } from './patterns.js'

export interface KnownHostsLine {
  readonly marker: 'revoked' | 'cert-authority' | undefined
  readonly type: string
  readonly key: Buffer
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

/**
 * The lines of one file of known hosts, indexed by name. Lines are taken apart when their host is asked for: a file of 100,000 lines is
 * split once, and most of it never looked at. Damaged lines are passed over, as ssh does.
 */
export class KnownHostsText {
  /** False when something stands behind the last line feed. */
  endsInLine = true
  readonly #file: string
  readonly #lines: string[] = []
  /** Plain names. Numbers of lines. */
  readonly #names = new Map<string, number[]>()
  /** Lines with wildcards or negation. */
  readonly #patterns: { readonly line: number; readonly names: readonly string[] }[] = []
  readonly #hashed = new HashedNames()
  readonly #hashedLines: number[] = []
  /** What was found before, until lines are added. */
  readonly #found = new Map<string, readonly KnownHostsLine[]>()

  constructor(file: string, text: string) {
    this.#file = file
    this.append(text)
  }

  /** Takes more text, which begins a new line. */
  append(text: string): void {
    if (text === '') return
    this.endsInLine = text.endsWith('\n')
    const lines = text.split('\n')
    if (this.endsInLine) lines.pop()
    for (const line of lines) {
      this.#lines.push(line)
      this.#index(line, this.#lines.length - 1)
    }
    this.#found.clear()
  }

  /** Lines for a host, in the order of the file. @param name - lower case, with port as `[name]:port` */
  find(name: string): readonly KnownHostsLine[] {
    const before = this.#found.get(name)
    if (before !== undefined) return before
    const numbers = [
      ...(this.#names.get(name) ?? []),
      ...this.#patterns.filter((pattern) => matchesPatterns(name, pattern.names)).map((pattern) => pattern.line),
      ...this.#hashed.find(name).map((index) => this.#hashedLines[index]!),
    ]
    const lines = [...new Set(numbers)]
      .sort((a, b) => a - b)
      .map((number) => parseLine(this.#lines[number]!, this.#file, number + 1))
      .filter((line) => line !== undefined)
    this.#found.set(name, lines)
    return lines
  }

  #index(text: string, number: number): void {
    const field = /^[ \t]*(?:@[^ \t]*[ \t]+)?([^ \t\r#][^ \t\r]*)[ \t]/.exec(text)?.[1]
    if (field === undefined) return
    if (field.startsWith('|')) {
      const [, version, salt = '', hash = ''] = field.split('|')
      const bytes = [Buffer.from(salt, 'base64'), Buffer.from(hash, 'base64')] as const
      if (version !== '1' || bytes.some((part) => part.length !== 20)) return
      this.#hashed.add(...bytes)
      this.#hashedLines.push(number)
      return
    }
    const names = field.toLowerCase().split(',')
    if (/[*?!]/.test(field)) {
      this.#patterns.push({ line: number, names })
      return
    }
    for (const name of names) {
      const others = this.#names.get(name)
      if (others === undefined) this.#names.set(name, [number])
      else others.push(number)
    }
  }
}

function parseLine(text: string, file: string, line: number): KnownHostsLine | undefined {
  const found = /^[ \t]*(?:@(revoked|cert-authority)[ \t]+)?[^ \t@][^ \t]*[ \t]+([^ \t]+)[ \t]+([A-Za-z0-9+/]+={0,2})(?=[ \t\r]|$)/.exec(
    text,
  )
  if (found === null) return undefined
  const [, marker, type = '', base64 = ''] = found
  const key = Buffer.from(base64, 'base64')
  // the type is written a second time inside the key
  const length = key.length < 5 ? -1 : key.readUInt32BE(0)
  if (length !== type.length || key.length <= 4 + length || key.toString('latin1', 4, 4 + length) !== type) return undefined
  return { marker: marker as KnownHostsLine['marker'], type, key, file, line }
}
