import type { ByteName } from '../../util/byte-names.js'

/** What the other side of scp says: that all is well, or what is not. */
export type ScpAnswer =
  | { readonly kind: 'ok' }
  /** About one file; what follows goes on. */
  | { readonly kind: 'error'; readonly message: string }
  /** It ends. */
  | { readonly kind: 'fatal'; readonly message: string }
  /** A file comes: so many bytes follow when we say that we are ready. */
  | { readonly kind: 'file'; readonly size: number; readonly name: string }

/** A line that is longer is none. */
const MOST_LINE = 16_384

/**
 * Takes one answer off the front of what was read.
 *
 * @param name - the file that it is about, one character per byte: a message about it holds the line ends of its name
 * @returns undefined when it is not whole yet
 * @throws Error for what is no answer
 * @source scp(1) of OpenSSH 9.2, `-O`: one byte 0, or 1 or 2 and a line of text; `C<mode> <size> <name>` announces a file
 */
export function takeScpAnswer(bytes: Buffer, name: ByteName = ''): { readonly answer: ScpAnswer; readonly size: number } | undefined {
  const [first] = bytes
  if (first === undefined) return undefined
  if (first === 0) return { answer: { kind: 'ok' }, size: 1 }
  if (first !== 1 && first !== 2 && first !== 0x43) throw new Error(`no answer of scp begins with ${JSON.stringify(printable(bytes))}`)
  const end = first === 0x43 ? bytes.indexOf(10) : lineEnd(bytes, name)
  if (end < 0) {
    if (bytes.length > MOST_LINE) throw new Error('a line without an end')
    return undefined
  }
  const line = bytes.toString('latin1', 1, end)
  if (first !== 0x43) return { answer: { kind: first === 1 ? 'error' : 'fatal', message: said(line) }, size: end + 1 }
  const found = /^[0-7]{4,5} (\d{1,16}) (.+)$/s.exec(line)
  if (found === null) throw new Error(`this announces no file: ${JSON.stringify(printable(bytes.subarray(0, end)))}`)
  return { answer: { kind: 'file', size: Number(found[1]), name: found[2] ?? '' }, size: end + 1 }
}

function lineEnd(bytes: Buffer, name: ByteName): number {
  const end = bytes.indexOf(10)
  const lineOfName = name.slice(0, name.indexOf('\n') + 1)
  if (end < 0 || lineOfName === '') return end
  const text = bytes.toString('latin1', 0, MOST_LINE + name.length)
  const at = text.indexOf(lineOfName)
  if (at < 0 || at > end) return end
  if (text.startsWith(name, at)) return text.indexOf('\n', at + name.length)
  return name.startsWith(text.slice(at)) ? -1 : end
}

function said(line: string): string {
  const text = Buffer.from(line, 'latin1')
    .toString('utf8')
    .replace(/^(?:[\w./-]*scp: ?)+/, '')
    .trim()
  return text === '' ? 'scp does not say why' : text
}

function printable(bytes: Buffer): string {
  return bytes.subarray(0, 80).toString('latin1')
}

/** @source strerror(3) of glibc and musl in the locale C */
const CODES: readonly (readonly [RegExp, string])[] = [
  [/no space left|quota exceeded/i, 'ENOSPC'],
  [/permission denied|operation not permitted/i, 'EACCES'],
  [/read-only file system/i, 'EROFS'],
  [/no such file/i, 'ENOENT'],
]

/** The system's code of what it could not do; undefined when its words say none. */
export function codeIn(answer: ScpAnswer): string | undefined {
  return CODES.find(([pattern]) => pattern.test(messageIn(answer)))?.[1]
}

export function messageIn(answer: ScpAnswer): string {
  return 'message' in answer ? answer.message : 'it answered something else'
}
