import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { formatHost } from '../model/host.js'
import { type CopyOptions, copyOptionsSchema, type TransferResult } from '../model/transfer.js'
import type { FilePath, TransferCall, TransferEnd, TransferProgress } from '../ports/transfer.js'
import type { LabDirectory, LabHost, TransferWorld } from './transfer-types.js'

const PATIENCE_MS = 30_000

/** An end with a directory of its own. */
export interface OpenEnd extends LabDirectory {
  readonly lab: LabHost
}

/** Up to so many ends, each with a new directory; as many as the lab has. */
export function openEnds({ lab }: TransferWorld, count = 1): Promise<OpenEnd[]> {
  return Promise.all(lab.hosts.slice(0, count).map(async (host) => ({ lab: host, ...(await host.makeDirectory()) })))
}

export async function openEnd(world: TransferWorld): Promise<OpenEnd> {
  const [end] = await openEnds(world)
  ok(end !== undefined, 'the lab has no host')
  return end
}

/** The same end, looked at in a directory below the one that was opened. */
export function below(end: OpenEnd, name: string): OpenEnd {
  return { ...end, there: `${end.there}/${name}`, here: `${end.here}/${name}` }
}

export function endOf(end: { readonly lab: Pick<LabHost, 'host' | 'connection'>; readonly there: string }): TransferEnd {
  return { host: end.lab.host, connection: end.lab.connection, directory: end.there }
}

type Ends = readonly (OpenEnd | TransferEnd)[]

/** Puts files, and checks what every answer must be. */
export function put(world: TransferWorld, files: readonly FilePath[], ends: Ends, options?: CopyOptions, call?: TransferCall) {
  return transfer(world, 'put', files, ends.map(asEnd), options, call)
}

/** Fetches files into directories of this machine, one per host. */
export async function get(
  world: TransferWorld,
  files: readonly FilePath[],
  targets: readonly { readonly lab: LabHost; readonly into: string }[],
  options?: CopyOptions,
  call?: TransferCall,
): Promise<readonly TransferResult[]> {
  const ends = targets.map(({ lab, into }) => ({ host: lab.host, connection: lab.connection, directory: into }))
  const results = await transfer(world, 'get', files, ends, options, call)
  results.forEach((result, index) => {
    if (result.outcome === 'done') strictEqual(result.directory, ends[index]?.directory, 'where the files lie here is not told')
  })
  return results
}

function asEnd(end: OpenEnd | TransferEnd): TransferEnd {
  return 'lab' in end ? endOf(end) : end
}

async function transfer(
  world: TransferWorld,
  verb: 'put' | 'get',
  files: readonly FilePath[],
  ends: readonly TransferEnd[],
  options: CopyOptions = {},
  call: TransferCall = {},
): Promise<readonly TransferResult[]> {
  const request = { files, ends, policy: copyOptionsSchema.parse(options) }
  const results = await soon(world, world.transfer[verb](request, call), `the end of a ${verb}`)
  strictEqual(results.length, ends.length, `${ends.length} ends, but ${results.length} results`)
  results.forEach((result, index) => {
    const { host } = ends[index] as TransferEnd
    strictEqual(result.host, host === undefined ? undefined : formatHost(host), `the result in place ${index} is that of another host`)
    isSound(result)
  })
  return results
}

/** What every result is, whatever became of it. */
function isSound(result: TransferResult): void {
  const shown = JSON.stringify(result).slice(0, 1_000)
  const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0
  ok(isCount(result.bytes) && isCount(result.files) && isCount(result.same), `counts that are none: ${shown}`)
  ok(Number.isFinite(result.seconds) && result.seconds >= 0, `a time that is none: ${shown}`)
  ok(result.via.length > 0, 'the driver is not told')
  const isFailure = result.outcome === 'failed' || result.outcome === 'unreachable'
  strictEqual(result.error !== undefined, isFailure, `a failure has an error, and nothing else has: ${shown}`)
  if (isFailure) {
    ok(/^E_[A-Z_]+$/.test(result.error?.code ?? ''), `a failure without a code: ${shown}`)
    ok((result.error?.message.length ?? 0) > 5, `a failure that says nothing: ${shown}`)
  } else deepStrictEqual(result.failures ?? [], [], `all is well, but files failed: ${shown}`)
}

export type ExpectedFields = { readonly [Name in keyof TransferResult]?: TransferResult[Name] | undefined }

/** The fields of a result that are named in `expected` must be these. */
export function hasFields(result: TransferResult | undefined, expected: ExpectedFields): void {
  ok(result !== undefined, 'there is no result')
  const names = Object.keys(expected) as (keyof TransferResult)[]
  const found = Object.fromEntries(names.map((name) => [name, result[name]]))
  deepStrictEqual(found, expected, `wrong result: ${JSON.stringify(result).slice(0, 1_000)}`)
}

/** All was moved, and checked: so many regular files with so many bytes. */
export function isDone(result: TransferResult | undefined, files?: number, bytes?: number): void {
  hasFields(result, { outcome: 'done' })
  ok(result?.verified === 'sha256' || result?.verified === 'size', `what came was not checked: ${JSON.stringify(result)}`)
  if (files !== undefined) hasFields(result, { files })
  if (bytes !== undefined) hasFields(result, { bytes })
}

/** It failed with one of these codes, of the whole host or of one of its files. */
export function hasFailed(result: TransferResult | undefined, ...codes: readonly string[]): void {
  hasFields(result, { outcome: 'failed' })
  const found = [result?.error?.code ?? '', ...(result?.failures ?? []).map(({ code }) => code)]
  ok(
    found.some((code) => codes.includes(code)),
    `expected ${codes.join(' or ')}: ${JSON.stringify(result).slice(0, 1_000)}`,
  )
}

/** A call that must be refused before any host is asked; with one of these codes when any are named. */
export async function isRefused(world: TransferWorld, attempt: Promise<unknown>, ...codes: readonly string[]): Promise<void> {
  const outcome = await soon(
    world,
    attempt.then(
      (results) => ({ results }),
      (error: unknown) => ({ code: (error as { code?: unknown }).code, error }),
    ),
    'a refusal',
  )
  ok('code' in outcome, `it was not refused: ${JSON.stringify(outcome).slice(0, 1_000)}`)
  const { code, error } = outcome
  ok(typeof code === 'string' && code.startsWith('E_'), `refused without a code of its own: ${String(error)}`)
  if (codes.length > 0) ok(codes.includes(code), `expected ${codes.join(' or ')}, not ${code}: ${String(error)}`)
}

/** Waits for a promise that must settle, and says what did not happen when it does not. */
export async function soon<T>({ lab }: TransferWorld, promise: PromiseLike<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not happen in time`)), lab.patienceMs ?? PATIENCE_MS)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Content that nothing can shorten on its way. */
export const content = (size: number): Buffer => randomBytes(size)

/**
 * What is written where a driver is slowed down: long enough for several reports of progress, and more than is on its way to a host that
 * stands still (a channel of ssh holds 2 MiB): what has been sent is not yet there.
 */
const SLOW_BYTES = 4_500_000
/** Enough that a driver that cannot be slowed down is still at it when it is disturbed, mostly. */
const MANY_BYTES = 48_000_000

export interface Slowness {
  readonly size: number
  readonly options: CopyOptions
  /** False: the transfer may be over before anything can be done to it. */
  readonly isSure: boolean
}

/** How a transfer is made to last long enough to be disturbed. */
export function slowly({ supports }: TransferWorld): Slowness {
  return supports.limit === true
    ? { size: SLOW_BYTES, options: { limit: SLOW_BYTES * 2 }, isSure: true }
    : { size: MANY_BYTES, options: {}, isSure: false }
}

/**
 * Calls `act` once, when some content of an end is there and some is not.
 *
 * @param isReady - what must hold as well
 */
export function inTheMiddle(
  act: () => void,
  index = 0,
  isReady = () => true,
): { readonly onProgress: (progress: TransferProgress) => void; hasActed(): boolean } {
  let acted = false
  return {
    onProgress: (progress) => {
      const { total = Number.POSITIVE_INFINITY } = progress
      if (acted || progress.index !== index || progress.phase !== 'moving' || progress.bytes <= 0 || progress.bytes >= total) return
      if (!isReady()) return
      acted = true
      act()
    },
    hasActed: () => acted,
  }
}
