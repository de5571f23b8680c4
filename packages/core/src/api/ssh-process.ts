import type { Connection, ConnectionOptions } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import { connectionOf, remoteBackend } from './connections.js'
import { Host } from './host.js'
import { Process } from './process.js'
import type { ProcessOptions } from './process-options.js'

export interface SshProcessOptions extends ProcessOptions {
  /** How the host is reached, over the defaults of the program. What the host itself says (user, port…) wins. */
  readonly connection?: ConnectionOptions | undefined
}

/**
 * A process on another host: a string is for a shell there, a list of words is executed there as it is. Everything else is as with
 * {@link Process}. Processes of one host share one login.
 *
 * A host that cannot be reached, or is lost while the command runs, is `error` and `unreachable`; its exit code is never invented.
 *
 * ```ts
 * const up = await new SshProcess('uptime', 'alice@node1').run()
 * console.log(up.unreachable ? up.errorReason?.message : up.stdout)
 * ```
 */
export class SshProcess extends Process {
  override readonly host: Host
  readonly #connection: Connection

  /** @throws ConfigError `E_ARGUMENT` for what is no host, and for options that cannot be used */
  constructor(command: string | readonly string[], host: string | HostSpec, options: SshProcessOptions = {}) {
    super(command, options)
    this.host = host instanceof Host ? host : new Host(host)
    this.#connection = connectionOf(options.connection)
  }

  protected override backend(): ProcessBackend {
    return this.options.backend ?? remoteBackend(this.host, this.#connection)
  }
}
