import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { sshHostsUnavailable } from '../../../test/testbed/ssh-hosts.mjs'

/** Why nothing can be tried with the real program here, in brackets behind a title; undefined when it can. */
export function taktukUnavailable(options: { readonly netns?: boolean } = {}): string | undefined {
  const found = (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'taktuk')))
  return sshHostsUnavailable(options) ?? (found ? undefined : 'needs taktuk')
}
