import type { Claim } from '../ports/sweeper.js'

type Outcome = 'todo' | 'done' | 'skipped' | 'failed'

/** A claim that ends itself in the journal. Ending it twice in the same way is one end. */
export class JournalClaim<T> implements Claim<T> {
  readonly item: T
  readonly index: number
  readonly token: number
  /** True when its end stands in the journal. */
  settled = false
  #outcome: Outcome | undefined
  readonly #finish: (state: Outcome, reason: string | undefined) => Promise<void>

  constructor(item: T, index: number, token: number, finish: (state: Outcome, reason: string | undefined) => Promise<void>) {
    this.item = item
    this.index = index
    this.token = token
    this.#finish = finish
  }

  done(): Promise<void> {
    return this.#end('done')
  }
  skip(reason: string): Promise<void> {
    return this.#end('skipped', reason)
  }
  fail(reason: string): Promise<void> {
    return this.#end('failed', reason)
  }
  cancel(): Promise<void> {
    return this.#end('todo')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.settled) return
    try {
      await this.#end('todo')
    } catch (error) {
      // somebody else has the item already: there is nothing to give back
      if ((error as { code?: unknown }).code !== 'E_CLAIM_LOST') throw error
    }
  }

  async #end(state: Outcome, reason?: string): Promise<void> {
    if (this.settled && this.#outcome === state) return
    await this.#finish(state, reason)
    this.settled = true
    this.#outcome = state
  }
}
