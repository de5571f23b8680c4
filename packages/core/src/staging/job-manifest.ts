import { type ByteName, insideName, readableName } from '../util/byte-names.js'

export interface ManifestEntry {
  readonly bytes: number
  /** Absent: the job had no time for it. */
  readonly hash?: { readonly kind: 'sha256' | 'cksum'; readonly value: string }
}

/** What the job wrapper lists of the files that a job left. */
export interface JobManifest {
  readonly files: ReadonlyMap<ByteName, ManifestEntry>
  /** False when some folder or file could not be read there: more may exist. */
  readonly isComplete: boolean
}

export type ParsedManifest = { readonly manifest: JobManifest } | { readonly fault: string }

const SHA256 = /^(\\?)([0-9a-f]{64}) [ *](\.\/.+)$/s
const CKSUM = /^(\\?)(\d+) (\d+) (\.\/.+)$/s
const SIZE = /^(\\?) *(\d+) (\.\/.+)$/s
/** What `wc` adds up, in the language of the site. */
const SUM = /^ *\d+ (?!\.\/)/s

/**
 * Reads the file `manifest` of a job: a first line `cahier-manifest 1`, then lines of `wc -c`, `sha256sum` or `cksum` in any order, each
 * with a name that begins with `./`, then `end <status of the listing>`. A line that begins with a backslash has an escaped name (`\n`, `\r`, `\\`).
 *
 * @param data - its bytes: names are those of the file system there, in no particular encoding
 * @returns a fault when it is cut off, of another version, or names something outside of its directory
 * @source sha256sum(1) coreutils 9.1: a name with a line break or a backslash is escaped, and its line begins with a backslash
 */
export function parseManifest(data: Uint8Array): ParsedManifest {
  const lines = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('latin1').split('\n')
  if (lines[0] !== 'cahier-manifest 1') return { fault: `its first line is ${JSON.stringify((lines[0] ?? '').slice(0, 80))}` }
  const end = /^end (\d+)$/.exec(lines.at(-2) ?? '')
  if (end === null || lines.at(-1) !== '') return { fault: 'it is cut off' }
  const sizes = new Map<ByteName, number>()
  const hashes = new Map<ByteName, NonNullable<ManifestEntry['hash']>>()
  for (const line of lines.slice(1, -2)) {
    const fault = takeLine(line, sizes, hashes)
    if (fault !== undefined) return { fault }
  }
  const files = new Map<ByteName, ManifestEntry>()
  for (const [name, bytes] of sizes) {
    const hash = hashes.get(name)
    files.set(name, hash === undefined ? { bytes } : { bytes, hash })
  }
  for (const name of hashes.keys()) if (!files.has(name)) return { fault: `it has no size for ${readableName(name)}` }
  return { manifest: { files, isComplete: end[1] === '0' } }
}

function takeLine(
  line: string,
  sizes: Map<ByteName, number>,
  hashes: Map<ByteName, NonNullable<ManifestEntry['hash']>>,
): string | undefined {
  const sha256 = SHA256.exec(line)
  const cksum = sha256 === null ? CKSUM.exec(line) : null
  const found = sha256 ?? cksum ?? SIZE.exec(line)
  if (found === null)
    return SUM.test(line) ? undefined : `there is no sense in its line ${JSON.stringify(readableName(line.slice(0, 200)))}`
  const [mark, value, written] = [found[1], found[2] as string, found.at(-1) as string]
  const name = insideName(mark === '' ? written : unescapeName(written))
  if (name === undefined) return `it names ${JSON.stringify(readableName(written))}, which is no file below the job's directory`
  if (sha256 !== null) hashes.set(name, { kind: 'sha256', value })
  else if (cksum !== null) hashes.set(name, { kind: 'cksum', value })
  if (sha256 === null) sizes.set(name, Number(cksum === null ? value : cksum[3]))
  return undefined
}

function unescapeName(name: string): string {
  return name.replaceAll(/\\([nr\\])/g, (_, letter: string) => (letter === 'n' ? '\n' : letter === 'r' ? '\r' : '\\'))
}
