import { relative } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Tests read the sources through the export condition `@cahier/source`; no build is needed before them. */
const conditions = ['@cahier/source', 'node', 'import', 'module', 'default']

/** What lasts long, longest first: it begins early, so that nothing is left to run alone at the end. The rest goes by size. */
const SLOW = [
  'packages/adapter-slurm/test/conformance-accounting',
  'test/docs/pages',
  'packages/core/test/process/remote-conformance',
  'packages/adapter-slurm/test/conformance',
  'packages/cli/test/jobs',
  'packages/core/test/process/conformance',
  'packages/cli/test/slurm',
  'test/e2e/slurm-',
  'packages/cli/test/start',
  'packages/core/test/process/remote-sshd',
  'packages/core/test/template/hostile',
  'packages/core/test/process/deaths',
  'packages/core/test/transfer/chain/chain-transfer',
  'packages/transfer-taktuk/test/conformance',
  'test/e2e/',
  'packages/cli/test/',
  'test/mutants/',
  'test/testbed/',
  'packages/core/test/scheduler/batch/conformance',
  'packages/core/test/transfer/conformance',
]

class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const name = relative(this.ctx.config.root, moduleId)
      const index = SLOW.findIndex((start) => name.startsWith(start))
      return index < 0 ? SLOW.length : index
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  ssr: { resolve: { conditions } },
  resolve: { conditions },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'test/**/*.test.ts'],
    disableConsoleIntercept: true,
    // For a machine that is ten times slower than a quiet one; what hangs is told all the same.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // What is waited for is done by real programs, which are kept waiting themselves.
    expect: { poll: { timeout: 20_000 } },
    // Two more than the cores of a small machine: many tests wait for real programs, and use no processor meanwhile.
    maxWorkers: 4,
    sequence: { sequencer: SlowestFirst },
    coverage: {
      provider: 'v8',
      include: ['packages/*/src/**/*.ts'],
      reporter: ['text-summary', 'json-summary'],
    },
  },
})
