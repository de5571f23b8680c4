import { isCampaignError, ProcessError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import { isAborted, startTimer } from '../util/async.js'
import type { Connector, SshConnection, SshTarget } from './connection.js'
import { serverOf } from './connection-keys.js'
import { Pacing, pauseBeforeRetry, type Ticket } from './pacing.js'
import type { PooledConnection } from './pooled-connection.js'

type Outcome = 'made' | 'failed' | 'dropped'

export interface LoginTriesOptions {
  readonly clock: Clock
  /** From 0 to below 1. */
  readonly random: () => number
  readonly logger: Logger | undefined
  /** At a time. */
  readonly handshakes: number
}

/** Makes logins, each in its turn, and again when a busy server dropped it. */
export class LoginTries {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #logger: Logger | undefined
  readonly #pacing: Pacing<() => void>
  #cancelWake: (() => void) | undefined

  constructor({ clock, random, logger, handshakes }: LoginTriesOptions) {
    this.#clock = clock
    this.#random = random
    this.#logger = logger
    this.#pacing = new Pacing({ handshakes })
  }

  /** One login in as many tries as it takes, each in its turn. */
  async login(
    connector: Connector,
    target: SshTarget,
    via: PooledConnection | undefined,
    { signal, anew = false }: { readonly signal: AbortSignal; readonly anew?: boolean },
  ): Promise<{ readonly connection: SshConnection; readonly tries: number }> {
    const server = serverOf(target, connector.kind)
    let spent = 0
    for (let tries = 1; ; tries += 1) {
      const ticket = await this.#turn(server, target.name, signal)
      const began = this.#clock.monotonic()
      let how: Outcome = 'failed'
      const release = via?.hold()
      try {
        const connection = await connector.connect(target, { signal, via: via?.connection, anew })
        how = 'made'
        return { connection, tries }
      } catch (error) {
        spent += this.#clock.monotonic() - began
        const mayRetry = isCampaignError(error) && error.data['retry'] === true && !isAborted(signal)
        const pause = mayRetry ? pauseBeforeRetry(tries, spent, target.connectTimeoutMs, this.#random()) : undefined
        if (pause === undefined) throw isAborted(signal) ? givenUp(target.name) : error
        how = 'dropped'
        this.#leave(ticket, how)
        this.#logger?.debug({ host: target.name, tries, pauseMs: Math.round(pause), error }, 'login dropped')
        spent += pause
        await this.#clock.sleep(pause, { signal }).catch(() => {
          throw givenUp(target.name)
        })
      } finally {
        release?.()
        this.#leave(ticket, how)
      }
    }
  }

  #turn(server: string, name: string, signal: AbortSignal): Promise<Ticket<() => void>> {
    if (isAborted(signal)) return Promise.reject(givenUp(name))
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.#leave(ticket, 'failed')
        reject(givenUp(name))
      }
      const ticket = this.#pacing.enter(server, () => {
        signal.removeEventListener('abort', onAbort)
        resolve(ticket)
      })
      signal.addEventListener('abort', onAbort, { once: true })
      this.#advance()
    })
  }

  #leave(ticket: Ticket<() => void>, how: Outcome): void {
    this.#pacing.leave(ticket, how)
    this.#advance()
  }

  /** Lets begin what may, and looks again when the oldest has had its time. */
  #advance(): void {
    const now = this.#clock.monotonic()
    for (let ticket = this.#pacing.next(now); ticket !== undefined; ticket = this.#pacing.next(now)) ticket.value()
    this.#cancelWake?.()
    this.#cancelWake = undefined
    const wakeAt = this.#pacing.wakeAt()
    if (wakeAt !== undefined) this.#cancelWake = startTimer(wakeAt - now, () => this.#advance())
  }
}

export function givenUp(name: string): ProcessError {
  return new ProcessError('E_ABORTED', `The connection to ${name} was given up`)
}
