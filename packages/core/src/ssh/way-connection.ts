import { ConfigError, ProcessError } from '../errors.js'
import type { HostWay } from '../ports/fleet.js'
import type { SshConnection, SshTarget } from './connection.js'
import { PooledConnection } from './pooled-connection.js'

/** A tool takes as many commands at a time as it is given. */
const SESSIONS = 1_000

/** A way that a tool has to a host, for everything that works over a connection. */
export function pooledWay(way: HostWay, target: SshTarget): PooledConnection {
  return new PooledConnection(`way:${target.name}`, new WayConnection(way, target), SESSIONS, undefined)
}

class WayConnection implements SshConnection {
  readonly target: SshTarget
  /** The system's client is what tools call. */
  readonly connector = 'openssh'
  readonly lost: Promise<ProcessError>
  readonly #way: HostWay

  constructor(way: HostWay, target: SshTarget) {
    this.#way = way
    this.target = target
    this.lost = way.lost
  }

  exec(command: string, options: { readonly pty?: boolean; readonly signal?: AbortSignal | undefined } = {}): ReturnType<HostWay['exec']> {
    if (options.pty === true) throw new ConfigError('E_NOT_SUPPORTED', `there is no pseudo terminal on this way to ${this.target.name}`)
    return this.#way.exec(command)
  }

  subsystem(name: string): Promise<never> {
    return Promise.reject(new ProcessError('E_NOT_SUPPORTED', `there is no subsystem ${name} on this way to ${this.target.name}`))
  }

  forwardOut(): Promise<never> {
    return Promise.reject(new ProcessError('E_FORWARD', `no port can be forwarded on this way to ${this.target.name}`))
  }

  ref(): void {
    // Who opened the way keeps the program alive.
  }

  unref(): void {
    // The same.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Who opened the way ends it.
  }
}
