import { ConfigError, ProcessError } from '../errors.js'
import type { Connection } from '../model/connection.js'
import { type HostSpec, parseHost } from '../model/host.js'
import type { SshTarget } from './connection.js'
import { KnownHosts } from './known-hosts.js'
import { type HostConfig, sshConfigOf, tokenValues } from './ssh-config.js'
import { findNeed, type Need } from './ssh-needs.js'
import { expandTilde, expandTokens } from './ssh-tokens.js'

/** A host with every default resolved, and what to reach it with. */
export interface Resolved {
  readonly target: SshTarget
  readonly connector: 'ssh2' | 'openssh'
  /** Why this connector: one sentence for the debug log. */
  readonly why: string
}

interface Context {
  readonly signal?: AbortSignal | undefined
}

/** Longer chains are mistakes. */
const MOST_JUMPS = 8
const knownHosts = new KnownHosts()

/**
 * Where and how a host is reached: what the host says goes before what the connection says, that before the ssh configuration, that
 * before ssh's own defaults.
 *
 * @throws ProcessError `E_SSH_CONFIG` for a configuration that ssh refuses, hosts that are on the way to themselves, and
 * `connector: ssh2` where it cannot do what the configuration asks for; ConfigError `E_ARGUMENT` for a name that is none
 */
export async function resolveTarget(host: HostSpec, connection: Connection, context: Context = {}): Promise<Resolved> {
  const { target, need } = await resolveHost(host, connection, context, { jump: host.jump ?? connection.jump, passed: [] })
  if (connection.connector === 'openssh') return { target, connector: 'openssh', why: 'openssh because the connection options say so' }
  if (need === undefined) {
    return {
      target,
      connector: 'ssh2',
      why:
        connection.connector === 'ssh2'
          ? 'ssh2 because the connection options say so'
          : 'ssh2 because it can do all that the configuration asks for',
    }
  }
  if (connection.connector === 'ssh2') {
    throw new ProcessError('E_SSH_CONFIG', `${need.host} cannot be reached with the connector ssh2: ${need.because} (${need.option})`, {
      suggestions: ['Take the connector openssh or auto', `Or leave ${need.option} out for this host`],
      data: { host: need.host, option: need.option },
    })
  }
  return { target, connector: 'openssh', why: `openssh because ${need.because}${need.host === host.address ? '' : ` (${need.host})`}` }
}

/** Where the way is said elsewhere, that of the configuration is not taken. */
function withoutWay(config: HostConfig, jumps: number): HostConfig {
  return jumps === 0 ? config : new Map([...config].filter(([key]) => key !== 'proxycommand'))
}

interface Way {
  /** What is said of the jumps besides the configuration; undefined: nothing. */
  readonly jump: string | undefined
  /** Hosts whose way is being looked for: none of them may be on it. */
  readonly passed: readonly string[]
}

type Found = { readonly target: SshTarget; readonly need: (Need & { readonly host: string }) | undefined }

async function resolveHost(host: HostSpec, connection: Connection, context: Context, way: Way): Promise<Found> {
  const isJump = way.passed.length > 0
  const user = host.user ?? (isJump ? undefined : connection.user)
  checkNames({ address: host.address, user })
  const destination = isJump ? host.address : rewrite(host.address, connection.hostRewrite)
  if (destination !== host.address) checkNames({ address: destination })
  const port = host.port ?? (isJump ? undefined : connection.port)
  const config = await sshConfigOf(configFileOf(connection)).ask(destination, { user, port }, context)

  const jumps = await resolveJumps(destination, config, connection, context, way)
  const controlPath = controlPathOf(destination, config)
  const target = makeTarget(host, destination, config, connection, { user, port, controlPath, jumps: jumps.length })
  const own = await findNeed(target, withoutWay(config, jumps.length), controlPath, knownHosts)
  const need = own === undefined ? jumps.at(-1)?.need : { ...own, host: host.address }
  return {
    target: { ...target, jumps: jumps.map((found) => found.target) },
    need: need ?? jumps.find((found) => found.need !== undefined)?.need,
  }
}

/** The hosts on the way. Only the first of a chain brings its own way: the others are reached over those before them, as ssh does it. */
async function resolveJumps(name: string, config: HostConfig, connection: Connection, context: Context, way: Way): Promise<Found[]> {
  const said = way.jump ?? config.get('proxyjump')?.[0] ?? 'none'
  if (said.toLowerCase() === 'none' || said === '') return []
  const passed = [...way.passed, name]
  const found: Found[] = []
  for (const [i, text] of said.split(',').entries()) {
    const hop = readHop(text.trim(), name)
    if (passed.includes(hop.address)) throw looped(name, [...passed, hop.address])
    const before = await resolveHost(hop, connection, context, { jump: i === 0 ? undefined : 'none', passed })
    found.push(...before.target.jumps.map((target) => ({ target, need: undefined })))
    found.push({ target: { ...before.target, jumps: found.map((other) => other.target) }, need: before.need })
    if (found.length > MOST_JUMPS) throw looped(name, passed)
  }
  const places = found.map(({ target }) => `${target.user}@${target.address}:${target.port}`)
  if (new Set(places).size < places.length) throw looped(name, [name, ...found.map(({ target }) => target.name)])
  return found
}

function looped(name: string, path: readonly string[]): ProcessError {
  return new ProcessError('E_SSH_CONFIG', `The way to ${name} leads through the same host again: ${path.join(', ')}`, {
    suggestions: ['Take the gateway itself out of the pattern that sends hosts through it: Host * !gateway'],
    data: { host: name },
  })
}

/** @source ssh_config(5) ProxyJump: `[user@]host[:port]` or an ssh URI */
function readHop(text: string, name: string): HostSpec {
  try {
    return parseHost(text.replace(/^ssh:\/\//, '').replace(/\/$/, ''))
  } catch (cause) {
    throw new ProcessError('E_SSH_CONFIG', `The way to ${name} names a host that is none: ${JSON.stringify(text)}`, { cause })
  }
}

function rewrite(address: string, rule: Connection['hostRewrite']): string {
  if (rule === undefined) return address
  if (typeof rule === 'function') return rule(address)
  try {
    return address.replace(new RegExp(rule.pattern, 'u'), rule.replacement)
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', `hostRewrite: ${JSON.stringify(rule.pattern)} is not a regular expression`, { cause })
  }
}

/** Names reach a shell where ProxyCommand or Match exec use them. @source ssh.c valid_hostname, valid_ruser of OpenSSH 9.6 */
function checkNames(host: Pick<HostSpec, 'address' | 'user'>): void {
  const wrong = (text: string, what: string): ConfigError =>
    new ConfigError('E_ARGUMENT', `${JSON.stringify(text)} is not the name of a ${what}`, {
      suggestions: [what === 'host' ? 'Write it like node1, user@node1 or user@node1:2222' : 'Write it as the host knows it'],
    })
  if (host.address === '' || host.address.startsWith('-') || /[\s'"`$\\;&<>|(){}@/]|[\x00-\x1f\x7f]/.test(host.address)) {
    throw wrong(host.address, 'host')
  }
  if (host.user !== undefined && (host.user.startsWith('-') || /['`";&<>|(){}]|[\x00-\x1f\x7f]|\\$/.test(host.user))) {
    throw wrong(host.user, 'user')
  }
}

function makeTarget(
  host: HostSpec,
  destination: string,
  config: HostConfig,
  connection: Connection,
  given: {
    readonly user: string | undefined
    readonly port: number | undefined
    readonly controlPath: string | undefined
    readonly jumps: number
  },
): SshTarget {
  const values = tokenValues(destination, config)
  const expand = (path: string): string => expandTokens(expandTilde(path), values) ?? expandTilde(path)
  const one = (key: string): string | undefined => config.get(key)?.[0]
  const keyFiles = host.keyFile === undefined ? connection.keyFiles : [host.keyFile]
  const knownHostsFiles =
    connection.knownHostsFiles?.map(expandTilde) ??
    [...splitPaths(one('userknownhostsfile')), ...splitPaths(one('globalknownhostsfile'))].map(expand)
  const agent = agentOf(connection.agent, one('identityagent'), expand)
  const hostKeys =
    connection.hostKeys ?? (['no', 'off', 'false', 'accept-new'].includes(one('stricthostkeychecking') ?? '') ? 'accept-new' : 'strict')

  return {
    name: host.address,
    address: one('hostname') ?? destination,
    port: Number(one('port') ?? 22),
    user: one('user') ?? values.user,
    hostKeyAlias: one('hostkeyalias') === undefined ? undefined : expand(one('hostkeyalias')!),
    hostKeys,
    knownHostsFiles,
    hashKnownHosts: one('hashknownhosts') === 'yes',
    keyFiles: keyFiles?.map(expandTilde) ?? (config.get('identityfile') ?? []).filter((path) => path !== 'none').map(expand),
    agent,
    // Keys that are named for a connection are meant; the agent may sign with them.
    identitiesOnly: keyFiles !== undefined || one('identitiesonly') === 'yes',
    jumps: [],
    connectTimeoutMs: connection.connectTimeout,
    keepAliveMs: connection.keepAlive,
    openssh: {
      configFile: configFileOf(connection),
      destination,
      options: [
        ...(given.user === undefined ? [] : [`User=${given.user}`]),
        ...(given.port === undefined ? [] : [`Port=${given.port}`]),
        ...(given.jumps === 0 && config.has('proxyjump') ? ['ProxyJump=none'] : []),
        ...(one('batchmode') === 'yes' ? ['BatchMode=yes'] : []),
        // Where a master of the user's own may be open.
        ...(given.controlPath === undefined ? [] : [`ControlPath=${given.controlPath}`]),
        ...(keyFiles === undefined
          ? []
          : [...keyFiles.map((file) => `IdentityFile=${quoted(escaped(expandTilde(file)))}`), 'IdentitiesOnly=yes']),
        ...(connection.agent === undefined ? [] : [`IdentityAgent=${agent === undefined ? 'none' : quoted(escaped(agent))}`]),
        ...(connection.knownHostsFiles === undefined
          ? []
          : [
              `UserKnownHostsFile=${connection.knownHostsFiles.map((file) => quoted(escaped(expandTilde(file)))).join(' ')}`,
              'GlobalKnownHostsFile=/dev/null',
            ]),
        ...(config.get('setenv') === undefined ? [] : [`SetEnv=${config.get('setenv')!.map(quoted).join(' ')}`]),
        ...(config.get('sendenv') ?? []).map((name) => `SendEnv=${name}`),
      ],
    },
  }
}

function configFileOf({ sshConfig }: Connection): string | false | undefined {
  return typeof sshConfig === 'string' ? expandTilde(sshConfig) : sshConfig
}

/** Paths that `ssh -G` printed on one line, without quotes. */
function splitPaths(text: string | undefined): string[] {
  return (text ?? '').split(' ').filter((path) => path !== '' && path !== 'none')
}

function agentOf(said: string | false | undefined, configured: string | undefined, expand: (path: string) => string): string | undefined {
  const usual = process.env['SSH_AUTH_SOCK']
  const own = usual === undefined || usual === '' ? undefined : usual
  if (said === false) return undefined
  if (said !== undefined) return expandTilde(said)
  if (configured === undefined || configured === 'SSH_AUTH_SOCK') return own
  if (configured === 'none') return undefined
  return configured.startsWith('$') ? process.env[configured.slice(1).replace(/^\{|\}$/g, '')] : expand(configured)
}

/** Where the user's own master listens, if the configuration names a place. */
function controlPathOf(destination: string, config: HostConfig): string | undefined {
  const path = config.get('controlpath')?.[0]
  return path === undefined || path === 'none' ? undefined : expandTokens(expandTilde(path), tokenValues(destination, config))
}

/** A percent sign that is meant as such. */
const escaped = (path: string): string => path.replaceAll('%', '%%')
const quoted = (text: string): string => `"${text.replaceAll('"', '\\"')}"`
