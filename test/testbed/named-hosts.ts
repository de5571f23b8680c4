import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type SshHosts, startSshHosts } from './ssh-hosts.mjs'

export interface NamedHosts extends AsyncDisposable {
  readonly bed: SshHosts
  /** For `sshConfig` of the connection options. */
  readonly sshConfig: string
  /** What the host with this name has. */
  host(name: string): SshHosts['hosts'][number]
}

/** Test hosts under the names that an example uses. */
export async function startNamedHosts(names: readonly string[]): Promise<NamedHosts> {
  const bed = await startSshHosts(names.length)
  const host = (name: string) => bed.hosts[names.indexOf(name)] as SshHosts['hosts'][number]
  const sshConfig = join(bed.directory, 'named_config')
  const lines = names.map((name) => `Host ${name}\n  HostName ${host(name).address}\n  HostKeyAlias ${host(name).name}\n`)
  writeFileSync(sshConfig, lines.join('') + readFileSync(bed.plainConfig, 'utf8'))
  return { bed, sshConfig, host, [Symbol.asyncDispose]: () => bed.stop() }
}
