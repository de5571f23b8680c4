import { defineConfig } from 'vitest/config'

/** Tests read the sources through the export condition `@cahier/source`; no build is needed before them. */
const conditions = ['@cahier/source', 'node', 'import', 'module', 'default']

export default defineConfig({
  ssr: { resolve: { conditions } },
  resolve: { conditions },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'test/**/*.test.ts'],
    disableConsoleIntercept: true,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // One more than the cores of a small machine: many tests wait for real programs, and use no processor meanwhile.
    maxWorkers: 3,
    coverage: {
      provider: 'v8',
      include: ['packages/*/src/**/*.ts'],
      reporter: ['text-summary', 'json-summary'],
    },
  },
})
