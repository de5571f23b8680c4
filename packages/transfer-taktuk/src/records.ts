/** A place in the tree: `0` is this machine, the others are numbered in the order in which they were named. */
export type Position = number

/** One thing that taktuk printed. */
export type TaktukRecord =
  /** Text of a command, or `connector`: of the program that reaches `channel`, which then is a position. */
  | {
      readonly kind: 'stdout' | 'stderr' | 'connector' | 'message'
      readonly position: Position
      readonly channel: number
      readonly text: Buffer
    }
  /** The raw wait status of a command. */
  | { readonly kind: 'status'; readonly position: Position; readonly channel: number; readonly status: number }
  | StateRecord

/** Something happened to a host or a command. */
export interface StateRecord {
  readonly kind: 'state'
  readonly position: Position
  readonly channel: number
  /** As taktuk(1) counts them. */
  readonly code: number
  readonly rank: number
  readonly peer: Position | undefined
  /** With {@link LOST}: those that the peer was to reach. */
  readonly given: readonly Position[]
}

/** Codes of state records. @source taktuk(1) 3.7.7, stream "state" */
export const NUMBERED = 1
export const CONNECTION_FAILED = 3
export const LOST = 5
export const COMMAND_FAILED = 7

const KINDS: Readonly<Record<string, 'stdout' | 'stderr' | 'connector' | 'message'>> = {
  O: 'stdout',
  R: 'stderr',
  C: 'connector',
  T: 'message',
  I: 'message',
}
/** No line of fields is longer, unless a connection was lost that many others led over. */
const LONGEST_FIELDS = 1 << 20

/** Reads what taktuk prints with our templates, in pieces of any size. */
export class RecordReader {
  readonly #take: (record: TaktukRecord) => void
  #rest: Buffer = Buffer.alloc(0)

  constructor(take: (record: TaktukRecord) => void) {
    this.#take = take
  }

  /** @throws Error when this is nothing that our templates make */
  push(chunk: Buffer): void {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    for (;;) {
      const end = data.indexOf(0x0a, at)
      if (end < 0) break
      const fields = data.toString('latin1', at, end).split('|')
      const kind = KINDS[fields[0] ?? '']
      if (kind === undefined) {
        this.#take(readFields(fields))
        at = end + 1
        continue
      }
      const [position, channel, length, newline] = numbersOf(fields, 4)
      const begin = end + 1
      const next = begin + (length as number) + 1
      if (next > data.length) break
      if (data[next - 1] !== 0x0a) throw unreadable(fields)
      // The line end of the text stands where that of the record stands.
      const text = Buffer.from(data.subarray(begin, newline === 1 ? next : next - 1))
      this.#take({ kind, position: position as number, channel: channel as number, text })
      at = next
    }
    if (data.length - at > LONGEST_FIELDS && data.indexOf(0x0a, at) < 0) throw unreadable([data.toString('latin1', at, at + 100)])
    this.#rest = at === data.length ? Buffer.alloc(0) : Buffer.from(data.subarray(at))
  }
}

function readFields(fields: readonly string[]): TaktukRecord {
  const [letter, , , , , peer, given] = fields
  if (letter === 'S' && fields.length === 4) {
    const [position = 0, channel = 0, status = 0] = numbersOf(fields, 3)
    return { kind: 'status', position, channel, status }
  }
  if (letter === 'E' && fields.length === 7) {
    const [position = 0, channel = 0, code = 0, rank = 0] = numbersOf(fields, 4)
    return { kind: 'state', position, channel, code, rank, peer: peer === '' ? undefined : Number(peer), given: readGiven(given ?? '') }
  }
  throw unreadable(fields)
}

/** `name:position name:position…`; names may hold colons. */
function readGiven(text: string): readonly Position[] {
  return [...text.matchAll(/:(\d+)(?= |$)/g)].map((found) => Number(found[1]))
}

function numbersOf(fields: readonly string[], count: number): readonly number[] {
  const numbers = fields.slice(1, 1 + count)
  if (numbers.length < count || !numbers.every((field) => /^-?\d+$/.test(field))) throw unreadable(fields)
  return numbers.map(Number)
}

function unreadable(fields: readonly string[]): Error {
  return new Error(`taktuk printed what cannot be read: ${JSON.stringify(fields.join('|').slice(0, 200))}`)
}

/** @source waitpid(2): the low seven bits are the signal, the next byte above is the exit code */
export function readStatus(status: number): { readonly exitCode: number } | { readonly signalNumber: number } {
  const signal = status & 0x7f
  return signal === 0 ? { exitCode: (status >> 8) & 0xff } : { signalNumber: signal }
}
