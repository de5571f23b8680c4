import { type JobResources, parseSizeMiB } from '@cahier/core/spi'

export interface Asked {
  readonly resources: JobResources
  readonly queue?: string
  readonly account?: string
}

/**
 * What the options of a script ask for, as far as it can be counted: values that sbatch would refuse, and those that depend on the nodes, are
 * left out.
 *
 * @param options - by their long names
 */
export function readAsked(options: ReadonlyMap<string, string>): Asked {
  const queue = options.get('partition')
  const account = options.get('account')
  const nodes = readCount(options.get('nodes')?.split(/[-,]/)[0])
  const shape = readShape(options, nodes)
  const resources: JobResources = {
    ...shape,
    ...defined('nodes', nodes),
    ...defined('walltimeMs', readWalltime(options.get('time'))),
    ...defined('memoryMiB', readMemory(options, shape.cores)),
    ...defined('gpus', readGpus(options, nodes ?? 1, shape.tasks ?? 1)),
  }
  return { resources, ...defined('queue', queue), ...defined('account', account) }
}

function readShape(options: ReadonlyMap<string, string>, nodes: number | undefined): { readonly tasks?: number; readonly cores?: number } {
  const perTask = readCount(options.get('cpus-per-task'))
  const perNode = readCount(options.get('ntasks-per-node'))
  const ntasks = readCount(options.get('ntasks')) ?? (perNode === undefined ? undefined : perNode * (nodes ?? 1))
  if (perTask === undefined && ntasks === undefined) return {}
  const tasksOfNode = nodes === undefined ? (ntasks ?? 1) : Math.min(perNode ?? Infinity, Math.ceil((ntasks ?? nodes) / nodes))
  return { ...(ntasks !== undefined && ntasks > 1 && { tasks: ntasks }), cores: tasksOfNode * (perTask ?? 1) }
}

function readCount(text: string | undefined): number | undefined {
  const found = /^(\d{1,9})([kKmM]?)$/.exec(text ?? '')
  if (found === null) return undefined
  const count = Number(found[1]) * (found[2] === '' ? 1 : /k/i.test(found[2]!) ? 1024 : 1024 * 1024)
  return count > 0 ? count : undefined
}

/**
 * Reads a time limit: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes`, `days-hours:minutes:seconds`.
 *
 * @returns milliseconds, rounded up to the minutes that SLURM counts in; `undefined` for no limit and for what is no time
 * @source sbatch(1) --time, Slurm 22.05
 */
export function readWalltime(text: string | undefined): number | undefined {
  const found = /^(?:(\d{1,6})-(\d{1,6})(?::(\d{1,6}))?(?::(\d{1,6}))?|(\d{1,9})(?::(\d{1,6}))?(?::(\d{1,6}))?)$/.exec(text?.trim() ?? '')
  if (found === null) return undefined
  const [days, hours, minutes, seconds, first, second, third] = found.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const total =
    found[1] !== undefined
      ? ((days * 24 + hours) * 60 + minutes) * 60 + seconds
      : found[7] !== undefined
        ? (first * 60 + second) * 60 + third
        : first * 60 + second
  return total === 0 ? undefined : Math.ceil(total / 60) * 60_000
}

function readMemory(options: ReadonlyMap<string, string>, cores: number | undefined): number | undefined {
  const perCpu = readSize(options.get('mem-per-cpu'))
  const perNode = readSize(options.get('mem'))
  return perNode ?? (perCpu === undefined ? undefined : perCpu * (cores ?? 1))
}

/** A size of SLURM: MiB without a unit. `0` is all memory of the node: nothing to count with. */
function readSize(text: string | undefined): number | undefined {
  if (!/^\d{1,12}[KMGT]?B?$/i.test(text ?? '')) return undefined
  const bare = text!.toUpperCase().replace(/B$/, '')
  const size = parseSizeMiB(/\d$/.test(bare) ? `${bare}M` : bare)
  return size > 0 ? size : undefined
}

function readGpus(options: ReadonlyMap<string, string>, nodes: number, tasks: number): number | undefined {
  const total = sum(options.get('gpus'))
  const ofNode = sum(options.get('gpus-per-node')) ?? sum(gpusOfGres(options.get('gres')))
  const ofTask = sum(options.get('gpus-per-task'))
  return total ?? (ofNode === undefined ? undefined : ofNode * nodes) ?? (ofTask === undefined ? undefined : ofTask * tasks)
}

/** `gpu:a100:2,shard:4` asks for `a100:2`. */
function gpusOfGres(gres: string | undefined): string | undefined {
  const parts = (gres ?? '').split(',').filter((part) => /^(?:gres[:/])?gpu(?::|$)/.test(part))
  return parts.length === 0 ? undefined : parts.map((part) => part.replace(/^(?:gres[:/])?gpu:?/, '') || '1').join(',')
}

/** `2`, `a100:2`, `a100:1,v100:1`. */
function sum(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const counts = text.split(',').map((part) => {
    const last = part.split(':').at(-1)!
    return /^\d{1,6}$/.test(last) ? Number(last) : 1
  })
  return counts.reduce((total, each) => total + each, 0)
}

function defined<Key extends string, Value>(key: Key, value: Value | undefined): { readonly [key in Key]?: Value } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [key in Key]?: Value })
}
