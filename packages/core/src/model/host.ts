import { ConfigError } from '../errors.js'

/** A machine that can be reached. What is absent comes from the connection options, then from the ssh configuration. */
export interface HostSpec {
  /** Name, alias of the ssh configuration, or address. */
  readonly address: string
  readonly user?: string | undefined
  readonly port?: number | undefined
  readonly keyFile?: string | undefined
  /** The hosts on the way, first hop first, as ProxyJump writes them: `user@gateway:22,inner`; `none` for no jump. */
  readonly jump?: string | undefined
}

/**
 * Reads `address`, `user@address`, `address:port`, `[2001:db8::1]:port`.
 *
 * @throws ConfigError `E_ARGUMENT` for a name that begins with `-` (a program would take it for an option), holds spaces or control
 * characters, or a port out of 1..65535
 */
export function parseHost(text: string): HostSpec {
  const found = /^(?:([^@\s]+)@)?(?:\[([^\]\s]+)\]|([^:\s[\]@]+|[^\s[\]@]*:[^\s[\]@]*:[^\s[\]@]*))(?::(\d{1,5}))?$/.exec(text)
  const address = found?.[2] ?? found?.[3]
  const user = found?.[1]
  const port = found?.[4] === undefined ? undefined : Number(found[4])
  const wrong = address === undefined || address.startsWith('-') || user?.startsWith('-') === true || /[\x00-\x1f\x7f]/.test(text)
  if (wrong || (port !== undefined && (port < 1 || port > 65_535))) {
    throw new ConfigError('E_ARGUMENT', `${JSON.stringify(text.slice(0, 200))} is not a host`, {
      suggestions: ['Write it like node1, user@node1 or user@node1:2222'],
    })
  }
  return { address, ...(user === undefined ? {} : { user }), ...(port === undefined ? {} : { port }) }
}

/** `user@address:port`, as {@link parseHost} reads it; absent parts are left out. */
export function formatHost(host: HostSpec): string {
  const address = host.address.includes(':') && host.port !== undefined ? `[${host.address}]` : host.address
  return `${host.user === undefined ? '' : `${host.user}@`}${address}${host.port === undefined ? '' : `:${host.port}`}`
}
