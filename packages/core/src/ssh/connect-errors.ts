import type { ErrorCode } from '../error-codes.js'
import { type ErrorDetails, isCampaignError, messageOf, ProcessError, systemCodeOf } from '../errors.js'
import type { SshTarget } from './connection.js'
import { fingerprintOf, type HostKeys, type HostKeyVerdict, keyTypeOf } from './known-hosts.js'

/** How far a connection had come. */
export type Stage = 'lookup' | 'dial' | 'banner' | 'handshake' | 'login'

/** `node7 (10.0.0.7:22)`. */
export function placeOf(target: SshTarget): string {
  const address = target.address.includes(':') ? `[${target.address}]` : target.address
  return `${target.name} (${address}:${target.port})`
}

function makeError(target: SshTarget, code: ErrorCode, message: string, details: ErrorDetails = {}): ProcessError {
  const data = { host: target.name, address: target.address, port: target.port, ...details.data }
  return new ProcessError(code, `${placeOf(target)} ${printable(message)}`, { ...details, data })
}

/** What a server says must not move the cursor of a terminal on which it is shown. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x1f\x7f-\x9f]+/g, '.')
}

const SPELL = 'Look whether the name is written right: ssh -G tells what the ssh configuration makes of it'
const LISTEN = 'Look whether sshd runs there, or name the port at which it listens'
const WAY = 'Look whether the host is up, and whether the way to it leads over a VPN or a gateway (jump, --jump)'
const FIREWALL = 'Look at the firewall and the rules of this machine'
const FILES = 'Raise the limit with ulimit -n, or do less at a time'

/** Words for what the system says. What may go well a moment later has `retry`. */
const SYSTEM: Readonly<
  Record<string, { readonly code: ErrorCode; readonly text: string; readonly hint: string; readonly retry?: boolean }>
> = {
  ENOTFOUND: { code: 'E_HOST_NAME', text: 'has a name that this machine does not know', hint: SPELL },
  EAI_AGAIN: {
    code: 'E_HOST_NAME',
    text: 'could not be looked up: the name server does not answer',
    hint: 'Look at the name servers of this machine (/etc/resolv.conf), or name the host by its address',
    retry: true,
  },
  ECONNREFUSED: { code: 'E_HOST_REFUSED', text: 'refused the connection: nothing listens there', hint: LISTEN },
  ETIMEDOUT: { code: 'E_HOST_TIMEOUT', text: 'did not answer: the network gave up waiting', hint: WAY },
  EHOSTUNREACH: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: no way leads to this host', hint: WAY },
  ENETUNREACH: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: no way leads to its network', hint: WAY },
  EHOSTDOWN: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: the host is down', hint: WAY },
  ENETDOWN: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: the network is down', hint: WAY },
  EADDRNOTAVAIL: {
    code: 'E_HOST_UNREACHABLE',
    text: 'cannot be reached: this machine has no address or port left for it',
    hint: 'Connect to fewer hosts at a time',
    retry: true,
  },
  EINVAL: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: the address is of no use here', hint: SPELL },
  EACCES: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: this machine forbids it', hint: FIREWALL },
  EPERM: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: this machine forbids it (a firewall?)', hint: FIREWALL },
  EMFILE: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: this program has too many files open', hint: FILES, retry: true },
  ENFILE: { code: 'E_HOST_UNREACHABLE', text: 'cannot be reached: this machine has too many files open', hint: FILES, retry: true },
}

/** What a gateway says about the host behind it, in the words of the system. */
const BEHIND: readonly (readonly [RegExp, keyof typeof SYSTEM])[] = [
  [/refused/i, 'ECONNREFUSED'],
  [/timed out/i, 'ETIMEDOUT'],
  [/not known|resolve|no address/i, 'ENOTFOUND'],
  [/unreachable|no route/i, 'EHOSTUNREACH'],
]

export interface Broken {
  readonly stage: Stage
  /** Thrown or reported; absent for a mere end of the connection. */
  readonly cause?: unknown
  /** Beginning of what came before the banner. */
  readonly received: Buffer
}

/** Names what broke a connection before it was one. */
export function explainBroken(target: SshTarget, { stage, cause, received }: Broken): ProcessError {
  if (isCampaignError(cause)) return explainForward(target, cause)
  const system = SYSTEM[systemCodeOf(cause) ?? '']
  const dialling = stage === 'dial' || stage === 'lookup'
  if (system !== undefined && dialling) {
    const { code, text, hint, retry = false } = system
    return makeError(target, code, text, { cause, suggestions: [hint], ...(retry ? { data: { retry } } : {}) })
  }
  if (dialling && systemCodeOf(cause) !== 'ECONNRESET')
    return makeError(target, 'E_HOST_UNREACHABLE', `cannot be reached: ${messageOf(cause)}`, { cause })
  const reason = (cause as { code?: unknown } | undefined)?.code
  const text = cause === undefined ? '' : messageOf(cause)
  const cut = cause === undefined || /^(Connection lost before handshake|read ECONN|write E|socket hang up)/.test(text)
  if (cut && stage === 'banner' && received.length > 0 && !looksLikeRefusal(received)) return explainNoSsh(target, received, cause)
  // 12: too many connections (RFC 4253, 11.1)
  if (cut || reason === 12 || systemCodeOf(cause) === 'ECONNRESET') {
    const when = {
      lookup: 'before it said anything',
      dial: 'before it said anything',
      banner: 'before it said anything',
      handshake: 'during the key exchange',
      login: 'during the login',
    }[stage]
    const said = looksLikeRefusal(received) ? `, saying ${quote(received)}` : ''
    return makeError(target, 'E_HOST_DROPPED', `closed the connection ${when}${said}`, {
      data: { retry: true },
      suggestions: ['Look at MaxStartups and the log of sshd there: it drops logins when many come at once, or bars this machine'],
      cause,
    })
  }
  if (stage === 'banner') return explainNoSsh(target, received, cause)
  if (stage === 'login') {
    const tooMany = /too many authentication/i.test(text)
    return makeError(target, 'E_LOGIN_REFUSED', `ended the login: ${text}`, {
      suggestions: [
        tooMany
          ? 'Name the right key with keyFiles (or IdentityFile with IdentitiesOnly yes), so that no other is offered'
          : 'Look at the log of sshd there',
      ],
      cause,
    })
  }
  const shared = /no matching (.*)$/i.exec(text)?.[1]
  return shared === undefined
    ? makeError(target, 'E_HOST_PROTOCOL', `broke the rules of ssh during the key exchange: ${text}`, { cause })
    : makeError(target, 'E_HOST_PROTOCOL', `shares no ${shared} with us`, {
        suggestions: ["Use the connector openssh, whose configuration can allow old algorithms, or update the host's ssh server"],
        cause,
      })
}

/** Lines that sshd sends instead of a banner when it wants nobody now. @source OpenSSH 9.2-9.9, sshd.c, drop_connection */
function looksLikeRefusal(received: Buffer): boolean {
  return /^(Exceeded MaxStartups|Not allowed at this time)/.test(received.toString('latin1'))
}

function explainNoSsh(target: SshTarget, received: Buffer, cause: unknown): ProcessError {
  return makeError(target, 'E_HOST_PROTOCOL', `does not speak ssh: it said ${quote(received)}`, {
    suggestions: ['Look which program listens at this port, or name the port of ssh'],
    cause,
  })
}

function quote(received: Buffer): string {
  return received.length === 0
    ? 'nothing'
    : JSON.stringify(
        received
          .toString('latin1', 0, 60)
          .trim()
          .replace(/[^\x20-\x7e]+/g, '.'),
      )
}

/** What helps when a host does not lead on. @param to - `host:port` as seen from there */
export function hintsForForward(reason: string, to: string): readonly string[] {
  if (/prohibited/i.test(reason)) return ['Allow it in the sshd_config there: AllowTcpForwarding, PermitOpen']
  if (/refused/i.test(reason)) return [`Look whether a program listens at ${to}, as seen from there`]
  return [`Look whether ${to} can be reached from there`]
}

function explainForward(target: SshTarget, cause: ProcessError): ProcessError {
  if (cause.code !== 'E_FORWARD') return cause
  const reason = String(cause.data['reason'] ?? cause.message)
  const gateway = String(cause.data['host'] ?? 'the host on the way')
  const { code, text, hint } = SYSTEM[BEHIND.find(([pattern]) => pattern.test(reason))?.[1] ?? ''] ?? {
    code: 'E_HOST_UNREACHABLE' as const,
    text: `cannot be reached: ${reason}`,
    hint: `Look whether ${gateway} may forward connections (AllowTcpForwarding of its sshd)`,
  }
  return makeError(target, code, `${text} (as seen from ${gateway})`, { suggestions: [hint], cause })
}

/** No answer within the limit. */
export function explainTimeout(target: SshTarget, stage: Stage, received: Buffer = Buffer.alloc(0)): ProcessError {
  if (stage === 'banner' && received.length > 0) return explainNoSsh(target, received, undefined)
  const seconds = `${target.connectTimeoutMs / 1000} s`
  if (stage === 'lookup') {
    return makeError(target, 'E_HOST_NAME', `could not be looked up within ${seconds}: the name servers do not answer`, {
      data: { timeoutMs: target.connectTimeoutMs },
      suggestions: [SYSTEM['EAI_AGAIN']!.hint],
    })
  }
  const text = {
    dial: `did not answer within ${seconds}`,
    banner: `accepted the connection and said nothing within ${seconds}`,
    handshake: `did not finish the key exchange within ${seconds}`,
    login: `did not finish the login within ${seconds}`,
  }[stage]
  return makeError(target, 'E_HOST_TIMEOUT', text, {
    data: { timeoutMs: target.connectTimeoutMs },
    suggestions: ['Look whether the host is up, or give it more time with connectTimeout (--connect-timeout)'],
  })
}

/** What is wrong with the key that the host shows. */
export function explainHostKey(target: SshTarget, key: Buffer, keys: HostKeys, verdict: HostKeyVerdict): ProcessError {
  const shown = `${keyTypeOf(key) ?? 'a'} key ${fingerprintOf(key)}`
  const label = target.hostKeyAlias ?? (target.port === 22 ? target.address : `[${target.address}]:${target.port}`)
  if (verdict.state === 'changed' || verdict.state === 'revoked') {
    const { known } = verdict
    const data = { shown: fingerprintOf(key), known: fingerprintOf(known.key), file: known.file, line: known.line }
    const place = `${known.file} line ${known.line}`
    return verdict.state === 'revoked'
      ? makeError(target, 'E_HOST_KEY_REVOKED', `shows the ${shown}, which ${place} revokes`, {
          data,
          suggestions: ['Do not trust what answers there: ask who runs the host for its new key'],
        })
      : makeError(
          target,
          'E_HOST_KEY_CHANGED',
          `shows the ${shown}, but the one known for it is the ${known.type} key ${fingerprintOf(known.key)} in ${place}`,
          {
            data,
            suggestions: [
              `Ask who runs the host whether its key was changed: it may be another machine that answers`,
              `If it was, forget the old key with: ssh-keygen -f '${known.file}' -R '${label}'`,
            ],
          },
        )
  }
  const file = target.knownHostsFiles[0] ?? '~/.ssh/known_hosts'
  const authority = keys.authorities[0]
  const why =
    authority === undefined
      ? `and no key is known for it in ${target.knownHostsFiles.join(' or ') || 'any file'}`
      : `and ${authority.file} line ${authority.line} wants a key signed by an authority, which only the connector openssh can check`
  const unread = keys.unreadable.length === 0 ? '' : ` (not readable: ${keys.unreadable.join('; ')})`
  const scan = `ssh-keyscan${target.port === 22 ? '' : ` -p ${target.port}`} ${target.address} >> '${file}'`
  return makeError(target, 'E_HOST_KEY_UNKNOWN', `shows the ${shown}, ${why}${unread}`, {
    data: { shown: fingerprintOf(key) },
    suggestions:
      authority === undefined
        ? [
            `Compare this fingerprint with the host's own and take the key down with: ${scan}`,
            'Or take down keys at first contact: --accept-new',
          ]
        : ['Use the connector openssh'],
  })
}

/** What was tried to get in. */
export interface LoginAttempt {
  /** Keys that the server refused, as words. */
  readonly tried: readonly string[]
  readonly passedOver: readonly string[]
  /** What the server would accept. */
  readonly accepts: readonly string[]
  /** Set when a person is needed who is not there: for what. */
  readonly needed: string | undefined
  /** What a person typed was wrong. */
  readonly wrong: boolean
}

export function explainLogin(target: SshTarget, attempt: LoginAttempt): ProcessError {
  const { tried, passedOver, accepts, needed } = attempt
  const keys =
    tried.length === 0 ? 'we have no key to show' : `it refused ${tried.length === 1 ? 'the key' : 'the keys'} ${tried.join(', ')}`
  const over = passedOver.length === 0 ? '' : `; passed over: ${passedOver.join(', ')}`
  const data = { user: target.user, tried: [...tried], passedOver: [...passedOver], accepts: [...accepts] }
  const suggestions = [
    ...(passedOver.some((text) => text.includes('permissions')) ? ['Make private keys readable for you alone: chmod 600'] : []),
    ...(passedOver.some((text) => text.includes('openssh')) ? ['Use the connector openssh'] : []),
  ]
  if (needed !== undefined) {
    const refused = tried.length === 0 ? '' : ` (${keys})`
    return makeError(target, 'E_LOGIN_NEEDED', `wants ${needed} of ${target.user}, and nobody can be asked${refused}${over}`, {
      data,
      suggestions: [
        ...suggestions,
        'Start it in a terminal, where it can ask',
        `Or give your key to the host (ssh-copy-id) and hold it in an agent (ssh-add)`,
      ],
    })
  }
  const wrong = attempt.wrong ? 'the answer was wrong' : keys
  return makeError(
    target,
    'E_LOGIN_REFUSED',
    `does not let ${target.user} in: ${wrong}${over}; it accepts ${waysIn(accepts, tried.length > 0)}`,
    {
      data,
      suggestions: [
        ...suggestions,
        `Add your public key to ~${target.user}/.ssh/authorized_keys there, or name the right key (keyFiles, -i) or user (-l)`,
      ],
    },
  )
}

/** In words, so that a key that was refused does not stand beside "publickey". @param refused - it refused keys that we showed */
function waysIn(accepts: readonly string[], refused: boolean): string {
  const others = accepts.filter((method) => method !== 'publickey')
  if (!accepts.includes('publickey')) return others.join(', ') || 'nothing else'
  if (others.length === 0) return refused ? 'keys only, and none of ours' : 'keys only'
  return `${refused ? 'keys, but none of ours' : 'keys'}; or ${others.join(', ')}`
}

/** Who logs in by program cannot choose a new password. */
export function explainExpired(target: SshTarget): ProcessError {
  return makeError(target, 'E_LOGIN_REFUSED', `wants a new password of ${target.user}: the old one has expired`, {
    data: { user: target.user },
    suggestions: [`Log in once by hand and choose a new password: ssh -p ${target.port} ${target.user}@${target.address}`],
  })
}

export function explainLost(target: SshTarget, why: string, cause?: unknown): ProcessError {
  return makeError(target, 'E_CONNECTION_LOST', `is cut off: ${why}`, { cause })
}
