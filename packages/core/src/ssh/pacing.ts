/** Handshakes that one server gets at a time: sshd drops some beyond ten that have not logged in. @source sshd_config(5), MaxStartups 10:30:100 */
const HANDSHAKES_PER_SERVER = 8
/** Tries of one login in all, when the server drops it or does not say why. */
const MOST_TRIES = 8
const FIRST_PAUSE_MS = 100
const LONGEST_PAUSE_MS = 5_000
/** Tries and pauses of one login together take at most so many times its time limit. */
const LIMITS_IN_ALL = 2

export interface PacingOptions {
  /** At a time, to all servers together. */
  readonly handshakes: number
  readonly perServer?: number
  /** A handshake that has lasted so long waits for the other side: it gives its place back, though not the one at its server. Default 1,000. */
  readonly slowMs?: number
  /** At a time, those that gave their places back included; default 16 × `handshakes`. */
  readonly atMost?: number
}

/** A handshake that waits for its place, or has it. */
export interface Ticket<T> {
  readonly value: T
  readonly server: string
  /** Since when it has its place. */
  beganAt: number | undefined
  slow: boolean
  left: boolean
}

interface Server<T> {
  readonly name: string
  waiting: Ticket<T>[]
  running: number
  /** How many it gets at a time: half after each drop, one more after each success. */
  window: number
  /** Stands in the row of servers that could begin something. */
  inRow: boolean
}

/**
 * Says which handshake may begin now. It holds no clock and no timer: whoever uses it asks again when something ended, and at `wakeAt`.
 *
 * Servers take turns, and within one server who came first begins first: neither a server with many logins nor one that never answers
 * keeps the others waiting.
 */
export class Pacing<T> {
  readonly #limit: number
  readonly #perServer: number
  readonly #slowMs: number
  readonly #atMost: number
  readonly #servers = new Map<string, Server<T>>()
  #row: Server<T>[] = []
  /** In the order in which they began, slow ones excluded; holes where one has left. */
  #running = new Set<Ticket<T>>()
  #slow = 0

  constructor({ handshakes, perServer = HANDSHAKES_PER_SERVER, slowMs = 1_000, atMost = 16 * handshakes }: PacingOptions) {
    this.#limit = handshakes
    this.#perServer = perServer
    this.#slowMs = slowMs
    this.#atMost = atMost
  }

  enter(server: string, value: T): Ticket<T> {
    const ticket: Ticket<T> = { value, server, beganAt: undefined, slow: false, left: false }
    const entry = this.#server(server)
    entry.waiting.push(ticket)
    this.#line(entry)
    return ticket
  }

  /** Takes one that may begin, if there is one. */
  next(now: number): Ticket<T> | undefined {
    this.#giveBack(now)
    if (this.#running.size >= this.#limit || this.#running.size + this.#slow >= this.#atMost) return undefined
    for (;;) {
      const server = this.#row.shift()
      if (server === undefined) return undefined
      server.inRow = false
      if (server.running >= server.window) continue
      const ticket = server.waiting.shift()
      if (ticket === undefined) continue
      ticket.beganAt = now
      server.running += 1
      this.#running.add(ticket)
      this.#line(server)
      return ticket
    }
  }

  /** When `next` may give something though nothing ended until then. */
  wakeAt(): number | undefined {
    if (this.#row.length === 0 || this.#running.size < this.#limit) return undefined
    for (const oldest of this.#running) return (oldest.beganAt as number) + this.#slowMs
    return undefined
  }

  /** It ended, or waits no more. `dropped`: the server had too many at once. */
  leave(ticket: Ticket<T>, how: 'made' | 'failed' | 'dropped'): void {
    if (ticket.left) return
    ticket.left = true
    const server = this.#server(ticket.server)
    if (ticket.beganAt === undefined) server.waiting = server.waiting.filter((other) => other !== ticket)
    else {
      server.running -= 1
      if (ticket.slow) this.#slow -= 1
      else this.#running.delete(ticket)
      if (how === 'dropped') server.window = Math.max(1, Math.floor(server.window / 2))
      else if (how === 'made') server.window = Math.min(this.#perServer, server.window + 1)
    }
    if (server.waiting.length > 0) this.#line(server)
    else if (server.running === 0 && server.window === this.#perServer) this.#servers.delete(server.name)
  }

  #giveBack(now: number): void {
    for (const ticket of this.#running) {
      if (now - (ticket.beganAt as number) < this.#slowMs) return
      ticket.slow = true
      this.#running.delete(ticket)
      this.#slow += 1
    }
  }

  #line(server: Server<T>): void {
    if (server.inRow || server.waiting.length === 0 || server.running >= server.window) return
    server.inRow = true
    this.#row.push(server)
  }

  #server(name: string): Server<T> {
    let server = this.#servers.get(name)
    if (server === undefined) {
      server = { name, waiting: [], running: 0, window: this.#perServer, inRow: false }
      this.#servers.set(name, server)
    }
    return server
  }
}

/**
 * How long to wait before a login that was dropped is tried again: exponential with full jitter, so that those who were dropped
 * together do not come back together.
 *
 * @param tries - made so far, at least 1
 * @param spentMs - by those tries and the pauses between them
 * @param random - from 0 to below 1
 * @returns undefined when it is not to be tried again
 */
export function pauseBeforeRetry(tries: number, spentMs: number, connectTimeoutMs: number, random: number): number | undefined {
  if (tries >= MOST_TRIES) return undefined
  const pause = random * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (tries - 1))
  return spentMs + pause > LIMITS_IN_ALL * connectTimeoutMs ? undefined : pause
}
