/** How fast something grew lately. */
export class RateWindow {
  readonly #windowMs: number
  #samples: { readonly at: number; readonly bytes: number }[] = []

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  add(at: number, bytes: number): void {
    const last = this.#samples.at(-1)
    // Never backwards: who begins again is measured again.
    if (last !== undefined && bytes < last.bytes) this.#samples = []
    this.#samples.push({ at, bytes })
    // The last one before the window stays: the window begins there.
    while (this.#samples.length > 2 && (this.#samples[1] as { at: number }).at < at - this.#windowMs) this.#samples.shift()
  }

  /** Bytes per second until now; undefined as long as less than half of the window was seen. */
  rate(now: number): number | undefined {
    const first = this.#samples[0]
    const last = this.#samples.at(-1)
    if (first === undefined || last === undefined || now - first.at < this.#windowMs / 2) return undefined
    return ((last.bytes - first.bytes) / (now - first.at)) * 1000
  }

  clear(): void {
    this.#samples = []
  }
}
