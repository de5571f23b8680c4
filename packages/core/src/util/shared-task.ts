import { isAborted, makeDeferred } from './async.js'

/** One operation that several wait for. The last one who gives up ends it. */
export class SharedTask<T> {
  readonly #control = new AbortController()
  readonly #result: Promise<T>
  #waiting = 0
  #settled = false

  /** @param run - begins at once; its signal is aborted when nobody waits any more */
  constructor(run: (signal: AbortSignal) => Promise<T>) {
    this.#result = run(this.#control.signal).finally(() => {
      this.#settled = true
    })
    // Who waits sees it; nobody may be left.
    this.#result.catch(() => {})
  }

  /** Resolves or rejects as the operation does; rejects with the signal's reason when that comes first. */
  async wait(signal?: AbortSignal): Promise<T> {
    this.#waiting += 1
    const aborted = makeDeferred<never>()
    const onAbort = (): void => aborted.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      if (isAborted(signal)) throw signal?.reason
      return await (signal === undefined ? this.#result : Promise.race([this.#result, aborted.promise]))
    } finally {
      signal?.removeEventListener('abort', onAbort)
      this.#waiting -= 1
      if (this.#waiting === 0) this.abort()
    }
  }

  /** True when it was ended early: who comes now had better begin another. */
  get aborted(): boolean {
    return this.#control.signal.aborted
  }

  /** Ends the operation for all. */
  abort(): void {
    if (!this.#settled) this.#control.abort()
  }

  /** Resolves when it is over, however it went. */
  async over(): Promise<void> {
    await this.#result.catch(() => {})
  }
}
