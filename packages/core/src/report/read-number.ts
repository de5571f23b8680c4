const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
/** Fortran: `1.5D-03`, `2.5Q+10`, and `0.123-104`, where an exponent of three digits leaves no room for its letter. */
const FORTRAN = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[dDqQ]([+-]?\d+)|([+-]\d{3}))$/
const SPECIAL: Readonly<Record<string, number>> = { nan: Number.NaN, inf: Infinity, infinity: Infinity }

/**
 * Reads a number as C, Python and Fortran print it, whole text or nothing: no unit, no thousands separator, no list.
 *
 * @returns undefined when the text is not exactly one number
 */
export function readNumber(text: string): number | undefined {
  const word = text.trim()
  if (DECIMAL.test(word)) return Number(word)
  const fortran = FORTRAN.exec(word)
  if (fortran !== null) return Number(`${fortran[1]}e${fortran[2] ?? fortran[3]}`)
  const special = /^([+-]?)(nan|inf|infinity)$/i.exec(word)
  if (special === null) return undefined
  return (special[1] === '-' ? -1 : 1) * SPECIAL[special[2]!.toLowerCase()]!
}

/** Reads a truth value as Python, C++ and Fortran print it: `true`, `False`, `T`, `.false.`. */
export function readBoolean(text: string): boolean | undefined {
  const word = text.trim().toLowerCase()
  if (['true', 't', '.true.'].includes(word)) return true
  if (['false', 'f', '.false.'].includes(word)) return false
  return undefined
}
