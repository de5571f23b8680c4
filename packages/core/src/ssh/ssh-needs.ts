import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { userInfo } from 'node:os'
import type { SshTarget } from './connection.js'
import type { KnownHosts } from './known-hosts.js'
import { MuxControl } from './mux-control.js'
import type { HostConfig } from './ssh-config.js'

/** What only the system's client can do. */
export interface Need {
  /** The option of ssh_config, as ssh_config(5) writes it. */
  readonly option: string
  /** Half a sentence that goes after "because". */
  readonly because: string
}

const one = (config: HostConfig, key: string): string | undefined => {
  const value = config.get(key)?.[0]
  return value === undefined || value === 'none' || value === '' ? undefined : value
}

/**
 * Why a host needs the system's client, if it does: the first reason found, cheap looks first.
 *
 * @param controlPath - of the user's own master, tokens replaced
 */
export async function findNeed(
  target: SshTarget,
  config: HostConfig,
  controlPath: string | undefined,
  knownHosts: KnownHosts,
): Promise<Need | undefined> {
  const said = needOfOptions(config)
  if (said !== undefined) return said
  const names = { address: target.address, port: target.port, alias: target.hostKeyAlias }
  if (knownHosts.lookup(target.knownHostsFiles, names).authorities.length > 0) {
    return { option: '@cert-authority', because: 'a @cert-authority line of the known hosts applies to it' }
  }
  for (const file of target.keyFiles) {
    const kind = await fresh(`key ${file}`, () => kindOfKeyFile(file))
    if (kind === 'security key') return { option: 'IdentityFile', because: `${file} is held by a security key (FIDO)` }
    if (kind === 'certificate') return { option: 'CertificateFile', because: `there is a certificate beside ${file}` }
  }
  if (config.get('gssapiauthentication')?.[0] === 'yes' && (await fresh('ticket', hasKerberosTicket))) {
    return { option: 'GSSAPIAuthentication', because: 'the configuration asks for GSSAPI and there is a Kerberos ticket' }
  }
  const { agent } = target
  if (agent !== undefined && !target.identitiesOnly && (await fresh(`agent ${agent}`, () => agentNeedsClient(agent)))) {
    return { option: 'IdentityAgent', because: 'the agent holds a certificate or a security key' }
  }
  if (controlPath !== undefined && (await MuxControl.isLive(controlPath))) {
    return { option: 'ControlPath', because: `a master of yours is open at ${controlPath}` }
  }
  return undefined
}

/** Options that say by themselves that the client is needed. Pure. */
export function needOfOptions(config: HostConfig): Need | undefined {
  const asks = (option: string): Need => ({ option, because: `the configuration asks for ${option}` })
  if (config.has('certificatefile')) return asks('CertificateFile')
  if (one(config, 'proxycommand') !== undefined) return asks('ProxyCommand')
  if (one(config, 'pkcs11provider') !== undefined) return asks('PKCS11Provider')
  const provider = one(config, 'securitykeyprovider')
  if (provider !== undefined && provider !== 'internal') return asks('SecurityKeyProvider')
  if (one(config, 'knownhostscommand') !== undefined) return asks('KnownHostsCommand')
  if (one(config, 'revokedhostkeys') !== undefined) return asks('RevokedHostKeys')
  if (config.get('hostbasedauthentication')?.[0] === 'yes') return asks('HostbasedAuthentication')
  if (['yes', 'true'].includes(config.get('verifyhostkeydns')?.[0] ?? '')) return asks('VerifyHostKeyDNS')
  if (one(config, 'bindaddress') !== undefined) return asks('BindAddress')
  if (one(config, 'bindinterface') !== undefined) return asks('BindInterface')
  return undefined
}

/** Looks are shared by hosts that are resolved together. */
const looks = new Map<string, { readonly at: number; readonly answer: Promise<unknown> }>()
const FRESH_MS = 2000

function fresh<T>(key: string, look: () => Promise<T>): Promise<T> {
  const known = looks.get(key)
  const now = performance.now()
  if (known !== undefined && now - known.at < FRESH_MS) return known.answer as Promise<T>
  const answer = look()
  looks.set(key, { at: now, answer })
  return answer
}

/** What a private key file is, by itself and by what lies beside it. */
async function kindOfKeyFile(path: string): Promise<'absent' | 'plain' | 'security key' | 'certificate'> {
  const [key, publicKey, certificate] = await Promise.all([
    readFile(path, 'latin1').catch(() => undefined),
    readFile(`${path}.pub`, 'latin1').catch(() => undefined),
    readFile(`${path}-cert.pub`, 'latin1').catch(() => undefined),
  ])
  if (key === undefined) return 'absent'
  // The public half stands at the beginning of the file, also when the private one is encrypted.
  const body = Buffer.from(key.replace(/-----[^\n]*-----|\s/g, '').slice(0, 400), 'base64').toString('latin1')
  if (/sk-(ssh|ecdsa)-/.test(body) || publicKey?.startsWith('sk-') === true) return 'security key'
  return certificate === undefined ? 'plain' : 'certificate'
}

async function hasKerberosTicket(): Promise<boolean> {
  const said = await new Promise<boolean | undefined>((resolve) => {
    execFile('klist', ['-s'], { timeout: 2000 }, (error) =>
      resolve(error === null ? true : (error as { code?: unknown }).code === 'ENOENT' ? undefined : false),
    )
  })
  if (said !== undefined) return said
  const cache = process.env['KRB5CCNAME'] ?? `FILE:/tmp/krb5cc_${userInfo().uid}`
  const file = /^(?:FILE:)?(\/.*)$/.exec(cache)?.[1]
  return file === undefined
    ? cache !== ''
    : readFile(file).then(
        () => true,
        () => false,
      )
}

/** An agent that says nothing for so long holds nothing for us. */
const AGENT_PATIENCE_MS = 5000

/** @source draft-miller-ssh-agent: SSH_AGENTC_REQUEST_IDENTITIES 11, SSH_AGENT_IDENTITIES_ANSWER 12 */
async function agentNeedsClient(socket: string): Promise<boolean> {
  const answer = await new Promise<Buffer>((resolve) => {
    let got = Buffer.alloc(0)
    const connection = createConnection(socket, () => connection.write(Buffer.from([0, 0, 0, 1, 11])))
    const finish = (): void => {
      connection.destroy()
      resolve(got)
    }
    // What came while this program itself stood still is read first.
    connection.setTimeout(AGENT_PATIENCE_MS, () => setImmediate(finish))
    connection.on('error', finish)
    connection.on('close', finish)
    connection.on('data', (chunk) => {
      got = Buffer.concat([got, chunk])
      if (got.length >= 4 && got.length >= 4 + got.readUInt32BE(0)) finish()
    })
  })
  return typesOfIdentities(answer).some((type) => type.startsWith('sk-') || type.includes('-cert-'))
}

/** The key types in an agent's answer; empty for anything else. */
export function typesOfIdentities(answer: Buffer): string[] {
  const types: string[] = []
  try {
    if (answer[4] !== 12) return []
    let at = 9
    for (let left = answer.readUInt32BE(5); left > 0; left--) {
      const length = answer.readUInt32BE(at)
      types.push(answer.toString('latin1', at + 8, at + 8 + answer.readUInt32BE(at + 4)))
      at += 4 + length
      at += 4 + answer.readUInt32BE(at)
    }
  } catch {
    return []
  }
  return types
}
