import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { portsOf } from '../../../../../test/testbed/proc.mjs'
import { type CopyOptions, copyOptionsSchema, type TransferResult } from '../../../src/model/transfer.js'
import type { TransferProgress } from '../../../src/ports/transfer.js'
import { type ChainOptions, ChainTransfer } from '../../../src/transfer/chain/chain-transfer.js'
import { type HostLab, noise, sha256 } from '../host-lab.js'

export interface ChainTrial {
  readonly options?: ChainOptions
  readonly policy?: CopyOptions
  readonly files?: readonly string[]
  readonly signal?: AbortSignal
  readonly bytes?: number
  /**
   * Once, when one of the hosts with these indexes is said to have this part of everything. It is told before anything is in its place
   * there, so that the action never comes after their end; 1: everything has come, and nothing is in its place.
   */
  readonly when?: readonly [indexes: readonly number[], part: number, action: () => void]
  readonly onProgress?: (progress: TransferProgress) => void
  readonly directories?: readonly string[]
}

export interface ChainOutcome {
  readonly results: readonly TransferResult[]
  /** Of each host. */
  readonly directories: readonly string[]
  /** `right`, `wrong`, or nothing, under the final name on each host. */
  readonly content: readonly (string | undefined)[]
  readonly file: string
}

/** A copy in the middle of which something happens must last while a machine stands still: it takes seconds, and is told ten times. */
const LIMIT = 8e6
const WATCHED_LIMIT = 2e6

/** One file to all hosts of a lab. */
export async function broadcast(lab: HostLab, trial: ChainTrial): Promise<ChainOutcome> {
  const folder = lab.newFolder()
  const file = trial.files?.[0] ?? join(folder, 'data')
  if (trial.files === undefined) writeFileSync(file, noise(trial.bytes ?? 6_000_000, Math.random() * 1e6))
  const names = lab.bed.hosts.map(({ name }) => name)
  const directories = trial.directories ?? names.map(() => lab.newFolder())
  const ends = names.map((name, index) => lab.end(name, directories[index] as string))
  let { when } = trial
  await using transfer = new ChainTransfer(lab.context, { order: 'given', ...trial.options })
  const results = await transfer.put(
    {
      files: trial.files ?? [file],
      ends,
      policy: copyOptionsSchema.parse({ limit: when === undefined ? LIMIT : WATCHED_LIMIT, ...trial.policy }),
    },
    {
      signal: trial.signal,
      onProgress: (progress) => {
        trial.onProgress?.(progress)
        if (when === undefined || !when[0].includes(progress.index) || partOf(progress) < when[1]) return
        const [, , action] = when
        when = undefined
        action()
      },
    },
  )
  const content = directories.map((directory) => {
    const path = join(directory, 'data')
    if (!existsSync(path)) return undefined
    return sha256(readFileSync(path)) === sha256(readFileSync(file)) ? 'right' : 'wrong'
  })
  return { results, directories, content, file }
}

/** What has come of everything; nothing any more when all is over. */
function partOf({ phase, bytes, total = Number.POSITIVE_INFINITY }: TransferProgress): number {
  if (phase === 'ended') return 0
  return phase === 'checking' ? 1 : bytes / total
}

/** What lies in a folder beside what was asked for. */
export function leftovers(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('.'))
}

/** Where the agents of a host listen. */
export function listeningPorts(lab: HostLab, name: string): number[] {
  return lab.bed.processes(name).flatMap(({ pid }) => portsOf(pid))
}
