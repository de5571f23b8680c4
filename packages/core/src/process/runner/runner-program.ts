import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The version that a runner says in its hello. */
export const RUNNER_PROTOCOL = 2

export type RunnerKind = 'perl' | 'sh'

export interface RunnerProgram {
  readonly kind: RunnerKind
  readonly command: readonly [string, ...string[]]
}

const assets = fileURLToPath(new URL('../../../assets/', import.meta.url))

/** The runner of this machine: perl when there is one, else the POSIX shell. */
export function findRunner(kind: RunnerKind | 'auto' = 'auto', shell: readonly [string, ...string[]] = ['/bin/sh']): RunnerProgram {
  const perl = kind === 'sh' ? undefined : inPath('perl')
  if (perl !== undefined) return { kind: 'perl', command: [perl, join(assets, 'runner.pl')] }
  return { kind: 'sh', command: [...shell, join(assets, 'runner.sh')] }
}

function inPath(name: string): string | undefined {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    if (folder === '') continue
    const file = join(folder, name)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Next folder.
    }
  }
  return undefined
}
