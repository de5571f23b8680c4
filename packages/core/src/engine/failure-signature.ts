/**
 * What makes two failures the same one: outcome, exit code and the last line of stderr without what differs from job to
 * job (numbers, addresses, paths).
 */
export function failureSignature(outcome: string, exitCode: number | undefined, lastLine: string): string {
  return `${outcome}|${exitCode ?? ''}|${normaliseLine(lastLine)}`
}

function normaliseLine(line: string): string {
  return (
    line
      .trim()
      .slice(0, 500)
      .replace(/0x[0-9a-fA-F]+/g, '#')
      // Ids of combinations, in tags and in names of directories.
      .replace(/(?<![0-9A-Za-z])(?=[a-f]*\d)[0-9a-f]{8,}(?![0-9A-Za-z])/g, '#')
      .replace(/(?:\/[\w.+@-]+){2,}/g, '/…')
      .replace(/\d+(?:[.:]\d+)*/g, '#')
      .replace(/\s+/g, ' ')
  )
}

/** Counts identical failures in a row. */
export class FailureRow {
  #signature = ''
  #count = 0

  /** Returns how often this failure has now been seen in a row. */
  failed(signature: string): number {
    this.#count = signature === this.#signature ? this.#count + 1 : 1
    this.#signature = signature
    return this.#count
  }

  succeeded(): void {
    this.#count = 0
    this.#signature = ''
  }
}
