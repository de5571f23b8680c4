/** JSON for programs. A level that JSON has no number for (NaN, infinities, big integers) is written as text. */
export function toJson(value: unknown): string {
  return JSON.stringify(
    value,
    (_key, inner: unknown) => {
      if (typeof inner === 'bigint') return `${inner}`
      if (typeof inner === 'number' && !Number.isFinite(inner)) return `${inner}`
      return inner
    },
    2,
  )
}
