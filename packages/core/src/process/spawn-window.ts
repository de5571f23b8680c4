import { readdirSync, readFileSync } from 'node:fs'

/** Descriptors that a running child takes here: its pipes. */
const DESCRIPTORS_PER_CHILD = 3
/** Errors that mean "not now": the system is short of something that other processes will give back. */
const SHORTAGES = new Set(['EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ENOBUFS'])

export function isShortage(code: string | undefined): boolean {
  return code !== undefined && SHORTAGES.has(code)
}

/**
 * How many processes may run at once in this program. The window begins at what the descriptors allow, shrinks when the
 * system says that something is short and grows again with every process that ends.
 */
export class SpawnWindow {
  readonly #most: number
  #size: number
  #running = 0
  #waiting: (() => void)[] = []

  constructor(size: number) {
    this.#most = Math.max(1, size)
    this.#size = this.#most
  }

  get size(): number {
    return this.#size
  }
  get running(): number {
    return this.#running
  }

  /** Takes a place, at once when there is one. The signal gives up waiting: false. */
  enter(signal?: AbortSignal): Promise<boolean> | true {
    if (this.#running < this.#size && this.#waiting.length === 0) {
      this.#running += 1
      return true
    }
    return this.#wait(signal)
  }

  #wait(signal: AbortSignal | undefined): Promise<boolean> {
    return new Promise((resolve) => {
      const onAbort = (): void => {
        this.#waiting = this.#waiting.filter((other) => other !== onTurn)
        resolve(false)
      }
      const onTurn = (): void => {
        signal?.removeEventListener('abort', onAbort)
        this.#running += 1
        resolve(true)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(onTurn)
    })
  }

  /** A process ended: its place is free and there may be room for one more. */
  leave(): void {
    this.#running -= 1
    if (this.#size < this.#most) this.#size += 1
    this.#admit()
  }

  /**
   * The system could not start one more: gives the place back and waits for another process to end.
   *
   * @returns false when nothing of ours runs that could end
   */
  async shrink(signal?: AbortSignal): Promise<boolean> {
    this.#running -= 1
    const others = this.#running
    this.#size = Math.max(1, others)
    if (others === 0) {
      this.#admit()
      return false
    }
    // Not before the queue: whoever met the shortage has waited longest.
    const turn = this.#wait(signal)
    const last = this.#waiting.pop()
    if (last !== undefined) this.#waiting.unshift(last)
    return turn
  }

  #admit(): void {
    while (this.#running < this.#size) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      next()
    }
  }
}

let ofThisProgram: SpawnWindow | undefined

/** The one window of this program, made when first needed. */
export function spawnWindow(): SpawnWindow {
  ofThisProgram ??= new SpawnWindow(windowFor(descriptorLimit(), openDescriptors()))
  return ofThisProgram
}

/** A fifth is kept for files, sockets and what other libraries open. */
export function windowFor(limit: number, open: number): number {
  return Math.min(4096, Math.max(1, Math.floor((limit * 0.8 - open - 16) / DESCRIPTORS_PER_CHILD)))
}

function descriptorLimit(): number {
  try {
    const line = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))
    if (line?.[1] !== undefined) return line[1] === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(line[1])
  } catch {
    // Not Linux.
  }
  const report = process.report?.getReport() as { userLimits?: { open_files?: { soft?: number | string } } } | undefined
  const soft = Number(report?.userLimits?.open_files?.soft)
  return Number.isFinite(soft) ? soft : 256
}

function openDescriptors(): number {
  try {
    return readdirSync('/dev/fd').length
  } catch {
    return 32
  }
}
