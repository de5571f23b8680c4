import type { Fold, FoldOptions, StoredEvent } from '../ports/store.js'

/** The folds of one store, and what they can do together. */
export class FoldSet {
  readonly #folds: { readonly fold: Fold; readonly options: FoldOptions; loaded: boolean }[] = []

  add(fold: Fold, options: FoldOptions = {}): void {
    this.#folds.push({ fold, options, loaded: false })
  }

  /** True when all of them can begin again. */
  get resettable(): boolean {
    return this.#folds.every(({ options }) => options.reset !== undefined)
  }

  show(event: StoredEvent): void {
    for (const { fold } of this.#folds) fold(event)
  }

  /** For events that a snapshot covers: only folds that did not take theirs see them. */
  showUnloaded(event: StoredEvent): void {
    for (const { fold, loaded } of this.#folds) if (!loaded) fold(event)
  }

  reset(): void {
    for (const entry of this.#folds) {
      entry.options.reset?.()
      entry.loaded = false
    }
  }

  /** Gives each fold its part of a snapshot. Returns how many still need every event. */
  load(saved: Readonly<Record<string, unknown>>): number {
    let left = 0
    for (const entry of this.#folds) {
      const { name, load, reset } = entry.options
      entry.loaded = name !== undefined && load !== undefined && reset !== undefined && Object.hasOwn(saved, name) && load(saved[name])
      if (entry.loaded) continue
      left++
      reset?.()
    }
    return left
  }

  /** What a snapshot holds; undefined when no fold can be saved. */
  save(): Record<string, unknown> | undefined {
    const saved: Record<string, unknown> = {}
    for (const { options } of this.#folds)
      if (options.name !== undefined && options.save !== undefined) saved[options.name] = options.save()
    return Object.keys(saved).length === 0 ? undefined : saved
  }
}
