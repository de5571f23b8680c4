import type { ConnectionOptions } from '../model/connection.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import { type ActionOptions, ProcessesAction } from './action.js'
import { checkConcurrency } from './actions.js'
import { type CommandValues, fillCommand, parseCommand } from './command-values.js'
import { connectionOf, mergeConnections } from './connections.js'
import { type GatherOptions, gatherOutputs, type OutputGroup, TIMED_OUT, worstExitCode } from './gather.js'
import type { Host } from './host.js'
import { type HostGroups, type HostInput, hosts as unfoldHosts } from './hosts.js'
import { nameOf } from './process.js'
import { SshProcess, type SshProcessOptions } from './ssh-process.js'

/** Hosts at a time when nothing else is said. */
const DEFAULT_CONCURRENCY = 64
/** Shells that read quotes as POSIX says. */
const POSIX_SHELLS = /^(?:sh|ash|bash|dash|ksh|mksh|zsh|busybox)$/

export interface RemoteOptions extends ActionOptions {
  /** What stands at the places `{{name}}` of the command. `false`: the command has no places, every brace is sent as it is. */
  readonly values?: CommandValues | false | undefined
  /** How the hosts are reached, over the defaults of the program. What a host itself says (user, port…) wins. */
  readonly connection?: ConnectionOptions | undefined
  /** Given to every process, or made for each. Its `timeout` is the limit of one host; that of the action is for all together. */
  readonly process?: SshProcessOptions | ((host: Host, index: number) => SshProcessOptions) | undefined
  /** How processes are started on each host, instead of one ssh connection to it: a tree of taktuk, for example. Who makes it ends it. */
  readonly backend?: ((host: Host) => ProcessBackend) | undefined
  /** Hosts at a time; default 64. */
  readonly concurrency?: number | undefined
  /** What `@name` stands for in host sets, instead of the groups of the configuration. */
  readonly groups?: HostGroups | undefined
}

/**
 * One command on many hosts, a bounded number at a time. A host that fails, hangs or cannot be reached never stops the others.
 *
 * `{{name}}` in the command is replaced by the value of each host, quoted so that it is one word whatever it holds; `{{host}}` is the
 * address of the host, and `{{{{` stands for two braces.
 *
 * ```ts
 * const nodes = hosts('node[1-64]')
 * const all = await new Remote('hostname; sleep {{delays}}', nodes, { values: { delays: [1, 2, 3] }, process: { timeout: '30s' } }).run()
 * for (const process of all.processes) console.log(`${process.host}`, process.exitCode, process.stdout)
 * for (const group of all.byOutput()) console.log(`${group.hosts}:\n${group.text}`)
 * ```
 */
export class Remote extends ProcessesAction<SshProcess> {
  /** In the order of the processes. */
  readonly hosts: readonly Host[]

  /**
   * @param hosts - as the function `hosts` takes them: a host that is listed n times runs n processes
   * @throws ConfigError `E_HOST_SET`, `E_ARGUMENT`, `E_TEMPLATE_UNSAFE`, before anything runs
   */
  constructor(command: string | readonly string[], hosts: HostInput, options: RemoteOptions = {}) {
    const list = unfoldHosts(hosts, { groups: options.groups })
    const concurrency = checkConcurrency(options.concurrency ?? DEFAULT_CONCURRENCY)
    super(nameOf(command), makeProcesses(command, list, options), concurrency, options)
    this.hosts = list
  }

  /** Hosts that said the same, together. */
  byOutput(options: GatherOptions = {}): OutputGroup<SshProcess>[] {
    return gatherOutputs(this.processes, options)
  }

  /** The function {@link worstExitCode} over its processes; at least 124 when the time of the whole action ended. */
  get worstExitCode(): number {
    return Math.max(this.timedOut ? TIMED_OUT : 0, worstExitCode(this.processes))
  }
}

function makeProcesses(command: string | readonly string[], hosts: readonly Host[], options: RemoteOptions): SshProcess[] {
  const values = options.values === false ? undefined : (options.values ?? {})
  const places = values === undefined ? undefined : parseCommand(command, values)
  const { process: own } = options
  return hosts.map((host, index) => {
    const given = (typeof own === 'function' ? own(host, index) : own) ?? {}
    // The same object for all hosts that say nothing of their own: it is checked once.
    const connection = given.connection === undefined ? options.connection : mergeConnections(options.connection, given.connection)
    const shell = given.shell?.slice(given.shell.lastIndexOf('/') + 1)
    const posix = connectionOf(connection).runner !== 'raw' && (shell === undefined || POSIX_SHELLS.test(shell))
    const text = places === undefined || values === undefined ? command : fillCommand(places, values, host, index, { posix })
    const backend = given.backend ?? options.backend?.(host)
    return new SshProcess(text, host, { ...given, connection, ...(backend === undefined ? {} : { backend }) })
  })
}
