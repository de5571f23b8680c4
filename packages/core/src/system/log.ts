import pino from 'pino'
import { isCampaignError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { Logger } from '../ports/logger.js'
import { systemClock } from './clock.js'
import { type LineSink, LogDestination } from './log-destination.js'

export type { LineSink } from './log-destination.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LoggerOptions {
  /** A file that gets every line from `debug` up, one JSON object each. It and its folder are made with the first line. */
  readonly file?: string | undefined
  /** Gets what a person would write in a lab notebook. A library never writes to stdout: the caller says where. */
  readonly terminal?: LineSink | undefined
  /** The lowest level that the terminal shows. Default `info`. */
  readonly level?: LogLevel | undefined
  readonly clock?: Clock | undefined
}

/** A logger that owns its file. */
export interface OpenLogger extends Logger, Disposable {
  /** Lines that could not be written (disk full, quota). A log that cannot be written does not end a run. */
  readonly dropped: number
}

/** Names whose values never reach a log, at the top of the fields or up to two levels inside. */
const SECRET_NAMES = ['password', 'passphrase', 'secret', 'apiKey', 'privateKey', 'authorization', 'accessToken', 'credentials']

const LEVELS: Record<LogLevel, number> = { debug: 20, info: 30, warn: 40, error: 50 }

/**
 * Makes a logger whose lines are in the file when the call returns.
 *
 * @remarks pino's own asynchronous destination loses what it still holds when the process exits, so ours is synchronous.
 */
export function makeLogger({ file, terminal, level = 'info', clock = systemClock }: LoggerOptions = {}): OpenLogger {
  const destination = new LogDestination({ file, terminal, terminalLevel: LEVELS[level] })
  const lowest = file !== undefined ? 'debug' : terminal !== undefined ? level : 'silent'
  const log = pino(
    {
      level: lowest,
      base: null,
      timestamp: () => `,"time":"${new Date(clock.now()).toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_NAMES.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[secret]' },
      serializers: { error: describeError, err: describeError, cause: describeError },
    },
    destination,
  )
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    child: (bindings) => log.child(bindings),
    get dropped() {
      return destination.dropped
    },
    [Symbol.dispose]: () => destination.close(),
  }
}

/** Says nothing. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
}

/** An error as a line of the log shows it: what was said, and each cause below it. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error) && !isCampaignError(error)) return error
  const { code, data, suggestions } = error as { code?: unknown; data?: unknown; suggestions?: unknown }
  return {
    name: error.name,
    message: error.message,
    ...(code === undefined ? {} : { code }),
    ...(data === undefined ? {} : { data }),
    ...(suggestions === undefined ? {} : { suggestions }),
    stack: error.stack,
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  }
}
