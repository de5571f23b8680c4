import { execFile } from 'node:child_process'
import { isIP } from 'node:net'
import { ProcessError } from '../errors.js'
import { isAborted } from '../util/async.js'
import { type ConfigText, type Matching, matchBlocks, readConfigText } from './ssh-config-file.js'
import { expandTilde, expandTokens, type TokenValues, whoAmI } from './ssh-tokens.js'

/** What the ssh configuration says of one host: keywords in lower case, as `ssh -G` prints them. */
export type HostConfig = ReadonlyMap<string, readonly string[]>

export interface SshConfigOptions {
  /** As after `-F`; false for no file at all; undefined for the usual ones. */
  readonly file?: string | false | undefined
  /** Default `ssh`. */
  readonly program?: string
}

/** Answers are trusted so long without a look at the files. */
const FRESH_MS = 2000
/** How many ssh are asked at a time. */
const ASKED_AT_ONCE = 4
/** A `Match exec` may take its time. */
const ANSWER_TIMEOUT_MS = 20_000
/** Values that `ssh -G` prints with their tokens replaced. The others are printed as they were written. */
const EXPANDED = new Set(['hostname', 'controlpath', 'identityagent', 'userknownhostsfile', 'remotecommand'])

/**
 * What ssh itself says of hosts (`ssh -G`), asked once for all hosts that the same blocks of the configuration concern: two
 * hundred hosts of one pattern are one question.
 *
 * The files are read only to see which blocks concern a host. The answer for one host is used for another with the name put
 * in its place, and only where that is shown to be right for the host that was asked; otherwise, and for every `Match` on
 * more than names, ssh is asked for each host.
 *
 * @source ssh(1) -G, OpenSSH 9.2p1; transcripts/openssh-9.2/
 */
export class SshConfig {
  readonly #options: SshConfigOptions
  #text: Promise<ConfigText> | undefined
  #readAt = 0
  #fingerprint = ''
  #answers = new Map<string, Promise<Answer>>()
  #alone = new Map<string, Promise<Answer>>()
  #running = 0
  readonly #waiting: (() => void)[] = []
  /** How often ssh was asked. */
  asked = 0

  constructor(options: SshConfigOptions = {}) {
    this.#options = options
  }

  /**
   * @param given - user and port that are said elsewhere and go before the configuration
   * @throws ProcessError `E_SSH_CONFIG` when ssh does not accept the configuration
   */
  async ask(
    host: string,
    given: { readonly user?: string | undefined; readonly port?: number | undefined } = {},
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<HostConfig> {
    if (isAborted(options.signal)) throw new ProcessError('E_ABORTED', `The ssh configuration of ${host} was not asked: given up`)
    const text = await this.#read()
    const matching = isPlainName(host) ? matchBlocks(text, host) : undefined
    if (matching === undefined) return this.#askAlone(host, given)
    const asked = remember(this.#answers, matching.signature, () => this.#run(host, []))
    const answer = await asked.catch((error: unknown) => {
      if (isProgramMissing(error)) return undefined
      // Perhaps only that host has no answer (it is its own jump host).
      return this.#askAlone(host, given).then((config) => ({ host, config }))
    })
    if (answer === undefined) return defaultConfig(host, given)
    if (answer.host === host && given.user === undefined && given.port === undefined) return answer.config
    return putName(answer, host, given, matching) ?? this.#askAlone(host, given)
  }

  async #askAlone(host: string, given: { readonly user?: string | undefined; readonly port?: number | undefined }): Promise<HostConfig> {
    const words = [...(given.user === undefined ? [] : ['-l', given.user]), ...(given.port === undefined ? [] : ['-p', String(given.port)])]
    try {
      const answer = await remember(this.#alone, JSON.stringify([host, ...words]), () => this.#run(host, words))
      return answer.config
    } catch (error) {
      if (isProgramMissing(error)) return defaultConfig(host, given)
      throw error
    }
  }

  /** The files, read again when the last look was a while ago. Answers are kept while nothing in them changed. */
  async #read(): Promise<ConfigText> {
    const now = performance.now()
    if (this.#text === undefined || now - this.#readAt > FRESH_MS) {
      this.#readAt = now
      const { file } = this.#options
      this.#text = (file === false ? Promise.resolve({ files: [], followed: true, fingerprint: 'none' }) : readConfigText(file)).then(
        (text) => {
          if (text.fingerprint !== this.#fingerprint) this.#answers = new Map()
          this.#fingerprint = text.fingerprint
          // What depends on more than the files (Match exec) is asked anew.
          this.#alone = new Map()
          return text
        },
      )
    }
    return this.#text
  }

  async #run(host: string, words: readonly string[]): Promise<Answer> {
    while (this.#running >= ASKED_AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running++
    this.asked++
    const { file, program = 'ssh' } = this.#options
    const from = file === undefined ? [] : ['-F', file === false ? 'none' : file]
    try {
      const text = await new Promise<string>((resolve, reject) => {
        const child = execFile(
          program,
          ['-G', ...from, ...words, '--', host],
          { env: { ...process.env, LC_ALL: 'C' }, timeout: ANSWER_TIMEOUT_MS, maxBuffer: 1 << 20 },
          (error, stdout, stderr) => (error === null ? resolve(stdout) : reject(unreadable(host, error, stderr))),
        )
        child.stdin?.end()
      })
      return { host, config: parseAnswer(text) }
    } finally {
      this.#running--
      this.#waiting.shift()?.()
    }
  }
}

interface Answer {
  /** For whom ssh was asked. */
  readonly host: string
  readonly config: HostConfig
}

const shared = new Map<string | false | undefined, SshConfig>()

/** The one reader of this process for a configuration file. */
export function sshConfigOf(file: string | false | undefined): SshConfig {
  const known = shared.get(file)
  if (known !== undefined) return known
  const made = new SshConfig({ file })
  shared.set(file, made)
  return made
}

/**
 * Reads what `ssh -G` printed: a keyword and its value on each line, keywords that may be given several times on several lines.
 *
 * @throws ProcessError `E_SSH_CONFIG` when there is no host name in it
 */
export function parseAnswer(text: string): HostConfig {
  const config = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ')
    const key = (space < 0 ? line : line.slice(0, space)).toLowerCase()
    if (key === '') continue
    const values = config.get(key) ?? []
    values.push(space < 0 ? '' : line.slice(space + 1))
    config.set(key, values)
  }
  if (!config.has('hostname') || !config.has('port')) {
    throw new ProcessError('E_SSH_CONFIG', `ssh -G answered something that is no configuration: ${JSON.stringify(text.slice(0, 200))}`)
  }
  return config
}

/** What ssh does where there is no ssh to ask. @source ssh_config(5), OpenSSH 9.2 */
export function defaultConfig(
  host: string,
  given: { readonly user?: string | undefined; readonly port?: number | undefined } = {},
): HostConfig {
  return new Map([
    ['host', [host]],
    ['hostname', [host.toLowerCase()]],
    ['user', [given.user ?? whoAmI().username]],
    ['port', [String(given.port ?? 22)]],
    ['identityfile', ['id_rsa', 'id_ecdsa', 'id_ecdsa_sk', 'id_ed25519', 'id_ed25519_sk'].map((name) => `~/.ssh/${name}`)],
    ['userknownhostsfile', [['known_hosts', 'known_hosts2'].map((name) => expandTilde(`~/.ssh/${name}`)).join(' ')]],
    ['globalknownhostsfile', ['/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2']],
    ['stricthostkeychecking', ['ask']],
    ['identitiesonly', ['no']],
  ])
}

/**
 * The answer for one host as it is for another that the same blocks concern.
 *
 * @returns undefined when it cannot be had from this answer
 */
function putName(
  answer: Answer,
  host: string,
  given: { readonly user?: string | undefined; readonly port?: number | undefined },
  matching: Matching,
): HostConfig | undefined {
  const { config } = answer
  const config2 = new Map(config)
  const template = matching.templates.get('hostname') ?? '%h'
  const addressOf = (name: string): string => template.replace(/%[h%]/g, (token) => (token === '%h' ? name : '%')).toLowerCase()
  if (/%[^h%]|%$/.test(template) || addressOf(answer.host) !== config.get('hostname')?.[0]) return undefined
  config2.set('hostname', [addressOf(host)])
  if (config.has('host')) config2.set('host', [host])
  if (given.user !== undefined) config2.set('user', [given.user])
  if (given.port !== undefined) config2.set('port', [String(given.port)])

  const before = tokenValues(answer.host, config)
  const after = tokenValues(host, config2)
  for (const [keyword, text] of matching.templates) {
    const values = config.get(keyword)
    if (keyword === 'hostname' || values === undefined) continue
    if (!EXPANDED.has(keyword)) {
      // As it was written, so the same for every host. A newer ssh may do otherwise.
      if (values.some((value) => value.includes('%'))) continue
      return undefined
    }
    const mine = expandAll(text, before)
    const other = expandAll(text, after)
    if (mine === undefined || other === undefined || values.length !== 1 || mine !== values[0]) return undefined
    config2.set(keyword, [other])
  }
  return config2
}

/** The values that tokens stand for, of a host whose configuration is known. */
export function tokenValues(name: string, config: HostConfig): TokenValues {
  return {
    name,
    address: config.get('hostname')?.[0] ?? name,
    port: config.get('port')?.[0] ?? '22',
    user: config.get('user')?.[0] ?? whoAmI().username,
    hostKeyAlias: config.get('hostkeyalias')?.[0],
    jump: undefined,
  }
}

function expandAll(text: string, values: TokenValues): string | undefined {
  return expandTokens(text.split(' ').map(expandTilde).join(' '), values)
}

/** ssh rewrites addresses of IPv6 and shortened ones of IPv4. */
function isPlainName(host: string): boolean {
  return !/[:%]/.test(host) && (isIP(host) === 4 || !/^[0-9a-fx.]+$/i.test(host) || /[g-wyz]/i.test(host))
}

/** Keeps answers and forgets failures. */
function remember<K, V>(map: Map<K, Promise<V>>, key: K, make: () => Promise<V>): Promise<V> {
  const known = map.get(key)
  if (known !== undefined) return known
  const made = make()
  map.set(key, made)
  made.catch(() => {
    if (map.get(key) === made) map.delete(key)
  })
  return made
}

function isProgramMissing(error: unknown): boolean {
  return (error as { data?: { code?: unknown } }).data?.code === 'ENOENT'
}

function unreadable(host: string, error: Error & { code?: unknown; killed?: boolean }, stderr: string): ProcessError {
  const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('Pseudo-terminal'))
  const said = error.killed === true ? `no answer within ${ANSWER_TIMEOUT_MS / 1000} s` : (lines[0] ?? error.message)
  return new ProcessError('E_SSH_CONFIG', `The ssh configuration of ${host} cannot be read: ${said}`, {
    suggestions: [`See what "ssh -G ${host}" says`],
    data: { host, code: error.code, stderr: stderr.slice(0, 2000) },
    cause: error,
  })
}
