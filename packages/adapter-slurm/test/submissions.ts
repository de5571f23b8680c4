import type { Submission } from '@cahier/core/spi'
import { slurmDialect } from '../src/dialect.js'
import { type SlurmJobOptions, slurmOptions } from '../src/options.js'

export const dialectWith = (options: Record<string, unknown> = {}) => slurmDialect(slurmOptions.parse(options))

export function submission(parts: Partial<Omit<Submission, 'options'>> & { readonly options?: Partial<SlurmJobOptions> } = {}): Submission {
  const { options = {}, ...rest } = parts
  return {
    tag: 'scan-1f3a9c-r1-a1',
    name: 'scan',
    directory: '/runs/r1-a1',
    scriptFile: '/runs/r1-a1/wrapper.sh',
    logFile: '/runs/r1-a1/scheduler.log',
    resources: {},
    dependencies: [],
    userLines: [],
    graceMs: 10_000,
    options: { extra: [], ...options },
    ...rest,
  }
}
