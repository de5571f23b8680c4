import { access, constants } from 'node:fs/promises'
import type { ConnectionOptions, Host } from '@cahier/core/hosts'
import { ConfigError } from '@cahier/core/spi'
import { Flags } from '@oclif/core'

/** How words behind a flag are read: greedy, all up to the next dash are its own; else one, and the others are operands. */
export interface FlagStyle {
  readonly greedy: boolean
}

/** Which hosts. */
export function hostFlags({ greedy }: FlagStyle) {
  return {
    hosts: Flags.string({
      char: 'w',
      description: 'Hosts: node[1-64], user@node1:2222, @group. May be given again.',
      multiple: true,
      multipleNonGreedy: !greedy,
      required: true,
      helpValue: 'HOSTS',
    }),
    exclude: Flags.string({
      char: 'x',
      description: 'Hosts of these that are left out.',
      multiple: true,
      multipleNonGreedy: !greedy,
      helpValue: 'HOSTS',
    }),
  }
}

/** How they are reached. */
export function connectionFlags({ greedy }: FlagStyle) {
  const flags = {
    'connect-timeout': Flags.string({
      description: 'Time limit of connection and login of each host. Default: 15s.',
      helpValue: 'DURATION',
    }),
    user: Flags.string({ char: 'l', description: 'User on the hosts.', helpValue: 'USER' }),
    port: Flags.integer({ char: 'p', description: 'Port of the ssh servers.', min: 1, max: 65_535, helpValue: 'PORT' }),
    key: Flags.string({
      char: 'i',
      description: 'Private key file. May be given again.',
      multiple: true,
      multipleNonGreedy: !greedy,
      helpValue: 'FILE',
    }),
    jump: Flags.string({
      char: 'J',
      description: 'Hosts on the way, first hop first: user@gateway,inner; none for no jump.',
      helpValue: 'HOSTS',
    }),
    connector: Flags.string({ description: 'How connections are made. Default: auto.', options: ['auto', 'ssh2', 'openssh'] }),
    runner: Flags.string({ description: 'What drives commands on a host. Default: auto.', options: ['auto', 'perl', 'sh', 'none', 'raw'] }),
    'accept-new': Flags.boolean({
      description: 'Take down the key of a host that is not known yet; a changed key is refused all the same.',
    }),
    'ssh-config': Flags.string({ char: 'F', description: 'ssh configuration file, instead of the usual ones.', helpValue: 'FILE' }),
    site: Flags.string({ description: 'Site of cahier.config whose connection options are used.', helpValue: 'NAME' }),
  }
  for (const flag of Object.values(flags)) flag.helpGroup = 'CONNECTION'
  return flags
}

/** What these flags were given. */
export interface GivenConnection {
  readonly user?: string | undefined
  readonly port?: number | undefined
  readonly key?: string[] | undefined
  readonly jump?: string | undefined
  readonly connector?: string | undefined
  readonly runner?: string | undefined
  readonly 'accept-new': boolean
  readonly 'ssh-config'?: string | undefined
  readonly 'connect-timeout'?: string | undefined
}

export function connectionOptions(flags: GivenConnection): ConnectionOptions {
  const options = {
    user: flags.user,
    port: flags.port,
    keyFiles: flags.key,
    jump: flags.jump,
    connector: flags.connector,
    runner: flags.runner,
    hostKeys: flags['accept-new'] ? 'accept-new' : undefined,
    sshConfig: flags['ssh-config'],
    connectTimeout: flags['connect-timeout'],
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/**
 * A wrong name of a key or a configuration would else be a login that every host refuses.
 *
 * @throws ConfigError `E_ARGUMENT`
 */
export async function requireReadable(flags: Pick<GivenConnection, 'key' | 'ssh-config'>): Promise<void> {
  for (const file of [...(flags.key ?? []), ...(flags['ssh-config'] === undefined ? [] : [flags['ssh-config']])]) {
    // The openssh client knows "none", and expands these.
    if (file === 'none' || file.startsWith('~') || file.includes('%')) continue
    try {
      await access(file, constants.R_OK)
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      const why = code === 'ENOENT' ? 'there is none' : code === 'EACCES' ? 'it may not be read' : message
      throw new ConfigError('E_ARGUMENT', `the file ${file} cannot be read: ${why}`, { cause })
    }
  }
}

/** @throws ConfigError `E_HOST_SET`, and `E_ARGUMENT` when no host is left */
export function chooseHosts(
  core: Pick<typeof import('@cahier/core/hosts'), 'hosts' | 'uniqueHosts'>,
  given: readonly string[],
  excluded: readonly string[] = [],
): Host[] {
  const out = core.hosts(excluded)
  const chosen = core
    .uniqueHosts(core.hosts(given))
    .filter(
      (host) =>
        !out.some(
          ({ address, user, port }) =>
            address === host.address && (user === undefined || user === host.user) && (port === undefined || port === host.port),
        ),
    )
  if (chosen.length > 0) return chosen
  if (given.every((text) => text.trim() === '')) {
    throw new ConfigError('E_ARGUMENT', 'the host set (-w) is empty', { suggestions: ["Name hosts as in -w 'node[1-4]'"] })
  }
  throw new ConfigError('E_ARGUMENT', `no host is left of ${given.join(' ')}`, {
    suggestions: ['Name more hosts with -w, or fewer with -x'],
  })
}
