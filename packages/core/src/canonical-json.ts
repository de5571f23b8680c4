import { ConfigError } from './errors.js'

/**
 * Canonical JSON: one text for each value, different texts for different values. The identity of a combination is the
 * hash of this text, so the encoding never changes. Its rules, with golden vectors: `docs/reference/canonical-json.md`.
 *
 * Plain JSON without spaces, keys in order of their UTF-16 code units, and for what JSON cannot say an object with one
 * key: `{"$number":"NaN"}` (also `-0`, `Infinity`, `-Infinity`) and `{"$bigint":"123"}`. A key that begins with `$` is
 * written with one more `$`, so no object of a user can be taken for one of these.
 */

/** Deeper values than this are refused, with a clear error instead of a stack overflow. */
const MAX_DEPTH = 500

/**
 * Writes a value as canonical JSON.
 *
 * @throws ConfigError `E_FACTOR_VALUE` for what has no encoding: undefined, functions, symbols, cycles, holes in arrays,
 * and objects that are not plain (Date, Map, instances of classes)
 */
export function canonicalJson(value: unknown): string {
  return write(value, [])
}

/** The JSON-safe value whose `JSON.stringify` is the canonical JSON: what goes into a journal or a manifest. */
export function encodeCanonical(value: unknown): unknown {
  return JSON.parse(canonicalJson(value))
}

/**
 * Reads canonical JSON back; the inverse of {@link canonicalJson}. Order of keys and spaces are not checked.
 *
 * @throws ConfigError `E_ARGUMENT` when the text is not JSON or holds a `$` key that is not part of the encoding
 */
export function parseCanonicalJson(text: string): unknown {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', `this is not canonical JSON: ${JSON.stringify(text.slice(0, 200))}`, { cause })
  }
  return decodeCanonical(json)
}

/** The inverse of {@link encodeCanonical}. Throws ConfigError `E_ARGUMENT` like {@link parseCanonicalJson}. */
export function decodeCanonical(json: unknown): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map(decodeCanonical)
  const result: Record<string, unknown> = {}
  for (const [key, field] of Object.entries(json)) {
    if (!key.startsWith('$')) setOwn(result, key, decodeCanonical(field))
    else if (key.startsWith('$$')) setOwn(result, key.slice(1), decodeCanonical(field))
    else return decodeSpecial(key, field, json)
  }
  return result
}

function write(value: unknown, ancestors: object[]): string {
  switch (typeof value) {
    case 'string':
      // Lone surrogates come out as \ud8xx escapes: the text stays valid UTF-8 and no two strings meet.
      return JSON.stringify(value)
    case 'number':
      if (Number.isFinite(value) && !Object.is(value, -0)) return String(value)
      return `{"$number":"${Object.is(value, -0) ? '-0' : value}"}`
    case 'boolean':
      return value ? 'true' : 'false'
    case 'bigint':
      return `{"$bigint":"${value}"}`
    case 'object':
      return value === null ? 'null' : writeObject(value, ancestors)
    default:
      throw refuse(value === undefined ? 'undefined has no JSON form; use null' : `a ${typeof value} has no JSON form`)
  }
}

function writeObject(value: object, ancestors: object[]): string {
  if (ancestors.includes(value)) throw refuse('the value contains itself')
  if (ancestors.length >= MAX_DEPTH) throw refuse(`the value is nested deeper than ${MAX_DEPTH} levels`)
  ancestors.push(value)
  const text = Array.isArray(value) ? writeArray(value, ancestors) : writeFields(value as Record<string, unknown>, ancestors)
  ancestors.pop()
  return text
}

function writeArray(value: readonly unknown[], ancestors: object[]): string {
  let text = '['
  for (let i = 0; i < value.length; i++) {
    if (!(i in value)) throw refuse(`an array has a hole at position ${i}`)
    text += (i === 0 ? '' : ',') + write(value[i], ancestors)
  }
  return `${text}]`
}

function writeFields(value: Readonly<Record<string, unknown>>, ancestors: object[]): string {
  const prototype: unknown = Object.getPrototypeOf(value)
  // A plain object of another realm has a prototype without a prototype.
  if (prototype !== Object.prototype && prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    const name = (prototype as { constructor?: { name?: unknown } }).constructor?.name
    throw refuse(`an instance of ${typeof name === 'string' && name !== '' ? name : 'a class'} has no canonical form; use plain values`)
  }
  if (Object.getOwnPropertySymbols(value).length > 0) throw refuse('an object has a symbol for a key')
  let text = '{'
  for (const key of Object.keys(value).sort()) {
    const name = JSON.stringify(key.startsWith('$') ? `$${key}` : key)
    text += `${text.length === 1 ? '' : ','}${name}:${write(value[key], ancestors)}`
  }
  return `${text}}`
}

function decodeSpecial(key: string, field: unknown, whole: object): unknown {
  if (Object.keys(whole).length === 1 && typeof field === 'string') {
    if (key === '$number') {
      const number = { NaN: NaN, '-0': -0, Infinity: Infinity, '-Infinity': -Infinity }[field]
      if (number !== undefined) return number
    }
    if (key === '$bigint' && /^(0|-?[1-9][0-9]*)$/.test(field)) return BigInt(field)
  }
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(whole).slice(0, 200)} is not an encoding of canonical JSON`)
}

/** `__proto__` is a key like any other. */
function setOwn(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
  else target[key] = value
}

function refuse(why: string): ConfigError {
  return new ConfigError('E_FACTOR_VALUE', `a value cannot be written as canonical JSON: ${why}`, {
    suggestions: ['Use text, numbers, booleans, null, lists and plain objects of these'],
  })
}
