import { canonicalJson } from '../canonical-json.js'
import type { Level } from '../model/combination.js'

/** A level as a program reads it: a text as it is, a number as JavaScript writes it, anything else as JSON. */
export function levelText(level: Level): string {
  if (typeof level === 'string') return level
  if (typeof level === 'number' || typeof level === 'bigint' || typeof level === 'boolean') return String(level)
  return level === null ? '' : canonicalJson(level)
}
