import { ConfigError } from '../errors.js'
import { formatHost, type HostSpec, parseHost } from '../model/host.js'

export interface HostOptions {
  readonly user?: string | undefined
  readonly port?: number | undefined
  /** The private key for this host, instead of those of the connection options and of the ssh configuration. */
  readonly keyFile?: string | undefined
  /** The hosts on the way, first hop first: `user@gateway:22,inner`; `none` for no jump. */
  readonly jump?: string | undefined
}

/**
 * A machine that can be reached. Immutable; what is absent comes from the connection options, then from the ssh configuration.
 *
 * ```ts
 * const host = new Host('alice@node1:2222', { jump: 'gateway' })
 * console.log(host.address, host.user, host.port, `${host}`)
 * ```
 *
 * @throws ConfigError `E_ARGUMENT` for what no host is called, a port out of 1..65535, a name that begins with `-`
 */
export class Host implements HostSpec {
  readonly address: string
  readonly user: string | undefined
  readonly port: number | undefined
  readonly keyFile: string | undefined
  readonly jump: string | undefined

  /** @param options - what is given here wins over what `host` says */
  constructor(host: string | HostSpec, options: HostOptions = {}) {
    const given: HostSpec = typeof host === 'string' ? parseHost(host) : host
    this.address = given.address
    this.user = options.user ?? given.user
    this.port = options.port ?? given.port
    this.keyFile = options.keyFile ?? given.keyFile
    this.jump = options.jump ?? given.jump
    checkHost(this)
    Object.freeze(this)
  }

  /** `user@address:port`; absent parts are left out. */
  toString(): string {
    return formatHost(this)
  }

  /** True when all that is known of the two is the same. `node1` and `node1:22` differ: the port of the first is not known here. */
  equals(other: HostSpec): boolean {
    return keyOf(this) === keyOf(other)
  }
}

/** Each host once, in the order of its first place. */
export function uniqueHosts<T extends HostSpec>(hosts: readonly T[]): T[] {
  const seen = new Map<string, T>()
  for (const host of hosts) if (!seen.has(keyOf(host))) seen.set(keyOf(host), host)
  return [...seen.values()]
}

/** The same text for equal hosts only. */
export function keyOf({ address, user, port, keyFile, jump }: HostSpec): string {
  return JSON.stringify([address, user, port, keyFile, jump])
}

function checkHost(host: HostSpec): void {
  const { address, user, port } = parseHost(formatHost(host))
  if (address !== host.address || user !== host.user || port !== host.port) refuse(host, 'is not a host')
  if (host.keyFile === '' || host.keyFile?.includes('\0') === true) refuse(host, `has ${JSON.stringify(host.keyFile)} as its key file`)
  if (host.jump === undefined || host.jump === 'none') return
  for (const hop of host.jump.split(',')) {
    try {
      parseHost(hop.replace(/^ssh:\/\//, ''))
    } catch (cause) {
      refuse(host, `has ${JSON.stringify(hop.slice(0, 200))} on its way, which is not a host`, cause)
    }
  }
}

function refuse(host: HostSpec, what: string, cause?: unknown): never {
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(formatHost(host).slice(0, 200))} ${what}`, {
    suggestions: ['Write it like node1, user@node1 or user@node1:2222; hosts on the way like user@gateway:22,inner'],
    ...(cause === undefined ? {} : { cause }),
  })
}
