import { createHash } from 'node:crypto'
import type { ByteName } from '../util/byte-names.js'

/** One thing that is to be there. Names are relative to the target directory; a directory comes before what is in it. */
export type ManifestEntry =
  | { readonly kind: 'file'; readonly name: ByteName; readonly mode: number; readonly timeUs: number; readonly size: number }
  | { readonly kind: 'directory'; readonly name: ByteName; readonly mode: number; readonly timeUs: number }
  | { readonly kind: 'link'; readonly name: ByteName; readonly timeUs: number; readonly target: ByteName }

/**
 * What is moved: the things, in order. The index of an entry is its number everywhere: in the wire protocol, in names of temporary files,
 * in verdicts. `timeUs` is the time of the last change in microseconds since 1970, what all languages can say exactly; `mode` is `0o7777`.
 */
export type Manifest = readonly ManifestEntry[]

/** Letters that stand for themselves in a {@link encodeName}d name. */
const PLAIN = /[^A-Za-z0-9_./+,:@~^=-]/g

/** A name as one word of printable ASCII: other bytes as `%XX`; the empty name as `%`. */
export function encodeName(name: ByteName): string {
  if (name === '') return '%'
  return name.replace(PLAIN, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}

export function decodeName(word: string): ByteName {
  if (word === '%') return ''
  return word.replace(/%([0-9A-Fa-f]{2})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
}

/** One line per entry, as docs/reference/chain.md says. */
export function encodeManifest(manifest: Manifest): string {
  return manifest.map((entry) => `${encodeEntry(entry)}\n`).join('')
}

function encodeEntry(entry: ManifestEntry): string {
  const { kind, timeUs } = entry
  const name = encodeName(entry.name)
  if (kind === 'file') return `f ${entry.mode.toString(8)} ${timeUs} ${entry.size} ${name}`
  if (kind === 'directory') return `d ${entry.mode.toString(8)} ${timeUs} ${name}`
  return `l ${timeUs} ${name} ${encodeName(entry.target)}`
}

/** @throws Error for a line that is none of these, with its number */
export function decodeManifest(text: string): ManifestEntry[] {
  const lines = text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines.map((line, index) => {
    const entry = decodeEntry(line.split(' '))
    if (entry === undefined) throw new Error(`line ${index + 1} of the list of files cannot be read: ${JSON.stringify(line.slice(0, 200))}`)
    return entry
  })
}

function decodeEntry(words: readonly string[]): ManifestEntry | undefined {
  const numbers = (from: number, to: number): boolean => words.slice(from, to).every((word) => /^-?\d+$/.test(word))
  const [kind, a = '', b = '', c = '', d = ''] = words
  if (kind === 'f' && words.length === 5 && numbers(1, 4)) {
    return { kind: 'file', name: decodeName(d), mode: Number.parseInt(a, 8), timeUs: Number(b), size: Number(c) }
  }
  if (kind === 'd' && words.length === 4 && numbers(1, 3)) {
    return { kind: 'directory', name: decodeName(c), mode: Number.parseInt(a, 8), timeUs: Number(b) }
  }
  if (kind === 'l' && words.length === 4 && numbers(1, 2)) {
    return { kind: 'link', name: decodeName(b), timeUs: Number(a), target: decodeName(c) }
  }
  return undefined
}

/** Bytes of content of the entries named; of all when none are. */
export function contentSize(manifest: Manifest, indexes?: Iterable<number>): number {
  let sum = 0
  const add = (entry: ManifestEntry | undefined): void => {
    if (entry?.kind === 'file') sum += entry.size
  }
  if (indexes === undefined) manifest.forEach(add)
  else for (const index of indexes) add(manifest[index])
  return sum
}

/**
 * What names the folder of parts: the same for the same sources, so that a later transfer finds what an earlier one has left; different
 * for hosts, which may share a file system.
 */
export function partsId(manifest: Manifest, host: string): string {
  return createHash('sha256').update(encodeManifest(manifest)).update('\0').update(host).digest('hex').slice(0, 16)
}
