import type { Space, SpaceDefinition } from '../model/space.js'

/**
 * Where the items of one space stand in another: position by position, -1 for those that it does not have.
 *
 * Two products of plain factors are compared factor by factor and never make an item: a million positions take
 * milliseconds. All other spaces look every item up.
 */
export function mapSpace<T>(from: Space<T>, to: Space<T>): Int32Array {
  const map = new Int32Array(from.size)
  if (!mapProduct(from, to, map)) {
    for (let index = 0; index < map.length; index++) map[index] = to.indexOf(from.at(index))
  }
  return map
}

interface Axis {
  /** Canonical JSON of the names. */
  readonly name: string
  /** Canonical JSON of each level. */
  readonly levels: readonly string[]
  stride: number
}

/** The factors of a product, and the repetitions around it as one more factor; undefined for every other kind. */
function axesOf(definition: SpaceDefinition): readonly Axis[] | undefined {
  if (definition.kind === 'repeated' && definition['seed'] === undefined) {
    const inner = axesOf(definition['of'] as SpaceDefinition)
    const repetitions = definition['repetitions'] as number
    const name = '"repetition"'
    return inner && [{ name, levels: Array.from({ length: repetitions }, (_, i) => `${i + 1}`), stride: 0 }, ...inner]
  }
  if (definition.kind !== 'product') return undefined
  const axes = definition['axes'] as readonly { names: readonly string[]; levels: readonly unknown[]; sub?: unknown }[]
  if (axes.some((axis) => axis.sub !== undefined)) return undefined
  return axes.map(({ names, levels }) => ({
    name: JSON.stringify(names),
    levels: levels.map((level) => JSON.stringify(level)),
    stride: 0,
  }))
}

function mapProduct<T>(from: Space<T>, to: Space<T>, map: Int32Array): boolean {
  const ours = axesOf(from.definition)
  const theirs = axesOf(to.definition)
  if (ours === undefined || theirs === undefined || from.definition.kind !== to.definition.kind) return false
  if (measure(ours) !== from.size || measure(theirs) !== to.size) return false
  const byName = new Map(theirs.map((axis) => [axis.name, axis]))
  // Zipped factors may be grouped in another way: then only looking up tells.
  if (ours.length !== theirs.length || ours.some((axis) => !byName.has(axis.name)))
    return sameNames(ours, theirs) ? false : fillMissing(map)
  let size = 1
  let filled: Int32Array = Int32Array.of(0)
  for (let i = ours.length - 1; i >= 0; i--) {
    const axis = ours[i]!
    const { levels, stride } = byName.get(axis.name)!
    const positions = new Map(levels.map((level, at) => [level, at]))
    const next = i === 0 ? map : new Int32Array(size * axis.levels.length)
    axis.levels.forEach((level, digit) => {
      const at = positions.get(level)
      const start = digit * size
      if (at === undefined) next.fill(-1, start, start + size)
      else for (let rest = 0; rest < size; rest++) next[start + rest] = filled[rest]! < 0 ? -1 : filled[rest]! + at * stride
    })
    filled = next
    size *= axis.levels.length
  }
  if (ours.length === 0) map.set(filled)
  return true
}

/** Sets the strides; returns the number of combinations. */
function measure(axes: readonly Axis[]): number {
  let size = 1
  for (const axis of [...axes].reverse()) {
    axis.stride = size
    size *= axis.levels.length
  }
  return size
}

function sameNames(ours: readonly Axis[], theirs: readonly Axis[]): boolean {
  const names = (axes: readonly Axis[]): string =>
    axes
      .flatMap(({ name }) => JSON.parse(name) as string[])
      .sort()
      .join('\0')
  return names(ours) === names(theirs)
}

function fillMissing(map: Int32Array): true {
  map.fill(-1)
  return true
}
