import type { Logger } from '../ports/logger.js'

const SILENT: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => SILENT }

let current: Logger = SILENT

/**
 * Says where processes and actions log: one `warn` for each that failed, with everything needed to understand it; `debug` for
 * the others. Until this is called they are silent. `undefined` makes them silent again.
 */
export function setLogger(logger: Logger | undefined): void {
  current = logger ?? SILENT
}

export function processLogger(): Logger {
  return current
}
