import { wrapLine } from './table.js'

/** What is shown of a thrown value. */
export interface ShownError {
  /** `undefined` for an error that Cahier does not know. */
  readonly code: string | undefined
  readonly message: string
  readonly suggestions: readonly string[]
  readonly data: Readonly<Record<string, unknown>> | undefined
  /** One line for each cause, outermost first. */
  readonly causes: readonly string[]
}

/** Reads the fields of an error, whichever copy of core or of oclif made it. */
export function readError(error: unknown): ShownError {
  const { code, message, suggestions, data, oclif } = (error ?? {}) as Record<string, unknown>
  const text = typeof message === 'string' && message !== '' ? message : String(error)
  const known = typeof code === 'string' && code.startsWith('E_')
  const isUsage = typeof oclif === 'object' && oclif !== null
  const tips = Array.isArray(suggestions) ? suggestions.map(String) : []
  return {
    code: known ? code : undefined,
    message: text,
    suggestions: known || isUsage ? tips : ['This is probably a fault of Cahier: run it again with --debug to see where'],
    data: known && typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : undefined,
    causes: causesOf(error),
  }
}

export interface ErrorTextOptions {
  readonly debug?: boolean
  /** Columns of the terminal; default: lines as long as they are. */
  readonly width?: number | undefined
}

/** The lines of an error for a person; the causes only when asked for. */
export function formatError(error: unknown, { debug = false, width }: ErrorTextOptions = {}): string {
  const { code, message, suggestions, causes } = readError(error)
  const said = `Error${code === undefined ? '' : ` ${code}`}: ${message}`.split('\n')
  const lines = [...said, ...suggestions.map((tip) => `  Try: ${tip}`)].map((line) => wrapLine(line, width))
  if (debug) {
    lines.push(...causes.map((cause) => `  Cause: ${cause}`))
    if (error instanceof Error && error.stack !== undefined) lines.push(error.stack)
  } else if (causes.length > 0) {
    lines.push('  See the cause with --debug')
  }
  return lines.join('\n')
}

function causesOf(error: unknown): readonly string[] {
  const causes: string[] = []
  let at = (error as { cause?: unknown } | null | undefined)?.cause
  // A bound, since nothing keeps a foreign error from being its own cause.
  while (at !== undefined && at !== null && causes.length < 10) {
    causes.push(at instanceof Error ? `${at.name}: ${at.message}` : String(at))
    at = (at as { cause?: unknown }).cause
  }
  return causes
}
