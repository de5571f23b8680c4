import {
  type AdapterHost,
  ConfigError,
  type ConnectionOptions,
  type Fleet,
  formatHost,
  type HostSpec,
  type HostWay,
  type ProcessBackend,
  type z,
} from '@cahier/core/spi'
import { taktukOptions } from './options.js'
import { taktukTool } from './taktuk.js'

export interface TaktukBackendsOptions {
  /** Of `adapterHost()`. */
  readonly core: AdapterHost
  /** Those that commands will run on. One that is listed twice is reached once. */
  readonly hosts: readonly HostSpec[]
  /** How they are reached, over the defaults of the program. */
  readonly connection?: ConnectionOptions
  readonly options?: z.input<typeof taktukOptions>
}

/** One tree of connections to hosts, made at the first start of a process, for all that follow. */
export interface TaktukBackends extends AsyncDisposable {
  /** A backend of its own, whose end ends only what it started. @throws ConfigError `E_ARGUMENT` for a host that was not listed */
  backendOf(host: HostSpec): ProcessBackend
}

/**
 * Runs commands on many hosts through one taktuk.
 *
 * Every command begins when the tree stands: when each host is reached, or known not to be within its `connectTimeout`.
 */
export function taktukBackends({ core, hosts, connection, options = {} }: TaktukBackendsOptions): TaktukBackends {
  const checked = taktukOptions.parse(options)
  const names = new Map(hosts.map((host) => [formatHost(host), host]))
  const complete = core.fleet.connection(connection)
  const members = [...names.values()].map((host) => ({ host, connection: complete }))
  const places = new Map([...names.keys()].map((name, index) => [name, index]))
  const backends = new Set<LazyBackend>()
  let fleet: Promise<Fleet> | undefined
  const launch = (): Promise<Fleet> => {
    fleet ??= taktukTool(checked, core).launch(members)
    return fleet
  }
  return {
    backendOf(host) {
      const name = formatHost(host)
      const index = places.get(name)
      if (index === undefined) {
        throw new ConfigError('E_ARGUMENT', `${name} is not one of the hosts that this tree was made for`, {
          suggestions: ['List it in the hosts of taktukBackends'],
        })
      }
      const backend = new LazyBackend(
        () => {
          const way = launch().then((started) => started.ways[index] as Promise<HostWay>)
          return core.fleet.processes(way, members[index] as (typeof members)[number])
        },
        () => backends.delete(backend),
      )
      backends.add(backend)
      return backend
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...backends].map((backend) => backend[Symbol.asyncDispose]()))
      const started = await fleet?.catch(() => undefined)
      await started?.[Symbol.asyncDispose]()
    },
  }
}

/** Nothing is reached before something is started. */
class LazyBackend implements ProcessBackend {
  readonly #make: () => ProcessBackend
  readonly #onEnd: () => void
  #made: ProcessBackend | undefined

  constructor(make: () => ProcessBackend, onEnd: () => void) {
    this.#make = make
    this.#onEnd = onEnd
  }

  start(...args: Parameters<ProcessBackend['start']>): ReturnType<ProcessBackend['start']> {
    this.#made ??= this.#make()
    return this.#made.start(...args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#onEnd()
    await this.#made?.[Symbol.asyncDispose]()
  }
}
