import type { SshTarget } from './connection.js'
import { fileWords } from './openssh-master.js'

/**
 * The system's client and its options for a host, without the destination: for tools that call it themselves, where nobody can be asked
 * for anything.
 *
 * @param jump - the way, when it was said besides the configuration
 */
export function clientWords({ openssh, hostKeys, connectTimeoutMs, keepAliveMs }: SshTarget, jump: string | undefined): readonly string[] {
  const options = [
    'BatchMode=yes',
    `StrictHostKeyChecking=${hostKeys === 'strict' ? 'yes' : 'accept-new'}`,
    `ConnectTimeout=${Math.max(1, Math.ceil(connectTimeoutMs / 1000))}`,
    `ServerAliveInterval=${Math.max(1, Math.ceil(keepAliveMs / 1000))}`,
    'ServerAliveCountMax=3',
    'ControlMaster=no',
    'ControlPath=none',
    ...(jump === undefined ? [] : [`ProxyJump=${jump}`]),
    ...openssh.options.filter((option) => !/^(?:ControlPath|BatchMode)=/.test(option)),
  ]
  return ['ssh', ...fileWords(openssh.configFile), ...options.flatMap((option) => ['-o', option])]
}
