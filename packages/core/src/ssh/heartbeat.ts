/** Something that must give signs of life. */
export interface Living {
  /** How many bytes have come from it; undefined when that is not known. */
  bytes(): number | undefined
  /** Asks for a sign. */
  ping(answered: () => void): void
  /** Three signs in a row did not come. */
  dead(): void
}

interface Patient {
  readonly living: Living
  bytes: number | undefined
  missed: number
  waiting: boolean
}

const MISSED = 3
/** Node's timers run wild beyond this. */
const LONGEST_MS = 2_147_483_647

/**
 * Looks after all connections with the same interval: one timer for a thousand of them, which never keeps the program alive. Whoever sent
 * something in the last interval is alive, and is not asked.
 */
export class Heartbeat {
  static readonly #all = new Map<number, Heartbeat>()
  readonly #ms: number
  readonly #patients = new Set<Patient>()
  #timer: NodeJS.Timeout | undefined

  private constructor(ms: number) {
    this.#ms = ms
  }

  /** @param ms - 0: nobody is looked after */
  static every(ms: number): Heartbeat {
    let heartbeat = Heartbeat.#all.get(ms)
    if (heartbeat === undefined) {
      heartbeat = new Heartbeat(ms)
      Heartbeat.#all.set(ms, heartbeat)
    }
    return heartbeat
  }

  /** @returns what ends it */
  add(living: Living): () => void {
    if (this.#ms <= 0) return () => undefined
    const patient: Patient = { living, bytes: living.bytes(), missed: 0, waiting: false }
    this.#patients.add(patient)
    this.#timer ??= setInterval(() => this.#beat(), Math.min(this.#ms, LONGEST_MS)).unref()
    return () => {
      this.#patients.delete(patient)
      if (this.#patients.size > 0) return
      clearInterval(this.#timer)
      this.#timer = undefined
    }
  }

  #beat(): void {
    for (const patient of this.#patients) {
      const bytes = patient.living.bytes()
      if (bytes !== undefined && bytes !== patient.bytes) {
        patient.bytes = bytes
        patient.missed = 0
      } else if (patient.waiting) {
        patient.missed += 1
        if (patient.missed >= MISSED) patient.living.dead()
      } else {
        patient.missed = 0
        patient.waiting = true
        patient.living.ping(() => {
          patient.waiting = false
          patient.missed = 0
        })
      }
    }
  }
}
