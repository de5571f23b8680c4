import { canonicalJson, decodeCanonical } from '../canonical-json.js'
import { ConfigError, messageOf } from '../errors.js'
import type { FactorGenerator } from '../model/campaign.js'
import type { Level } from '../model/combination.js'
import { nearestName } from '../util/nearest.js'
import { freezeDeep } from './list-space.js'
import type { AxisOption, AxisSpec } from './product-space.js'
import { geom, igeom, linear, range } from './ranges.js'

const GENERATORS = { geom, igeom, linear, range } as const satisfies Record<string, (...numbers: [number, number, number]) => number[]>

/**
 * Checks factors as an author writes them and turns them into the axes of a product, in their order; factors that are zipped
 * stand at the place of the first of them.
 *
 * @throws ConfigError `E_FACTOR_EMPTY`, `E_FACTOR_VALUE`, `E_FACTOR_COLLISION`; `E_ARGUMENT` for a zip that cannot be done
 */
export function readFactors(factors: unknown, zip: readonly (readonly string[])[] = []): AxisSpec[] {
  return readAxes(factors, zip, [])
}

/** @param path - factors and levels that lead to these sub-factors */
function readAxes(factors: unknown, zip: readonly (readonly string[])[], path: readonly string[]): AxisSpec[] {
  if (!isPlainObject(factors)) {
    const where = path.length === 0 ? 'the factors of a sweep' : `the sub-factors of ${path.join(' ')}`
    throw new ConfigError('E_FACTOR_VALUE', `${where} are ${describe(factors)}, not factor names with their levels`, {
      suggestions: ['Write { cores: [1, 2, 4] }; a level without sub-factors has {}'],
    })
  }
  const axes: AxisSpec[] = []
  const groups = checkZip(factors, zip)
  for (const [name, spec] of Object.entries(factors)) {
    checkName(name, path)
    const group = groups.get(name)
    if (group === undefined) axes.push(readAxis(name, spec, path))
    else if (group[0] === name) axes.push(readZipped(group, factors, path))
  }
  checkCollisions(axes, path)
  return axes
}

function readAxis(name: string, spec: unknown, path: readonly string[]): AxisSpec {
  const levels = readList(name, spec, path)
  if (levels !== undefined) {
    checkDistinct(
      `factor ${place(name, path)}`,
      levels.map((level) => canonicalJson(level)),
    )
    return { names: [name], options: levels.map((level) => ({ levels: [level] })) }
  }
  const options = Object.entries(spec as Record<string, unknown>).map(([level, sub]): AxisOption => {
    const axes = readAxes(sub, [], [...path, `${name}=${level}`])
    return axes.length === 0 ? { levels: [level] } : { levels: [level], sub: axes }
  })
  if (options.length === 0) throw empty(name, path)
  return { names: [name], options }
}

function readZipped(names: readonly string[], factors: Readonly<Record<string, unknown>>, path: readonly string[]): AxisSpec {
  const columns = names.map((name) => {
    const levels = readList(name, factors[name], path)
    if (levels !== undefined) return levels
    throw new ConfigError(
      'E_ARGUMENT',
      `factor ${name} has sub-factors and cannot be zipped with ${names.filter((n) => n !== name).join(', ')}`,
    )
  })
  const lengths = columns.map((column) => column.length)
  if (new Set(lengths).size > 1) {
    const counts = names.map((name, i) => `${name} has ${lengths[i]}`).join(', ')
    throw new ConfigError('E_ARGUMENT', `zipped factors need the same number of levels: ${counts}`)
  }
  const rows = Array.from({ length: lengths[0]! }, (_, i) => columns.map((column) => column[i]!))
  checkDistinct(
    `zipped factors ${names.join(', ')}`,
    rows.map((row) => canonicalJson(row)),
  )
  return { names: [...names], options: rows.map((levels) => ({ levels })) }
}

/** Levels of a list or a generator in words, frozen; undefined for a mapping of levels to sub-factors. */
function readList(name: string, spec: unknown, path: readonly string[]): Level[] | undefined {
  if (Array.isArray(spec)) {
    if (spec.length === 0) throw empty(name, path)
    return Array.from(spec, (level: unknown, at) => readLevel(level, name, at, path))
  }
  if (!isPlainObject(spec)) {
    throw new ConfigError('E_FACTOR_VALUE', `factor ${place(name, path)} is ${describe(spec)}, not a list of levels`, {
      suggestions: [
        spec instanceof Set || spec instanceof Map ? 'Make it a list: [...levels]' : `Write [${describeValue(spec)}] for a single level`,
      ],
      data: { factor: name },
    })
  }
  return readGenerator(spec, name, path)
}

function readGenerator(spec: Readonly<Record<string, unknown>>, name: string, path: readonly string[]): number[] | undefined {
  const [[word, numbers] = ['', undefined], ...more] = Object.entries(spec)
  if (more.length > 0 || !Array.isArray(numbers)) return undefined
  if (!Object.hasOwn(GENERATORS, word)) {
    const near = nearestName(word, Object.keys(GENERATORS))
    throw new ConfigError('E_FACTOR_VALUE', `factor ${place(name, path)}: ${JSON.stringify(word)} is no way to make levels`, {
      suggestions: [near === undefined ? `Use one of ${Object.keys(GENERATORS).join(', ')}` : `Did you mean ${near}?`],
      data: { factor: name },
    })
  }
  const wanted = word === 'range' ? [2, 3] : [3]
  if (!wanted.includes(numbers.length) || !numbers.every((number) => typeof number === 'number')) {
    const form = word === 'range' ? '[first, last] or [first, last, step]' : '[min, max, count]'
    throw new ConfigError('E_FACTOR_VALUE', `factor ${place(name, path)}: ${word} takes ${form}, not ${JSON.stringify(numbers)}`)
  }
  return GENERATORS[word as keyof FactorGenerator | 'geom'](...(numbers as [number, number, number]))
}

/** A frozen copy of a level, so that nobody can change it afterwards. */
function readLevel(level: unknown, name: string, at: number, path: readonly string[]): Level {
  try {
    const text = canonicalJson(level)
    checkNumbers(level)
    return typeof level === 'object' ? freezeDeep(decodeCanonical(JSON.parse(text)) as Level) : (level as Level)
  } catch (cause) {
    throw new ConfigError('E_FACTOR_VALUE', `factor ${place(name, path)}, level ${at + 1}: ${messageOf(cause)}`, {
      suggestions: (cause as Partial<ConfigError>).suggestions ?? [],
      data: { factor: name, position: at },
      cause,
    })
  }
}

/**
 * Refuses integers that may have lost digits before they came here: 2^53 + 1 is read as 2^53. Up to 15 digits a number is
 * what was written, so 1e20 is fine, and from 1e21 on nobody writes all digits.
 */
function checkNumbers(level: unknown): void {
  if (typeof level === 'number' && Number.isInteger(level) && !Number.isSafeInteger(level) && Math.abs(level) < 1e21) {
    const digits = level.toExponential().replace(/e.*|[-.]/g, '')
    if (digits.length <= 15) return
    throw new ConfigError('E_FACTOR_VALUE', `the integer ${level} is too large to be exact in JavaScript; digits may be lost already`, {
      suggestions: [`Write it as text, "${BigInt(level)}", or in code as a big integer, ${BigInt(level)}n`],
    })
  }
  if (typeof level === 'object' && level !== null) Object.values(level).forEach(checkNumbers)
}

function checkName(name: string, path: readonly string[]): void {
  if (name !== '' && name !== '__proto__') return
  throw new ConfigError(
    'E_FACTOR_VALUE',
    `a factor cannot have the name ${JSON.stringify(name)}${path.length > 0 ? ` (in ${path.join(' ')})` : ''}`,
  )
}

function checkDistinct(what: string, keys: readonly string[]): void {
  const seen = new Map<string, number>()
  for (const [at, key] of keys.entries()) {
    const before = seen.get(key)
    if (before !== undefined) {
      throw new ConfigError('E_FACTOR_VALUE', `${what}: levels ${before + 1} and ${at + 1} are both ${key.slice(0, 100)}`, {
        suggestions: ['Take one of them out; to run a combination several times use repetitions'],
      })
    }
    seen.set(key, at)
  }
}

/** Axes of one product are all in one combination: no name may come twice. Levels of one factor exclude each other. */
function checkCollisions(axes: readonly AxisSpec[], path: readonly string[]): Set<string> {
  const all = new Set<string>()
  const add = (name: string) => {
    if (!all.has(name)) return all.add(name)
    const where = path.length === 0 ? '' : ` (in ${path.join(' ')})`
    throw new ConfigError('E_FACTOR_COLLISION', `two factors of one combination have the name ${name}${where}`, {
      suggestions: ['Rename one of them: a sub-factor and a factor outside of it may not share a name'],
      data: { factor: name },
    })
  }
  for (const { names, options } of axes) {
    names.forEach(add)
    const inside = new Set(options.flatMap(({ sub }) => (sub === undefined ? [] : [...checkCollisions(sub, path)])))
    inside.forEach(add)
  }
  return all
}

/** For every zipped factor its group, in the order of the factors. */
function checkZip(factors: Readonly<Record<string, unknown>>, zip: readonly (readonly string[])[]): Map<string, readonly string[]> {
  const order = Object.keys(factors)
  const groups = new Map<string, readonly string[]>()
  for (const group of zip) {
    for (const name of group) {
      if (!Object.hasOwn(factors, name)) {
        const near = nearestName(name, order)
        throw new ConfigError('E_ARGUMENT', `zip names ${JSON.stringify(name)}, which is not a factor`, {
          suggestions: [near === undefined ? `The factors are ${order.join(', ')}` : `Did you mean ${near}?`],
        })
      }
      if (groups.has(name)) throw new ConfigError('E_ARGUMENT', `zip names the factor ${name} twice`)
      groups.set(name, [])
    }
    const sorted = order.filter((name) => group.includes(name))
    for (const name of group) groups.set(name, sorted)
  }
  return groups
}

function empty(name: string, path: readonly string[]): ConfigError {
  return new ConfigError('E_FACTOR_EMPTY', `factor ${place(name, path)} has no level, so there would be no combination at all`, {
    suggestions: [`Give ${name} at least one level, or take it out`],
    data: { factor: name },
  })
}

function place(name: string, path: readonly string[]): string {
  return path.length === 0 ? name : `${name} (in ${path.join(' ')})`
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'object') return `a ${value.constructor?.name ?? 'foreign object'}`
  return `the ${typeof value} ${describeValue(value)}`
}

function describeValue(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value)
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null
}
