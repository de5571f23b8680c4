import type { ErrorCode } from './error-codes.js'

/** What an error carries beside its message. */
export interface ErrorDetails {
  /** Imperatives that would fix it, most likely first. */
  readonly suggestions?: readonly string[]
  /** Facts, JSON-safe. */
  readonly data?: Readonly<Record<string, unknown>>
  /** The foreign error, untouched. */
  readonly cause?: unknown
}

const BRAND = Symbol.for('@cahier/core:CampaignError')

/**
 * Every error that Cahier throws. The message says in one line what was attempted, on what, and what came back.
 *
 * @remarks Recognise it with {@link isCampaignError} or by `code`, never by `instanceof`: two copies of this module can
 * meet in one process.
 */
export class CampaignError extends Error {
  readonly code: ErrorCode
  readonly suggestions: readonly string[]
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = new.target.name
    this.code = code
    this.suggestions = details.suggestions ?? []
    this.data = details.data ?? {}
    Object.defineProperty(this, BRAND, { value: true })
  }
}

/** A campaign, a site or an option says something that cannot be done. */
export class ConfigError extends CampaignError {}
/** An adapter package is missing, broken or of another version. */
export class AdapterError extends CampaignError {}
/** A process could not be driven as asked. */
export class ProcessError extends CampaignError {}
/** A scheduler refused, or answered something that cannot be read. */
export class SchedulerError extends CampaignError {}
/** Files did not move as asked. */
export class TransferError extends CampaignError {}
/** The journal, a lock or a run directory cannot be read or written. */
export class StoreError extends CampaignError {}

/** True for an error of this or any other copy of Cahier's core. */
export function isCampaignError(error: unknown): error is CampaignError {
  return typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[BRAND] === true
}

/** One line for a value that was thrown, whatever it is. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The system's code (`ENOENT`, `ENOSPC`…) of a thrown value, if it has one. */
export function systemCodeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
