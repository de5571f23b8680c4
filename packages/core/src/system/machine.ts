import { arch, availableParallelism, cpus, hostname, release, totalmem, type, userInfo } from 'node:os'

/** The machine that a controller ran on, for the record of a run. */
export interface MachineDescription {
  readonly host: string
  readonly user: string | undefined
  readonly system: string
  readonly architecture: string
  readonly processor: string | undefined
  /** Cores that this process may use. */
  readonly cores: number
  readonly memoryMiB: number
  readonly node: string
}

export function describeMachine(): MachineDescription {
  return {
    host: hostname(),
    user: userName(),
    system: `${type()} ${release()}`,
    architecture: arch(),
    processor: cpus()[0]?.model.trim() || undefined,
    cores: availableParallelism(),
    memoryMiB: Math.floor(totalmem() / 2 ** 20),
    node: process.version,
  }
}

/** In a container the number of the user may have no name. */
function userName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
