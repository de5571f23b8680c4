import type { Connector, SshTarget } from './connection.js'

type ConnectorKind = Connector['kind']

/** Which server a handshake burdens: the first one that is really dialled for it. */
export function serverOf(target: SshTarget, kind: ConnectorKind): string {
  const first = target.jumps[0]
  if (first === undefined) return `${target.address}:${target.port}`
  return kind === 'openssh' ? `${first.address}:${first.port}` : `${wayOf(target)}>${target.address}:${target.port}`
}

function wayOf(target: SshTarget): string {
  return target.jumps.map(placeOf).join('>')
}

function placeOf({ user, address, port }: SshTarget): string {
  return `${user}@${address}:${port}`
}

/**
 * What one connection is for: who asks for the same shares it. The address alone does not say which machine answers, nor what it lets us
 * do: behind the gateways of two sites there is a `node1` each, and a server may have a command of its own for a key.
 */
export function keyOf(target: SshTarget, kind: ConnectorKind): string {
  return JSON.stringify([kind, ...[...target.jumps, target].map((host) => partsOf(host, kind))])
}

function partsOf(host: SshTarget, kind: ConnectorKind): readonly unknown[] {
  const { configFile, destination, options } = host.openssh
  return [
    placeOf(host),
    [host.hostKeyAlias, host.knownHostsFiles],
    [host.agent, host.identitiesOnly, host.keyFiles],
    // how ssh gets there may depend on all that its configuration says of this name
    ...(kind === 'openssh' ? [configFile, destination, options] : []),
  ]
}
