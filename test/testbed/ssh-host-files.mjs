/** The files of one host and of the whole bed: texts only, no effects. */

/**
 * @typedef {object} HostSettings
 * @property {string} [maxStartups] `start:rate:full` of sshd; default `1000:30:2000`; `10:30:100` is what servers have
 * @property {number} [maxSessions] channels of one connection; default 1000; 10 is what servers have
 * @property {readonly string[]} [sshdLines] lines for sshd_config; they win over those of the bed
 * @property {string} [loginShell] the program that is given the commands, such as `/usr/bin/fish`; default: the shell of this user
 * @property {string | Uint8Array} [rcNoise] what every session writes to stdout before anything else, as an ill-behaved .bashrc does
 * @property {string | Uint8Array} [banner] what the server says before the login
 * @property {string} [rate] with `netns`: limit in both directions, as tc writes it: `100mbit`
 *
 * @typedef {object} TestHost
 * @property {string} name
 * @property {string} address
 * @property {number} port
 * @property {string} directory everything of this host
 * @property {string} home home and working directory of its sessions
 * @property {string} log what its sshd says
 */

/**
 * @param {TestHost} host
 * @param {HostSettings} settings
 * @param {{ authorizedKeys: string, hostKey: string, sftpServer: string | undefined }} bed
 */
export function renderSshdConfig(host, settings, bed) {
  const { address, port, directory, home } = host
  return [
    // The first line about something wins.
    ...(settings.sshdLines ?? []),
    `ListenAddress ${address}:${port}`,
    `HostKey ${bed.hostKey}`,
    'PidFile none',
    `AuthorizedKeysFile ${bed.authorizedKeys}`,
    'PubkeyAuthentication yes',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'UsePAM no',
    // The bed may be below /tmp.
    'StrictModes no',
    'UseDNS no',
    'PrintMotd no',
    'X11Forwarding no',
    'LoginGraceTime 60',
    `MaxStartups ${settings.maxStartups ?? '1000:30:2000'}`,
    `MaxSessions ${settings.maxSessions ?? 1000}`,
    'MaxAuthTries 20',
    // The default exchange of newer clients costs 90 ms of processor time: it would be all that a test of many logins sees.
    'KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256',
    // A second one would be an error.
    ...(bed.sftpServer === undefined || settings.sshdLines?.some((line) => line.startsWith('Subsystem sftp '))
      ? []
      : [`Subsystem sftp ${bed.sftpServer}`]),
    ...(settings.banner === undefined ? [] : [`Banner ${directory}/banner`]),
    `SetEnv HOME=${home} ${MARK}=${directory}`,
    `ForceCommand ${directory}/enter`,
    'LogLevel VERBOSE',
    '',
  ].join('\n')
}

/** Every process of a session has it in its environment: the directory of its host. */
export const MARK = 'CAHIER_TEST_HOST'

/** What every session runs first: own home, own host name, then what was asked for, as the login shell would run it. */
export function renderEnter({ directory, home }, shell, hasNoise) {
  return `#!/bin/sh
export HOME=${home} PATH=${directory}/bin:$PATH
cd "$HOME" || exit 97
${hasNoise ? `cat ${directory}/noise\n` : ''}if [ -n "\${SSH_ORIGINAL_COMMAND:-}" ]; then exec ${shell} -c "$SSH_ORIGINAL_COMMAND"; fi
exec ${shell} -l
`
}

/** Options that all hosts share, as one pattern. */
export function renderSshOptions({ user, port, identity, knownHosts }) {
  return `Host *
  User ${user}
  Port ${port}
  IdentityFile ${identity}
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  UserKnownHostsFile ${knownHosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
  ConnectTimeout 10
`
}

/** Names for the addresses; to be followed by {@link renderSshOptions}. @param {readonly TestHost[]} hosts */
export function renderSshNames(hosts) {
  return hosts.map(({ name, address }) => `Host ${name}\n  HostName ${address}\n  HostKeyAlias ${name}\n`).join('')
}

/** @param {TestHost} host @param {string} publicKey */
export function renderKnownHost({ name, address, port }, publicKey) {
  return `${name},${port === 22 ? address : `[${address}]:${port}`} ${publicKey.split(' ').slice(0, 2).join(' ')}\n`
}
