/** What a stack can close. */
export type Closable = AsyncDisposable | Disposable

/**
 * Closes what was opened, newest first, also when some of it fails to close. Node 20 has no `AsyncDisposableStack`.
 *
 * @example
 * await using stack = new DisposeStack()
 * const store = stack.use(await openStore())
 * stack.defer(() => unlink(file))
 */
export class DisposeStack implements AsyncDisposable {
  #closers: (() => unknown)[] = []
  #disposed = false

  get disposed(): boolean {
    return this.#disposed
  }

  /** Closes the value with the stack; returns the value. `null` and `undefined` are let through. */
  use<T extends Closable | null | undefined>(value: T): T {
    if (value === null || value === undefined) return value
    if (Symbol.asyncDispose in value) this.defer(() => value[Symbol.asyncDispose]())
    else this.defer(() => value[Symbol.dispose]())
    return value
  }

  /** Closes a value that is no disposable; returns the value. */
  adopt<T>(value: T, close: (value: T) => unknown): T {
    this.defer(() => close(value))
    return value
  }

  /** Calls this, and awaits what it returns, when the stack is closed. */
  defer(close: () => unknown): void {
    if (this.#disposed) throw new ReferenceError('this stack was closed already')
    this.#closers.push(close)
  }

  /** Hands everything over to a new stack: for functions that open several things and return them open. */
  move(): DisposeStack {
    if (this.#disposed) throw new ReferenceError('this stack was closed already')
    const other = new DisposeStack()
    other.#closers = this.#closers
    this.#closers = []
    this.#disposed = true
    return other
  }

  /** Closes everything once. Throws the error of the one that failed, or an AggregateError of several in the order they came. */
  async disposeAsync(): Promise<void> {
    if (this.#disposed) return
    this.#disposed = true
    const errors: unknown[] = []
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} things could not be closed`)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.disposeAsync()
  }
}
