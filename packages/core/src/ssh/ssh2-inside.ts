import type { Client, ClientChannel } from 'ssh2'

/**
 * What ssh2 1.17.0 knows and does not tell. The version is pinned in package.json: look here before another is taken, since a login that needs
 * a person would not be told what the server accepts.
 */
interface Inside {
  readonly _protocol?: {
    readonly _handlers?: {
      USERAUTH_FAILURE?: (protocol: unknown, methods: string[], partial: boolean) => void
      GLOBAL_REQUEST?: (protocol: { requestFailure(): void }, name: string, wantsReply: boolean, data: unknown) => void
    }
    parse?: (chunk: Buffer, from: number, to: number) => void
  }
}

/** More before its banner is no greeting. */
const GREETING_BYTES = 65_536

/** Call it after `connect`. */
export function adjustClient(client: Client, onRefused: (methods: readonly string[], partial: boolean) => void): void {
  const protocol = (client as unknown as Inside)._protocol
  if (protocol?.parse !== undefined) gatherBanner(protocol as { parse: NonNullable<typeof protocol.parse> })
  const handlers = protocol?._handlers
  if (handlers === undefined) return
  // a key of an agent that was only the first of two steps is not told from a refused one: lib/client.js, USERAUTH_FAILURE
  const { USERAUTH_FAILURE: refused, GLOBAL_REQUEST: request } = handlers
  handlers.USERAUTH_FAILURE = (protocol, methods, partial) => {
    onRefused(methods, partial)
    refused?.(protocol, methods, partial)
  }
  // every sshd tells all its keys after the login; ssh2 lets it prove each of them with a signature, which nobody here
  // looks at, and gives the connection up when one is of a kind that it does not know
  handlers.GLOBAL_REQUEST = (protocol, name, wantsReply, data) => {
    if (name !== 'hostkeys-00@openssh.com') request?.(protocol, name, wantsReply, data)
    else if (wantsReply) protocol.requestFailure()
  }
}

/** A banner that comes in three pieces or more loses those in the middle (lib/protocol/Protocol.js, parseHeader): it is given whole. */
function gatherBanner(protocol: { parse: (chunk: Buffer, from: number, to: number) => void }): void {
  const parse = protocol.parse.bind(protocol)
  let text = Buffer.alloc(0)
  protocol.parse = (chunk, from, to) => {
    text = Buffer.concat([text, chunk.subarray(from, to)])
    const banner = text.subarray(0, 4).toString() === 'SSH-' ? 0 : text.indexOf('\nSSH-')
    // a zero stands in no banner: the library finds the right words for it
    if (text.length < GREETING_BYTES && !text.includes(0) && (banner === -1 || !text.includes('\n', banner + 1))) return
    protocol.parse = parse
    parse(text, 0, text.length)
  }
}

/** True when the other side has said that no more output comes. */
export function hasAllOutput(channel: ClientChannel): boolean {
  const state = (channel as unknown as { readonly incoming?: { readonly state?: string } }).incoming?.state
  return state === 'eof' || state === 'closed'
}
