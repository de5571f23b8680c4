import { setMaxListeners } from 'node:events'
import { accessSync, constants, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isCampaignError, messageOf, systemCodeOf, TransferError } from '../errors.js'
import type { TransferResult } from '../model/transfer.js'
import type { Transfer, TransferProgress } from '../ports/transfer.js'
import { LocalBackend } from '../process/local-backend.js'
import { systemClock } from '../system/clock.js'
import type { DriverChoice } from '../transfer/auto-transfer.js'
import type { TransferContext } from '../transfer/context.js'
import { makeTransfer } from '../transfer/drivers.js'
import { targetError } from '../transfer/local/file-faults.js'
import { connectionPool, PROGRAM_LOGGER } from './connections.js'
import { adviseTarget } from './transfer-advice.js'
import { isBuiltIn, nameOfVia, type TransferOptions } from './transfer-options.js'
import type { PlannedRequest, TransferDirection } from './transfer-plan.js'

export type { DriverChoice } from '../transfer/auto-transfer.js'

/** Hosts at a time when nothing else is said. */
const DEFAULT_CONCURRENCY = 16

export interface RunInput {
  readonly options: TransferOptions
  readonly isBroadcast: boolean
  readonly signal: AbortSignal
  readonly onChoice: (choice: DriverChoice) => void
  /** Once for each position, as its host ends. */
  readonly onResult: (position: number, result: TransferResult) => void
  readonly onProgress: (position: number, progress: Omit<TransferProgress, 'index' | 'result'>) => void
}

/**
 * Does what was planned.
 *
 * @throws what no host can change, before any was asked: TransferError `E_SOURCE_*`, `E_TARGET_*` of this machine, ConfigError
 * `E_NOT_SUPPORTED`, AdapterError
 */
export async function runTransfer(direction: TransferDirection, requests: readonly PlannedRequest[], input: RunInput): Promise<void> {
  if (direction === 'get')
    for (const { request } of requests)
      checkTargets(
        request.ends.map(({ directory }) => directory),
        request.policy,
      )
  // Every host listens to it.
  setMaxListeners(0, input.signal)
  const { via } = input.options
  const concurrency = input.options.concurrency ?? DEFAULT_CONCURRENCY
  const width = Math.min(requests.length, concurrency)
  const transfer = typeof via === 'object' ? via : await openTransfer(input, Math.max(1, Math.floor(concurrency / width)))
  try {
    const waiting = requests[Symbol.iterator]()
    const worker = async (): Promise<void> => {
      for (const planned of waiting) await runRequest(direction, planned, transfer, input)
    }
    const ends = await Promise.allSettled(Array.from({ length: width }, worker))
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  } finally {
    if (typeof via !== 'object') await transfer[Symbol.asyncDispose]()
  }
}

async function runRequest(direction: TransferDirection, planned: PlannedRequest, transfer: Transfer, input: RunInput): Promise<void> {
  const { request, positions } = planned
  if (input.signal.aborted) {
    for (const position of positions.flat()) input.onResult(position, neverBegun(input))
    return
  }
  const tell = (result: TransferResult, index: number): void => {
    const told = direction === 'put' ? adviseTarget(result, request, request.ends[index]?.directory) : result
    for (const position of positions[index] ?? []) input.onResult(position, told)
  }
  try {
    const results = await transfer[direction](request, {
      signal: input.signal,
      onProgress: ({ index, phase, bytes, total, result }) => {
        if (result !== undefined) tell(result, index)
        for (const position of positions[index] ?? []) {
          input.onProgress(position, { phase, bytes, total })
        }
      },
    })
    results.forEach(tell)
  } catch (error) {
    // Before a host was asked, as while the files here are looked at.
    if (!input.signal.aborted || error !== input.signal.reason) throw error
    for (const position of positions.flat()) input.onResult(position, neverBegun(input))
  }
}

function neverBegun({ options, signal }: RunInput): TransferResult {
  const error = { code: 'E_ABORTED', message: messageOf(signal.reason) }
  const nothing = { bytes: 0, files: 0, same: 0, seconds: 0, verified: 'none' as const }
  return { host: undefined, outcome: 'failed', ...nothing, via: nameOfVia(options.via), error }
}

async function openTransfer(input: RunInput, concurrency: number): Promise<Transfer> {
  const { via = 'auto', over } = input.options
  const context: TransferContext = { pool: connectionPool, processes: new LocalBackend(), log: PROGRAM_LOGGER, clock: systemClock }
  const name = via as string
  if (!isBuiltIn(name)) return await openAdapter(name, input.options)
  return await makeTransfer(name, context, { concurrency, over, broadcast: input.isBroadcast, onChoice: input.onChoice })
}

/** Nothing of adapters is loaded for what core does itself. */
async function openAdapter(name: string, { adapters, adapterOptions }: TransferOptions): Promise<Transfer> {
  const { ADAPTER_HOST, ADAPTERS, campaignScope, programScope } = await import('../di/wiring.js')
  const program = programScope()
  const site = { scheduler: 'local', options: {} }
  const scope = campaignScope(program, { directory: process.cwd(), site, adapters, log: PROGRAM_LOGGER })
  return await scope.resolve(ADAPTERS).createTransfer(name, adapterOptions ?? {}, scope.resolve(ADAPTER_HOST))
}

/** A directory of this machine that cannot be written would fail for every host, after all the work. */
function checkTargets(directories: readonly string[], { create }: { readonly create: boolean }): void {
  for (const directory of new Set(directories)) {
    try {
      const place = create ? nearestDirectory(directory) : directory
      if (!statSync(place).isDirectory()) throw new TransferError('E_TARGET_KIND', `${place} is not a directory`)
      accessSync(place, constants.W_OK | constants.X_OK)
    } catch (error) {
      throw explain(directory, error)
    }
  }
}

function nearestDirectory(directory: string): string {
  for (let at = directory; ; at = dirname(at)) {
    try {
      statSync(at)
      return at
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT' || dirname(at) === at) throw error
    }
  }
}

function explain(directory: string, error: unknown): unknown {
  if (isCampaignError(error)) return error
  if (systemCodeOf(error) === 'ENOENT') {
    return new TransferError('E_TARGET_MISSING', `the directory ${directory} does not exist on this machine`, {
      suggestions: ['Make it, or ask for it to be made: create (--create)'],
      cause: error,
    })
  }
  return targetError(error, `files cannot be written into ${directory} on this machine`)
}
