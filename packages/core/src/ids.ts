import { createHash } from 'node:crypto'
import { canonicalJson } from './canonical-json.js'
import { ConfigError } from './errors.js'

/** A combination, as far as naming it goes: factor name to level. */
type Fields = Readonly<Record<string, unknown>>

const MAX_SLUG = 120
const MAX_WORD = 40
const MAX_TAG = 60

/** The identity of a combination: SHA-256 of its canonical JSON, 64 hexadecimal digits. Key order does not count. */
export function combinationId(combination: Fields): string {
  return sha256(canonicalJson(combination))
}

/** What people see and type of an id: its first 10 digits. Enough for thousands of combinations, not for millions. */
export function shortId(id: string): string {
  return id.slice(0, 10)
}

/**
 * A directory name for a combination: `cores-8_python-3.6.3_1f3a9c0b2d`.
 *
 * Factors stand in alphabetical order, so that equal combinations have the same name. The end is the short id; it is
 * twice as long where a value had to be changed or cut, because then only the id tells such values apart.
 *
 * @returns at most 120 characters of `[A-Za-z0-9._=+-]`, first a letter, a digit, `_`, `=` or `+`
 */
export function slugOf(combination: Fields): string {
  const id = combinationId(combination)
  let faithful = true
  let words = Object.keys(combination)
    .sort()
    .map((name) => {
      const level = combination[name]
      const text = `${name}-${typeof level === 'object' ? canonicalJson(level) : String(level)}`
      const allowed = text.replace(/[^A-Za-z0-9._=+-]+/g, '-')
      const safe = allowed === text ? cut(text, MAX_WORD) : cut(allowed.replace(/-+/g, '-').replace(/-$/, ''), MAX_WORD)
      if (safe !== text) faithful = false
      return safe
    })
    .join('_')
    .replace(/^[-.]+/, '')
  const suffix = () => (faithful ? shortId(id) : id.slice(0, 20))
  if (words.length + 1 + suffix().length > MAX_SLUG) {
    faithful = false
    words = cut(words, MAX_SLUG - 1 - suffix().length)
  }
  return words === '' ? suffix() : `${words}_${suffix()}`
}

/** Which try of which work item a job is. */
export interface TagParts {
  readonly campaign: string
  /** Whole id of the combination. */
  readonly id: string
  readonly repetition: number
  readonly attempt: number
  /** Tells runs apart; letters and digits, best 6 to 12 of them, made once per run directory. */
  readonly nonce: string
}

/**
 * The name under which a job is looked up at its scheduler: `python-scaling-1f3a9c0b2d4e5f60-r2a1-x7k2m9`.
 *
 * @returns at most 60 characters of `[A-Za-z0-9_-]`, first a letter; different for different parts, except that the
 * campaign's name may be cut and the id is its first 16 digits
 */
export function makeTag(parts: TagParts): string {
  const id = /^[0-9a-f]{16,}$/.test(parts.id) ? parts.id.slice(0, 16) : sha256(parts.id).slice(0, 16)
  const nonce = /^[A-Za-z0-9]{1,16}$/.test(parts.nonce) ? parts.nonce : sha256(parts.nonce).slice(0, 16)
  const end = `-${id}-r${ordinal(parts.repetition)}a${ordinal(parts.attempt)}-${nonce}`
  const name = parts.campaign.replace(/[^A-Za-z0-9_-]+/g, '-').replace(/^[-_]+/, '')
  // Some schedulers want a letter first.
  const start = /^[A-Za-z]/.test(name) ? name : `c${name}`
  return cut(start, MAX_TAG - end.length) + end
}

/** Seven digits at most, so that a tag has room for them. */
function ordinal(count: number): string {
  if (!Number.isInteger(count) || count < 0 || count > 9_999_999) {
    throw new ConfigError('E_ARGUMENT', `a repetition or an attempt is a number from 0 to 9999999, not ${count}`)
  }
  return String(count)
}

/** Cuts to a length, leaving no separator at the end. */
function cut(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, length).replace(/[-._]+$/, '')
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}
