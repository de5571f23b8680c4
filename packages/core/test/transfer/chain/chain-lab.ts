import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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
  /** Once, when the host with this index has this part of everything. */
  readonly when?: readonly [index: number, part: number, action: () => void]
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
    { files: trial.files ?? [file], ends, policy: copyOptionsSchema.parse({ limit: 8e6, ...trial.policy }) },
    {
      signal: trial.signal,
      onProgress: (progress) => {
        trial.onProgress?.(progress)
        if (when === undefined || progress.index !== when[0] || progress.bytes < when[1] * (progress.total ?? Number.POSITIVE_INFINITY))
          return
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

/** What lies in a folder beside what was asked for. */
export function leftovers(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith('.'))
}

/** Where agents listen: ports of the addresses of hosts, but for that of their ssh servers. @source proc(5), /proc/net/tcp */
export function listeningPorts(address: string, sshPort: number): number[] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
  const hex = [d, c, b, a].map((part) => part.toString(16).padStart(2, '0').toUpperCase()).join('')
  return readFileSync('/proc/net/tcp', 'latin1')
    .split('\n')
    .map((line) => /^\s*\d+: ([0-9A-F]{8}):([0-9A-F]{4}) \S+ 0A /.exec(line))
    .filter((found) => found?.[1] === hex)
    .map((found) => Number.parseInt(found?.[2] ?? '', 16))
    .filter((port) => port !== sshPort)
}
