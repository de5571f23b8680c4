import { createHash, createHmac, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { dirname } from 'node:path'
import { ProcessError, systemCodeOf } from '../errors.js'
import { type KnownHostsLine, KnownHostsText } from './known-hosts-text.js'

/** Under which names a host's key may stand. */
export interface HostNames {
  /** The name or address that is connected to. */
  readonly address: string
  readonly port: number
  /** The only name looked up, without port, when given (`HostKeyAlias`). */
  readonly alias?: string | undefined
}

export interface KnownKey {
  /** `ssh-ed25519`, `ssh-rsa`… */
  readonly type: string
  readonly key: Buffer
  readonly file: string
  /** Counted from 1. */
  readonly line: number
}

export type HostKeyVerdict =
  | { readonly state: 'known' | 'revoked'; readonly known: KnownKey }
  /** The host is known, with other keys. */
  | { readonly state: 'changed'; readonly known: KnownKey }
  | { readonly state: 'unknown' }

/** What is known about one host. */
export interface HostKeys {
  readonly known: readonly KnownKey[]
  /** Keys that sign the keys of this host: only the system's client understands them. */
  readonly authorities: readonly KnownKey[]
  /** Signature algorithms of the known keys: to be asked for first, so that a host with several keys shows one that we know. */
  readonly algorithms: readonly string[]
  /** Files that are there and cannot be read, with the system's reason. */
  readonly unreadable: readonly string[]
  judge(key: Buffer): HostKeyVerdict
}

/** As `ssh-keygen -l` prints it. */
export function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
}

/** The name that stands before a public key in its binary form, if it is one. */
export function keyTypeOf(key: Buffer): string | undefined {
  const length = key.length < 8 ? 0 : key.readUInt32BE(0)
  return length < 1 || length > 64 || 4 + length >= key.length ? undefined : key.toString('latin1', 4, 4 + length)
}

interface CachedFile {
  readonly text: KnownHostsText
  /** What `stat` said when it was read. */
  stamp: string
  readonly unreadable?: string
}

/** Reads files of known host keys, each of them once as long as it does not change, and adds to them. */
export class KnownHosts {
  readonly #files = new Map<string, CachedFile>()

  /** @source sshd(8) "SSH_KNOWN_HOSTS FILE FORMAT", OpenSSH 9.2 */
  lookup(files: readonly string[], host: HostNames): HostKeys {
    const name = (host.alias ?? host.address).toLowerCase()
    const withPort = host.alias !== undefined || host.port === 22 ? name : `[${name}]:${host.port}`
    const own: KnownHostsLine[] = []
    const bare: KnownHostsLine[] = []
    const unreadable: string[] = []
    for (const path of files) {
      const file = this.#read(path)
      if (file.unreadable !== undefined) unreadable.push(file.unreadable)
      own.push(...file.text.find(withPort))
      // a key that is known for the host, whatever the port, is good for this port too; it does not make other keys wrong
      if (withPort !== name) bare.push(...file.text.find(name))
    }
    return makeHostKeys(own, bare, unreadable)
  }

  /**
   * Takes down the key of a host at the end of `file`, unless it stands there already. One write, so that lines of several programs never
   * mix; the file (0600) and its folder (0700) are made when they are missing.
   *
   * @param options - `hashed`: nobody can read in the file which hosts are known
   * @throws ProcessError `E_HOST_KEY_UNKNOWN` when the file cannot be written
   */
  add(file: string, host: HostNames, key: Buffer, { hashed = false }: { readonly hashed?: boolean | undefined } = {}): void {
    const name = (host.alias ?? host.address).toLowerCase()
    const label = host.alias !== undefined || host.port === 22 ? name : `[${name}]:${host.port}`
    const type = keyTypeOf(key)
    if (type === undefined || /[\s,*?!|#@]/.test(label)) {
      throw new ProcessError('E_HOST_KEY_UNKNOWN', `the key of ${label} cannot be written to ${file}: it has no proper name or type`)
    }
    const before = this.#read(file)
    if (before.text.find(label).some((line) => line.marker === undefined && line.key.equals(key))) return
    const text = `${before.text.endsInLine ? '' : '\n'}${hashed ? hashOf(label) : label} ${type} ${key.toString('base64')}\n`
    try {
      fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
      const descriptor = fs.openSync(file, 'a', 0o600)
      try {
        fs.writeSync(descriptor, text)
      } finally {
        fs.closeSync(descriptor)
      }
    } catch (cause) {
      throw new ProcessError('E_HOST_KEY_UNKNOWN', `the key of ${label} could not be written to ${file}: ${systemCodeOf(cause)}`, {
        suggestions: [`Make ${file} writable, or name another file of known hosts`],
        cause,
      })
    }
    // a thousand first contacts must not read the file a thousand times
    const stamp = stampOf(file)
    const grown = Number(before.stamp.split(' ')[0]) + Buffer.byteLength(text)
    if (stamp !== undefined && before.stamp !== '' && Number(stamp.split(' ')[0]) === grown) {
      before.text.append(text)
      before.stamp = stamp
    }
  }

  #read(path: string): CachedFile {
    let stamp = ''
    const cached = this.#files.get(path)
    let file: CachedFile
    try {
      stamp = stampOf(path) ?? ''
      if (cached?.stamp === stamp && cached.unreadable === undefined) return cached
      file = { text: new KnownHostsText(path, stamp === '' ? '' : fs.readFileSync(path, 'utf8')), stamp }
    } catch (error) {
      file = { text: new KnownHostsText(path, ''), stamp, unreadable: `${path}: ${systemCodeOf(error) ?? String(error)}` }
    }
    this.#files.set(path, file)
    return file
  }
}

/** @source sshd(8) "SSH_KNOWN_HOSTS FILE FORMAT": HMAC-SHA1 of the name, keyed with a salt of its own */
function hashOf(name: string): string {
  const salt = randomBytes(20)
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}

/** Size, time and number of a file; undefined when there is none. */
function stampOf(path: string): string | undefined {
  const stat = fs.statSync(path, { throwIfNoEntry: false, bigint: true })
  return stat === undefined ? undefined : `${stat.size} ${stat.mtimeNs} ${stat.ino}`
}

function makeHostKeys(own: readonly KnownHostsLine[], bare: readonly KnownHostsLine[], unreadable: readonly string[]): HostKeys {
  const all = [...own, ...bare]
  const known = own.filter((line) => line.marker === undefined)
  const accepted = all.filter((line) => line.marker === undefined)
  return {
    known,
    authorities: all.filter((line) => line.marker === 'cert-authority'),
    algorithms: [...new Set(accepted.flatMap((line) => algorithmsOf(line.type)))],
    unreadable,
    judge: (key) => {
      const revoked = all.find((line) => line.marker === 'revoked' && line.key.equals(key))
      if (revoked !== undefined) return { state: 'revoked', known: revoked }
      const same = accepted.find((line) => line.key.equals(key))
      if (same !== undefined) return { state: 'known', known: same }
      // of another type as well: a host whose keys are known was asked for those first, so it has lost them
      const type = keyTypeOf(key)
      const other = known.find((line) => line.type === type) ?? known[0]
      return other === undefined ? { state: 'unknown' } : { state: 'changed', known: other }
    },
  }
}

/** @source RFC 8332: an RSA key signs with three algorithms. */
function algorithmsOf(type: string): string[] {
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'] : [type]
}
