import { type Deferred, makeDeferred } from '../util/async.js'

/** What has been completed so far, in order, for any number of readers, each from the beginning and at its own pace. */
export class CompletedList<T> {
  readonly #items: T[] = []
  #closed = false
  #news: Deferred<void> | undefined

  push(item: T): void {
    this.#items.push(item)
    this.#tell()
  }

  /** Nothing more comes. */
  close(): void {
    this.#closed = true
    this.#tell()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (let at = 0; ; at += 1) {
      while (at >= this.#items.length) {
        if (this.#closed) return
        this.#news ??= makeDeferred()
        await this.#news.promise
      }
      yield this.#items[at] as T
    }
  }

  #tell(): void {
    const news = this.#news
    this.#news = undefined
    news?.resolve()
  }
}
