import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ErrorCode } from '../error-codes.js'
import { type ErrorDetails, ProcessError } from '../errors.js'
import { isAboutKey } from './askpass.js'
import { explainBroken, explainLogin, explainLost, explainTimeout, placeOf, type Stage } from './connect-errors.js'
import type { SshTarget } from './connection.js'

/** What is known about a login that failed, besides what ssh wrote. */
export interface FailedLogin {
  /** Questions that nobody answered. */
  readonly unanswered: readonly string[]
  /** Questions that came again after an answer. */
  readonly wrong: boolean
  /** What the host on the way wrote about the connection to this one. */
  readonly way?: { readonly host: string; readonly reason: string } | undefined
}

const none: FailedLogin = { unanswered: [], wrong: false }

/**
 * Says what a client that gave up has told in its log.
 *
 * @param log - what ssh wrote with `LogLevel=DEBUG1`, and on its stderr
 * @source OpenSSH 9.2p1; transcripts/openssh-9.2/
 */
export function explainFailure(target: SshTarget, log: string, failed: FailedLogin = none): ProcessError {
  if (failed.way !== undefined) {
    const data = { reason: failed.way.reason, host: failed.way.host }
    return explainBroken(target, { ...dial, cause: new ProcessError('E_FORWARD', failed.way.reason, { data }) })
  }
  if (failed.unanswered.some((question) => !isAboutKey(question))) {
    const continues = [...log.matchAll(/^debug1: Authentications that can continue: (.*)$/gm)].at(-1)
    return explainDenied(target, continues?.[1] ?? '', log, failed)
  }
  for (const [pattern, explain] of RULES) {
    const found = pattern.exec(log)
    if (found !== null) return explain(target, found, log, failed)
  }
  const last = linesOf(log).at(-1)
  return makeError(
    target,
    'E_HOST_PROTOCOL',
    last === undefined ? 'could not be reached: ssh ended without a word' : `could not be reached: ${last}`,
    {
      data: { log: tailOf(log) },
    },
  )
}

type Explain = (target: SshTarget, found: RegExpExecArray, log: string, failed: FailedLogin) => ProcessError

const dial = { stage: 'dial' as Stage, received: Buffer.alloc(0) }
const system =
  (code: string): Explain =>
  (target, found) =>
    explainBroken(target, { ...dial, cause: Object.assign(new Error(found[0]), { code }) })

/** The first that fits counts, so what is more telling comes first. */
const RULES: readonly (readonly [RegExp, Explain])[] = [
  [
    /REVOKED HOST KEY DETECTED|was revoked and you have requested|marked as revoked/,
    (target, _, log) => explainKey(target, 'E_HOST_KEY_REVOKED', log),
  ],
  [
    /REMOTE HOST IDENTIFICATION HAS CHANGED|^Host key for .* has changed/m,
    (target, _, log) => explainKey(target, 'E_HOST_KEY_CHANGED', log),
  ],
  [/^No \S+ host key is known for|^Host key verification failed/m, (target, _, log) => explainKey(target, 'E_HOST_KEY_UNKNOWN', log)],
  [/Could not resolve hostname .*: (?:Temporary failure|Try again).*/i, system('EAI_AGAIN')],
  [/Could not resolve hostname .*/, system('ENOTFOUND')],
  [/^ssh: connect to .*: Connection refused/m, system('ECONNREFUSED')],
  [/^ssh: connect to .*: (?:Connection|Operation) timed out/m, (target) => explainTimeout(target, 'dial', Buffer.alloc(0))],
  [/^ssh: connect to .*: Connection reset by peer/m, explainDropped],
  [/^ssh: connect to .*: Cannot assign requested address/m, system('EADDRNOTAVAIL')],
  [/^ssh: connect to .*: No route to host/m, system('EHOSTUNREACH')],
  [/^ssh: connect to .*: Network is unreachable/m, system('ENETUNREACH')],
  [/^ssh: connect to .*: Invalid argument/m, system('EINVAL')],
  [/^ssh: connect to .*: (?:Permission denied|Operation not permitted)/m, system('EPERM')],
  [/^ssh: connect to .*: (.*)/m, (target, found) => makeError(target, 'E_HOST_UNREACHABLE', `cannot be reached: ${found[1]}`)],
  [/timed out during banner exchange/, (target, _, log) => explainSilence(target, log)],
  [/^Unable to negotiate with .*: no matching (.*) found/m, explainNegotiation],
  [
    /^debug1: kex_exchange_identification: banner line 0: (?!Exceeded MaxStartups|Not allowed at this time)(.*)$(?![\s\S]*Remote protocol version)/m,
    explainNoSsh,
  ],
  [
    /banner line contains invalid characters|No SSH identification string|Protocol major versions differ|Bad remote protocol version|Remote software version .* not supported|banner exchange: .*invalid format/i,
    explainNoSsh,
  ],
  [
    /Too many authentication failures/,
    (target, _, log) =>
      makeError(
        target,
        'E_LOGIN_REFUSED',
        `does not let ${target.user} in: too many keys were tried (${offeredKeys(log).join(', ') || 'none known'})`,
        {
          suggestions: ['Name the right key with keyFiles (or IdentityFile with IdentitiesOnly yes), so that no other is offered'],
          data: { user: target.user, tried: offeredKeys(log) },
        },
      ),
  ],
  [/Permission denied \(([^)]*)\)/, (target, found, log, failed) => explainDenied(target, found[1]!, log, failed)],
  [
    /^.*(?:Bad configuration option|Bad owner or permissions on|Can't open user config file|bad configuration options|jumphost loop via|too long for Unix domain socket|missing argument|unsupported option).*$/im,
    (target, found) =>
      makeError(target, 'E_SSH_CONFIG', `cannot be reached: the ssh configuration is refused: ${found[0].trim()}`, {
        suggestions: [`See what "ssh -v ${target.openssh.destination}" says`],
      }),
  ],
  [
    /kex_exchange_identification: .*|banner exchange: .*|ssh_exchange_identification: .*|^Connection (?:closed|reset) by .*|Received disconnect from .*|ssh_dispatch_run_fatal: .*|^Disconnected from .*|client_loop: .*|Broken pipe/m,
    explainDropped,
  ],
]

function makeError(target: SshTarget, code: ErrorCode, message: string, details: ErrorDetails = {}): ProcessError {
  const data = { host: target.name, address: target.address, port: target.port, ...details.data }
  return new ProcessError(code, `${placeOf(target)} ${message}`, { ...details, data })
}

function explainKey(
  target: SshTarget,
  code: 'E_HOST_KEY_UNKNOWN' | 'E_HOST_KEY_CHANGED' | 'E_HOST_KEY_REVOKED',
  log: string,
): ProcessError {
  const shownKey = /Server host (?:key|certificate): (\S+) (SHA256:\S+)/.exec(log)
  const shown = (shownKey?.[2] ?? /^(SHA256:[A-Za-z0-9+/]+)\.?$/m.exec(log)?.[1])?.replace(/,$/, '')
  const type = shownKey?.[1] ?? /fingerprint for the (\S+) key sent/.exec(log)?.[1] ?? 'host'
  const key = `${type} key ${shown ?? 'of unknown fingerprint'}`
  const label = target.hostKeyAlias ?? (target.port === 22 ? target.address : `[${target.address}]:${target.port}`)
  const place = /Offending (?:\S+ )?key (?:for IP )?in (.+):(\d+)/.exec(log)
  const file = place?.[1]
  const line = place === null ? undefined : Number(place[2])
  const known = file === undefined || line === undefined ? undefined : fingerprintAt(file, line)
  const data = { shown, known: known?.fingerprint, file, line }
  if (code === 'E_HOST_KEY_REVOKED') {
    return makeError(target, code, `shows the ${key}, which the known hosts revoke`, {
      data,
      suggestions: ['Do not trust what answers there: ask who runs the host for its new key'],
    })
  }
  if (code === 'E_HOST_KEY_CHANGED') {
    const other =
      known === undefined
        ? 'another one is known for it'
        : `the one known for it is the ${known.type} key ${known.fingerprint} in ${file} line ${line}`
    return makeError(target, code, `shows the ${key}, but ${other}`, {
      data,
      suggestions: [
        'Ask who runs the host whether its key was changed: it may be another machine that answers',
        `If it was, forget the old key with: ssh-keygen -f '${file ?? target.knownHostsFiles[0] ?? '~/.ssh/known_hosts'}' -R '${label}'`,
      ],
    })
  }
  const certificate = /^(?:debug1: )?Certificate invalid: (.*)|^(?:debug1: )?(?:No matching CA found.*)/m.exec(log)
  const why = certificate === null ? '' : ` (its certificate does not count: ${certificate[1] ?? 'no known authority signed it'})`
  const where = target.knownHostsFiles.join(' or ') || 'any file'
  const scan = `ssh-keyscan${target.port === 22 ? '' : ` -p ${target.port}`} ${target.address} >> '${target.knownHostsFiles[0] ?? '~/.ssh/known_hosts'}'`
  return makeError(target, code, `shows the ${key}, and no key is known for it in ${where}${why}`, {
    data: { shown },
    suggestions: [
      `Compare this fingerprint with the host's own and take the key down with: ${scan}`,
      'Or take down keys at first contact: --accept-new',
    ],
  })
}

function fingerprintAt(file: string, line: number): { type: string; fingerprint: string } | undefined {
  try {
    const found = /(\S+) (AAAA[A-Za-z0-9+/=]+)/.exec(readFileSync(file, 'utf8').split('\n')[line - 1] ?? '')
    if (found === null) return undefined
    const digest = createHash('sha256').update(Buffer.from(found[2]!, 'base64')).digest('base64').replace(/=+$/, '')
    return { type: found[1]!, fingerprint: `SHA256:${digest}` }
  } catch {
    return undefined
  }
}

function explainNoSsh(target: SshTarget, found: RegExpExecArray): ProcessError {
  const said = found[1] === undefined ? found[0] : `it said ${JSON.stringify(found[1].slice(0, 60).trim())}`
  return makeError(target, 'E_HOST_PROTOCOL', `does not speak ssh: ${said}`, {
    suggestions: ['Look which program listens at this port, or name the port of ssh'],
  })
}

function explainNegotiation(target: SshTarget, found: RegExpExecArray): ProcessError {
  return makeError(target, 'E_HOST_PROTOCOL', `shares no ${found[1]} with us`, {
    suggestions: ["Allow an old algorithm for it in the ssh configuration, or update the host's ssh server"],
  })
}

/** Paths of the keys that were shown to the server, in order. */
function offeredKeys(log: string): string[] {
  return [...log.matchAll(/^debug1: Offering public key: (.*?) [A-Z0-9-]+ SHA256:/gm)].map((found) => found[1]!)
}

function explainDenied(target: SshTarget, methods: string, log: string, failed: FailedLogin): ProcessError {
  const accepts = methods.split(',').filter((method) => method !== '')
  const passedOver = [
    ...[...log.matchAll(/^Load key "(.*)": (.*)$/gm)].map((line) => `${line[1]} (${line[2]!.trim()})`),
    ...[...log.matchAll(/^sign_and_send_pubkey: signing failed for \S+ "(.*?)".*: (.*)$/gm)].map(
      (line) => `${line[1]} (${line[2]!.trim()})`,
    ),
  ]
  const noted = passedOver.join('\n')
  const locked = [...log.matchAll(/^debug1: Server accepts key: (.*?) [A-Z0-9-]+ SHA256:/gm)]
    .map((line) => line[1]!)
    .find((key) => !noted.includes(key))
  const asked = failed.unanswered.find((question) => !isAboutKey(question)) ?? failed.unanswered[0]
  const needsPerson = !accepts.includes('publickey') && accepts.some((method) => method === 'password' || method === 'keyboard-interactive')
  const needed =
    asked !== undefined
      ? wordsFor(asked)
      : failed.wrong
        ? undefined
        : locked !== undefined
          ? `the passphrase of ${locked}`
          : needsPerson
            ? 'a password or a code'
            : undefined
  const error = explainLogin(target, {
    tried: offeredKeys(log).filter((key) => !noted.includes(key) && key !== locked),
    passedOver,
    accepts,
    needed,
    wrong: failed.wrong,
  })
  if (!/device not found|FIDO|-SK"? /i.test(noted + log.slice(-2000))) return error
  return new ProcessError(error.code, error.message, {
    suggestions: ['Plug in the security key that holds this key, and touch it when it blinks', ...error.suggestions],
    data: error.data,
  })
}

/** What a question of ssh asks for, in our words. */
function wordsFor(question: string): string {
  const file = /passphrase for (?:key )?'?(.*?)'?:? *$/i.exec(question)?.[1]
  if (file !== undefined) return `the passphrase of ${file}`
  if (/PIN/.test(question)) return 'the PIN of a security key'
  return /password/i.test(question) ? 'the password' : 'a code'
}

function explainDropped(target: SshTarget, found: RegExpExecArray, log: string): ProcessError {
  const stage: Stage = /^debug1: SSH2_MSG_SERVICE_ACCEPT/m.test(log)
    ? 'login'
    : /^debug1: Remote protocol version/m.test(log)
      ? 'handshake'
      : 'banner'
  // Over a gateway the command is ours, and says nothing to the user.
  const proxy =
    stage === 'banner' && target.jumps.length === 0 ? /^debug1: Executing proxy command: (?:exec )?(.*)$/m.exec(log)?.[1] : undefined
  if (proxy !== undefined) {
    return makeError(target, 'E_HOST_DROPPED', `cannot be reached: its ProxyCommand ended before anything came through: ${proxy}`, {
      suggestions: [`See what "ssh ${target.openssh.destination}" says`],
      data: { retry: true, proxyCommand: proxy },
    })
  }
  const received = Buffer.from(/Exceeded MaxStartups|Not allowed at this time/.exec(log)?.[0] ?? '')
  return explainBroken(target, { stage, cause: Object.assign(new Error(found[0].trim()), { code: 'ECONNRESET' }), received })
}

/** A login that took too long, with what came instead of a banner. */
export function explainSilence(target: SshTarget, log: string): ProcessError {
  const said = /^debug1: kex_exchange_identification: banner line 0: (.*)$/m.exec(log)?.[1] ?? ''
  return explainTimeout(target, stageOf(log), Buffer.from(said))
}

/** How far a login had come when our patience ended. */
export function stageOf(log: string): Stage {
  if (/^debug1: SSH2_MSG_SERVICE_ACCEPT/m.test(log)) return 'login'
  if (/^debug1: Remote protocol version/m.test(log)) return 'handshake'
  return /^debug1: Connection established/m.test(log) ? 'banner' : 'dial'
}

/** With what it is trying to log in. */
export function methodOf(log: string): string | undefined {
  return [...log.matchAll(/^debug1: Next authentication method: (\S+)/gm)].at(-1)?.[1]
}

/** Why a connection that was open is no more. */
export function explainEnd(target: SshTarget, log: string): ProcessError {
  const silent = /^Timeout, server .* not responding/m.exec(log)
  const line = linesOf(log)
    .filter((text) => /closed by|Connection reset|Broken pipe|disconnect|killed by signal/i.test(text))
    .at(-1)
  // A client that ends in order counts its bytes; a server that went away is not worth a word to it.
  const ended = /^Transferred: sent/m.test(log) ? 'the other side closed the connection' : 'the ssh that held the connection ended'
  const why = silent === null ? (line ?? ended) : 'it gives no sign of life any more'
  return explainLost(target, why)
}

/**
 * Why a host on the way could not connect further, from the log of its master.
 *
 * @returns the server's words, or undefined when it says nothing of this place
 */
export function reasonOfForward(log: string, host: string, port: number): string | undefined {
  const reasons = new Map<string, string>()
  let reason: string | undefined
  for (const line of log.split('\n')) {
    const opened = /channel (\d+): open failed: (.*)/.exec(line)
    if (opened !== null) reasons.set(opened[1]!, opened[2]!.replace(/^connect failed: /, ''))
    const freed = /channel (\d+): free: direct-tcpip: listening port \d+ for (.*) port (\d+), connect/.exec(line)
    if (freed !== null && freed[2] === host && Number(freed[3]) === port) reason = reasons.get(freed[1]!) ?? reason
  }
  return reason
}

/** True when a client could not get a session of the master, and why. */
export function muxRefusal(log: string): 'sessions' | 'gone' | 'forward' | undefined {
  if (/session request failed: Session open refused|mux_client_request_session: .*refused|too many sessions/i.test(log)) return 'sessions'
  if (/Stdio forwarding request failed/i.test(log)) return 'forward'
  if (
    /Control socket .*does not exist|Control socket connect\(.*\): Connection refused|mux_client_.*: (?:read|write)|Executing proxy command: (?:exec )?false/.test(
      log,
    )
  )
    return 'gone'
  return undefined
}

/** The lines that are meant for people. */
function linesOf(log: string): string[] {
  return log
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !/^debug\d: /.test(line))
}

function tailOf(log: string): string {
  return log.slice(-2000)
}
