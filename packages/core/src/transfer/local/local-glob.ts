import { existsSync, readdirSync } from 'node:fs'
import type { ByteName } from '../../util/byte-names.js'

/** Stands for a star in an expression; no name holds it. */
const STAR = '\0'

/** True for a text in which a shell would see a pattern. */
export function isPattern(text: ByteName): boolean {
  return /[*?[]/.test(text)
}

/**
 * The files of this machine that a shell pattern stands for, sorted by bytes: `*`, `?`, `[…]`, and `\` in front of a character that
 * means itself. Names that begin with a dot are only found by patterns that do. One that fits nothing gives nothing.
 *
 * @param base - where it begins; no pattern, whatever it holds
 */
export function globHere(pattern: ByteName, base: ByteName = ''): ByteName[] {
  let found: ByteName[] = [base]
  for (const part of pattern.split('/').filter((text) => text !== '')) {
    if (!/[*?[\\]/.test(part)) {
      found = found.map((path) => `${path}/${part}`)
      continue
    }
    const expression = expressionOf(part)
    found = found.flatMap((path) =>
      namesIn(path)
        .filter((name) => fits(part, expression, name))
        .sort()
        .map((name) => `${path}/${name}`),
    )
  }
  // With a slash at the end, only directories.
  const end = pattern.endsWith('/') ? '/' : ''
  return found.filter((path) => existsSync(Buffer.from(`${path}${end}`, 'latin1')))
}

/** Whether a name is one of those that one part of a pattern, between slashes, stands for. */
export function fitsPattern(part: ByteName, name: ByteName): boolean {
  return fits(part, expressionOf(part), name)
}

function fits(part: ByteName, expression: RegExp, name: ByteName): boolean {
  return (part.startsWith('.') || !name.startsWith('.')) && expression.test(characters(name))
}

function namesIn(path: ByteName): ByteName[] {
  try {
    return readdirSync(Buffer.from(`${path}/`, 'latin1'), 'latin1')
  } catch {
    return []
  }
}

/** So that `?` is one character; bytes where the name is no UTF-8. */
function characters(name: ByteName): string {
  const bytes = Buffer.from(name, 'latin1')
  const text = bytes.toString('utf8')
  return Buffer.from(text, 'utf8').equals(bytes) ? text : name
}

/** @source glob(7) */
function expressionOf(part: ByteName): RegExp {
  const text = characters(part).replace(
    /\\(.)|\[(!|\^)?(\]?(?:\[:\w+:\]|[^\]])*)\]|[\s\S]/gu,
    (all, escaped?: string, not?: string, set?: string) => {
      if (escaped !== undefined) return literal(escaped)
      if (set !== undefined) return `[${not === undefined ? '' : '^'}${setOf(set)}]`
      if (all === '*') return STAR
      return all === '?' ? '.' : literal(all)
    },
  )
  try {
    return new RegExp(`^${withStars(text)}$`, 'su')
  } catch {
    // A set that makes no sense, as [z-a]: a shell finds nothing.
    return /$^/
  }
}

/**
 * What stands between two stars is taken where it comes first, and that is not tried otherwise (what a group in front has seen, a reference
 * takes whole): a name that fits nearly would keep a plain `.*` for years.
 */
function withStars(text: string): string {
  const [first = '', ...rest] = text.split(new RegExp(`${STAR}+`))
  const last = rest.pop()
  if (last === undefined) return first
  return `${first}${rest.map((part, at) => `(?=(.*?${part}))\\${at + 1}`).join('')}.*${last}`
}

function setOf(set: string): string {
  const classes: Readonly<Record<string, string>> = {
    alpha: '\\p{L}',
    digit: '0-9',
    alnum: '\\p{L}0-9',
    upper: '\\p{Lu}',
    lower: '\\p{Ll}',
    space: '\\s',
  }
  return set.replaceAll(/\[:(\w+):\]|[\\\][^&]/g, (all, name?: string) => (name === undefined ? `\\${all}` : (classes[name] ?? '')))
}

function literal(character: string): string {
  return character.replaceAll(/[\\^$.|+*?(){}[\]/]/g, '\\$&')
}
