/** Everything before the hello is noise, up to this. */
const MOST_NOISE = 1 << 20
/** What is kept of the noise, for messages. */
const NOISE_KEPT = 4_096
const LONGEST_HELLO = 400
const BEGINNING = '\nH 0 '

export interface Hello {
  readonly version: number
  readonly kind: string
  readonly pid: number
  /** Bytes of requests that the runner has taken since its beginning. */
  readonly received: number
  readonly directory: string
}

/** Finds the hello of a runner behind whatever the shell and its start-up files print first. */
export class HelloReader {
  readonly #header: RegExp
  /** The end of what came, in which a hello may have begun. */
  #tail: Buffer = Buffer.from('\n')
  #kept: Buffer[] = []
  #size = 0

  constructor(token: string) {
    this.#header = new RegExp(`^H 0 (\\d{1,16}) ${token}$`)
  }

  /**
   * @returns the hello and the bytes after it, once it is complete
   * @throws Error when there is none in the first MiB
   */
  push(chunk: Buffer): { readonly hello: Hello; readonly rest: Buffer } | undefined {
    if (this.#size < NOISE_KEPT) this.#kept.push(Buffer.from(chunk.subarray(0, NOISE_KEPT - this.#size)))
    this.#size += chunk.length
    const data = Buffer.concat([this.#tail, chunk])
    for (let at = data.indexOf(BEGINNING); at >= 0; at = data.indexOf(BEGINNING, at + 1)) {
      const end = data.indexOf(0x0a, at + 1)
      const size = end < 0 ? undefined : Number(this.#header.exec(data.toString('latin1', at + 1, end))?.[1])
      if (size === undefined || end + 1 + size > data.length) {
        if (data.length - at > LONGEST_HELLO) continue
        this.#tail = data.subarray(at)
        return undefined
      }
      if (Number.isNaN(size)) continue
      const [version, kind = '', pid, received, directory = ''] = data.toString('utf8', end + 1, end + 1 + size).split(' ')
      return {
        hello: { version: Number(version), kind, pid: Number(pid), received: Number(received), directory },
        rest: data.subarray(end + 1 + size),
      }
    }
    if (this.#size > MOST_NOISE) throw new Error('1 MiB of text came, and no runner answered')
    this.#tail = Buffer.from(data.subarray(-BEGINNING.length))
    return undefined
  }

  /** What was said instead of a hello, shortened. */
  get noise(): string {
    return Buffer.concat(this.#kept).toString('utf8').trim()
  }
}
