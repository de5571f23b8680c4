/** What an agent says: its hello, answers, events. */
export type AgentWord =
  | { readonly kind: 'hello'; readonly version: number; readonly agent: string; readonly pid: number; readonly home: string }
  | { readonly kind: 'unfit'; readonly reason: string }
  | { readonly kind: 'answer'; readonly number: number; readonly words: readonly string[]; readonly payload: Buffer }
  | { readonly kind: 'event'; readonly name: string; readonly words: readonly string[] }

/** What a login shell may print before the hello, and how long a line may be. */
const MOST_NOISE = 1 << 20
/** Of the noise, what is kept for messages. */
const NOISE_KEPT = 4096
const NEW_LINE = 0x0a
const NOTHING = Buffer.alloc(0)

/** Reads the standard output of an agent, however it is cut into pieces. */
export class AgentReader {
  readonly #mark: Buffer
  #greeted = false
  #pieces: Buffer[] = []
  #size = 0
  /** So many bytes are wanted before it makes sense to look again. */
  #wanted = 0
  #answer: { readonly number: number; readonly words: readonly string[]; readonly size: number } | undefined
  #noise = NOTHING
  #noiseSize = 0

  constructor(token: string) {
    this.#mark = Buffer.from(`${token} `)
  }

  /** What was said instead of a hello. */
  get noise(): string {
    return this.#noise.toString('utf8').trim()
  }

  /** @throws Error for what is no agent's word */
  *read(chunk: Buffer): Generator<AgentWord> {
    this.#pieces.push(chunk)
    this.#size += chunk.length
    while (this.#size > 0 && this.#size >= this.#wanted) {
      const word = this.#greeted ? this.#next() : this.#greeting()
      if (word === undefined) return
      yield word
    }
  }

  #all(): Buffer {
    const [first = NOTHING] = this.#pieces
    if (this.#pieces.length === 1) return first
    const all = Buffer.concat(this.#pieces)
    this.#pieces = [all]
    return all
  }

  #drop(count: number): void {
    const rest = this.#all().subarray(count)
    this.#pieces = rest.length === 0 ? [] : [rest]
    this.#size = rest.length
    this.#wanted = 0
  }

  #greeting(): AgentWord | undefined {
    const all = this.#all()
    const start = all.indexOf(this.#mark)
    const end = start < 0 ? -1 : all.indexOf(NEW_LINE, start)
    if (start < 0) {
      // The mark may have come in part.
      this.#skip(Math.max(0, all.length - this.#mark.length + 1))
      return undefined
    }
    if (end < 0) {
      if (all.length > MOST_NOISE) throw new Error('its first line has no end')
      return undefined
    }
    const words = all.toString('latin1', start + this.#mark.length, end).split(' ')
    this.#skip(start)
    this.#drop(end + 1 - start)
    const [what, first = '', agent = '', pid = '', home = ''] = words
    if (what === 'unfit') return { kind: 'unfit', reason: first }
    if (what !== 'agent') throw new Error('its first line is no hello')
    this.#greeted = true
    return { kind: 'hello', version: Number(first), agent, pid: Number(pid), home }
  }

  #skip(count: number): void {
    if (count === 0) return
    this.#noise = Buffer.concat([this.#noise, this.#all().subarray(0, count)]).subarray(-NOISE_KEPT)
    this.#noiseSize += count
    if (this.#noiseSize > MOST_NOISE) throw new Error('1 MiB of text came, and no agent answered')
    this.#drop(count)
  }

  #next(): AgentWord | undefined {
    if (this.#answer !== undefined) {
      const { number, words, size } = this.#answer
      const payload = Buffer.from(this.#all().subarray(0, size))
      this.#answer = undefined
      this.#drop(size)
      return { kind: 'answer', number, words, payload }
    }
    const all = this.#all()
    const end = all.indexOf(NEW_LINE)
    if (end < 0) {
      if (all.length > MOST_NOISE) throw new Error('a line of it has no end')
      return undefined
    }
    const words = all.toString('latin1', 0, end).split(' ')
    this.#drop(end + 1)
    const [first = '', second = ''] = words
    if (first === '!') return { kind: 'event', name: second, words: words.slice(2) }
    if (!/^\d{1,9}$/.test(first) || (second !== 'ok' && second !== 'error')) {
      throw new Error(`it said ${JSON.stringify(words.join(' ').slice(0, 100))}`)
    }
    const size = /^#(\d{1,15})$/.exec(words.at(-1) ?? '')
    if (size === null) return { kind: 'answer', number: Number(first), words: words.slice(1), payload: NOTHING }
    this.#answer = { number: Number(first), words: words.slice(1, -1), size: Number(size[1]) }
    this.#wanted = this.#answer.size
    return this.#size >= this.#wanted ? this.#next() : undefined
  }
}
