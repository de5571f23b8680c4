import { createPrivateKey, sign } from 'node:crypto'
import fs from 'node:fs'
import ssh2, { type ParsedKey } from 'ssh2'
import { systemCodeOf } from '../errors.js'
import type { SshPrompts } from './connection.js'
import { keyTypeOf } from './known-hosts.js'

/** A key that can be shown to a server. */
export interface Identity {
  readonly file: string
  /** `ssh-ed25519`, `ssh-rsa`… */
  readonly type: string
  /** In its binary form. */
  readonly publicKey: Buffer
  /** The file holds only the public half: an agent has the rest. */
  readonly publicOnly: boolean
  readonly encrypted: boolean
  /** There is a certificate beside it, which only the system's client shows. */
  readonly certificate: boolean
  /**
   * The private key. Asks for its passphrase once per program, however many hosts want it at the same moment.
   *
   * @returns undefined when nobody could tell the passphrase, or for `publicOnly`
   */
  unlock(): Promise<ParsedKey | undefined>
  /** The private key, if it needs no question (any more). */
  readonly unlocked: ParsedKey | undefined
}

/** A key file that is passed over. */
export interface PassedOver {
  readonly file: string
  readonly reason: string
  /** The system's client could use it. */
  readonly needsOpenssh: boolean
}

/** How often a wrong passphrase may be typed. */
const TRIES = 3

/** Private key files, each read once per program as long as it does not change. */
export class Identities {
  readonly #ask: SshPrompts['ask']
  readonly #files = new Map<string, { readonly stamp: string; readonly identity: Identity | PassedOver }>()

  constructor(prompts: SshPrompts = {}) {
    this.#ask = prompts.ask?.bind(prompts)
  }

  /** In the order of the files; those that do not exist are left out. */
  load(files: readonly string[]): { readonly keys: readonly Identity[]; readonly passedOver: readonly PassedOver[] } {
    const keys: Identity[] = []
    const passedOver: PassedOver[] = []
    for (const file of files) {
      const identity = this.#load(file)
      if (identity === undefined) continue
      if ('reason' in identity) passedOver.push(identity)
      else if (identity.publicKey.length === 0 || !keys.some((key) => key.publicKey.equals(identity.publicKey))) keys.push(identity)
    }
    return { keys, passedOver }
  }

  #load(file: string): Identity | PassedOver | undefined {
    try {
      const stat = fs.statSync(file, { throwIfNoEntry: false })
      if (stat === undefined) return undefined
      const stamp = `${stat.size} ${stat.mtimeMs} ${stat.ctimeMs} ${stat.ino}`
      const cached = this.#files.get(file)
      if (cached?.stamp === stamp) return cached.identity
      const identity = readIdentity(file, stat, this.#ask)
      this.#files.set(file, { stamp, identity })
      return identity
    } catch (error) {
      return { file, reason: `it cannot be read (${systemCodeOf(error) ?? String(error)})`, needsOpenssh: false }
    }
  }
}

function readIdentity(file: string, stat: fs.Stats, ask: SshPrompts['ask']): Identity | PassedOver {
  const passOver = (reason: string, needsOpenssh = false): PassedOver => ({ file, reason, needsOpenssh })
  if (!stat.isFile()) return passOver('it is not a file')
  const text = fs.readFileSync(file, 'latin1')
  const isPrivate = /-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text) || text.startsWith('PuTTY-User-Key-File-')
  // as ssh does: a key of ours that others can read is no secret
  if (isPrivate && stat.uid === process.getuid?.() && (stat.mode & 0o077) !== 0) {
    return passOver(`its permissions ${(stat.mode & 0o777).toString(8).padStart(4, '0')} let others read it`)
  }
  const certificate = fs.existsSync(`${file.replace(/\.pub$/, '')}-cert.pub`)
  const open = publicHalf(text) ?? (isPrivate ? publicHalfBeside(file) : undefined)
  const type = open === undefined ? undefined : keyTypeOf(open)
  if (type?.startsWith('sk-') === true) return passOver('it lives in a security token, which needs the connector openssh', true)
  if (type?.includes('-cert-') === true) return passOver('it is a certificate, which needs the connector openssh', true)
  const parsed = parse(text)
  if (parsed instanceof Error && !isLocked(parsed)) return passOver(`it is no key that can be used (${parsed.message})`)
  if (parsed instanceof Error) {
    if (open === undefined || type === undefined) {
      return new KeyFile(file, { ask, text, certificate })
    }
    return new KeyFile(file, { ask, text, certificate, publicKey: open })
  }
  if (parsed.isPrivateKey()) return new KeyFile(file, { ask, text, certificate, key: parsed })
  return new KeyFile(file, { ask, text, certificate, publicKey: parsed.getPublicSSH(), publicOnly: true })
}

function parse(text: string, passphrase?: string): ParsedKey | Error {
  try {
    // a file in OpenSSH's format can hold several keys; nothing writes such files
    const parsed = ssh2.utils.parseKey(fromPkcs8(text, passphrase), passphrase) as ParsedKey | Error | ParsedKey[]
    const key = Array.isArray(parsed) ? (parsed[0] ?? new Error('it is empty')) : parsed
    return key instanceof Error || !key.isPrivateKey() ? key : signQuickly(key)
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

/** ssh2 takes the text of the key apart for every signature, which costs several times the signature. */
function signQuickly(key: ParsedKey): ParsedKey {
  const object = createPrivateKey(key.getPrivatePEM())
  key.sign = (data, hash) => sign(hash ?? HASHES[key.type] ?? null, Buffer.from(data as Buffer), object)
  return key
}

/** Of keys that leave no choice. */
const HASHES: Readonly<Record<string, string>> = {
  'ecdsa-sha2-nistp256': 'sha256',
  'ecdsa-sha2-nistp384': 'sha384',
  'ecdsa-sha2-nistp521': 'sha512',
  'ssh-rsa': 'sha1',
}

/** PKCS#8 (`BEGIN PRIVATE KEY`), which ssh2 does not read, in the older forms that it does. */
function fromPkcs8(text: string, passphrase: string | undefined): string {
  const found = /-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/.exec(text)
  if (found === null) return text
  if (found[1] !== undefined && passphrase === undefined) throw new Error('encrypted, and no passphrase given')
  const key = createPrivateKey({ key: text, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) })
  return key.export({ type: key.asymmetricKeyType === 'ec' ? 'sec1' : 'pkcs1', format: 'pem' }).toString()
}

/** @source the two messages of ssh2 1.17.0, lib/protocol/keyParser.js, for a missing and for a wrong passphrase */
function isLocked(error: Error): boolean {
  return /encrypted|passphrase|integrity check|bad decrypt/i.test(error.message)
}

/** The public key that stands in clear at the head of a private key, or that the file is. */
function publicHalf(text: string): Buffer | undefined {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]*)-----END/.exec(text)?.[1]
  if (body === undefined) return publicLine(text)
  // magic, cipher, kdf, options of the kdf, number of keys, first public key: openssh PROTOCOL.key
  const data = Buffer.from(body, 'base64')
  let at = 'openssh-key-v1\0'.length
  const field = (): Buffer => {
    const length = data.readUInt32BE(at)
    at += 4 + length
    if (at > data.length) throw new RangeError('cut')
    return data.subarray(at - length, at)
  }
  try {
    field()
    field()
    field()
    at += 4
    return Buffer.from(field())
  } catch {
    return undefined
  }
}

function publicHalfBeside(file: string): Buffer | undefined {
  try {
    return publicLine(fs.readFileSync(`${file}.pub`, 'latin1'))
  } catch {
    return undefined
  }
}

function publicLine(text: string): Buffer | undefined {
  const [, type, base64] = /^\s*([a-z0-9@.-]+) ([A-Za-z0-9+/]+={0,2})(?:\s|$)/.exec(text) ?? []
  const key = base64 === undefined ? undefined : Buffer.from(base64, 'base64')
  return key !== undefined && keyTypeOf(key) === type ? key : undefined
}

interface KeyFileParts {
  readonly ask: SshPrompts['ask']
  readonly text: string
  readonly certificate: boolean
  readonly key?: ParsedKey
  readonly publicKey?: Buffer
  readonly publicOnly?: boolean
}

class KeyFile implements Identity {
  readonly file: string
  readonly type: string
  readonly publicKey: Buffer
  readonly publicOnly: boolean
  readonly encrypted: boolean
  readonly certificate: boolean
  unlocked: ParsedKey | undefined
  readonly #text: string
  readonly #ask: SshPrompts['ask']
  #unlocking: Promise<ParsedKey | undefined> | undefined

  constructor(file: string, parts: KeyFileParts) {
    this.file = file
    this.unlocked = parts.key
    // an encrypted PEM file does not show its public half: then it must be opened before it can be shown
    this.publicKey = parts.publicKey ?? parts.key?.getPublicSSH() ?? Buffer.alloc(0)
    this.type = keyTypeOf(this.publicKey) ?? 'unknown'
    this.publicOnly = parts.publicOnly ?? false
    this.encrypted = parts.key === undefined && !this.publicOnly
    this.certificate = parts.certificate
    this.#text = parts.text
    this.#ask = parts.ask
  }

  unlock(): Promise<ParsedKey | undefined> {
    if (this.unlocked !== undefined || this.publicOnly) return Promise.resolve(this.unlocked)
    this.#unlocking ??= this.#askPassphrase()
    return this.#unlocking
  }

  async #askPassphrase(): Promise<ParsedKey | undefined> {
    for (let attempt = 1; attempt <= TRIES; attempt += 1) {
      const text = `${attempt === 1 ? 'Passphrase' : 'That was not it. Passphrase'} of ${this.file}: `
      const answer = await this.#ask?.({ target: this.file, text, secret: true })
      if (answer === undefined) return undefined
      const parsed = parse(this.#text, answer)
      if (!(parsed instanceof Error)) {
        this.unlocked = parsed
        return parsed
      }
    }
    return undefined
  }
}
