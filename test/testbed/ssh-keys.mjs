/** Keys of hosts and users in the format of OpenSSH, made here: a program per key would take seconds for hundreds of hosts. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'

/** Length, then bytes, as everything in this format. @param {string | Uint8Array} value */
function field(value) {
  const bytes = Buffer.from(value)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/**
 * A new ed25519 key pair without passphrase.
 *
 * @param {string} comment
 * @returns {{ privateKey: string, publicKey: string }} text of the private file, and `ssh-ed25519 … comment`
 * @source openssh-portable PROTOCOL.key; RFC 8709 for the public part
 */
export function makeSshKey(comment) {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const seed = Buffer.from(String(jwk.d), 'base64url')
  const point = Buffer.from(String(jwk.x), 'base64url')
  const blob = Buffer.concat([field('ssh-ed25519'), field(point)])
  const check = randomBytes(4)
  const secret = Buffer.concat([check, check, field('ssh-ed25519'), field(point), field(Buffer.concat([seed, point])), field(comment)])
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, index) => index + 1))
  const one = Buffer.from([0, 0, 0, 1])
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    field('none'),
    field('none'),
    field(''),
    one,
    field(blob),
    field(Buffer.concat([secret, padding])),
  ])
  const lines = file.toString('base64').match(/.{1,70}/g) ?? []
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`,
    publicKey: `ssh-ed25519 ${blob.toString('base64')} ${comment}`,
  }
}
