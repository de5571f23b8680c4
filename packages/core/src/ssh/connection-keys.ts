import type { Connector, SshTarget } from './connection.js'

type ConnectorKind = Connector['kind']

/** Which server a handshake burdens: the first one that is really dialled for it. */
export function serverOf(target: SshTarget, kind: ConnectorKind): string {
  const first = target.jumps[0]
  if (first === undefined) return `${target.address}:${target.port}`
  return kind === 'openssh' ? `${first.address}:${first.port}` : `${wayOf(target)}>${target.address}:${target.port}`
}

function wayOf(target: SshTarget): string {
  return target.jumps.map((jump) => `${jump.user}@${jump.address}:${jump.port}`).join('>')
}

/** What one connection is for: who asks for the same shares it. */
export function keyOf(target: SshTarget, kind: ConnectorKind): string {
  return `${kind} ${wayOf(target)}>${target.user}@${target.address}:${target.port}`
}

/** A refusal counts for the same keys only. */
export function questionOf(key: string, target: SshTarget): string {
  return [key, target.agent ?? '', ...target.keyFiles].join('\n')
}
