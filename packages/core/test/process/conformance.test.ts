import { execFileSync } from 'node:child_process'
import { afterAll, describe, test } from 'vitest'
import { type ProcessSupports, registerProcesses } from '../../src/conformance/index.js'
import type { ProcessBackend } from '../../src/ports/process-backend.js'
import { HelperBackend } from '../../src/process/helper-backend.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { findRunner } from '../../src/process/runner/runner-program.js'
import { makeProcessLab } from './process-lab.js'
import { ALL_PROMISES, SHELL_PROMISES } from './process-promises.js'

interface Subject {
  readonly name: string
  readonly make: () => ProcessBackend
  readonly supports: Partial<ProcessSupports>
  readonly needs?: string
}

const SUBJECTS: readonly Subject[] = [
  { name: 'LocalBackend', make: () => new LocalBackend(), supports: ALL_PROMISES },
  { name: 'HelperBackend with perl', make: () => new HelperBackend({ runner: findRunner('perl') }), supports: ALL_PROMISES, needs: 'perl' },
  {
    name: 'HelperBackend with dash',
    make: () => new HelperBackend({ runner: findRunner('sh', ['dash']) }),
    supports: SHELL_PROMISES,
    needs: 'dash',
  },
  {
    name: 'HelperBackend with busybox sh',
    make: () => new HelperBackend({ runner: findRunner('sh', ['busybox', 'sh']) }),
    supports: SHELL_PROMISES,
    needs: 'busybox',
  },
]

for (const { name, make, supports, needs } of SUBJECTS) {
  const missing = needs !== undefined && !has(needs)
  describe.skipIf(missing)(`${name}${missing ? ` (needs ${needs})` : ''} keeps the promises of a process backend`, () => {
    const lab = makeProcessLab()
    afterAll(() => lab[Symbol.dispose]())
    registerProcesses({ test, subject: () => Promise.resolve(make()), lab, supports })
  })
}

function has(program: string): boolean {
  try {
    execFileSync('/bin/sh', ['-c', `command -v ${program}`])
    return true
  } catch {
    return false
  }
}
