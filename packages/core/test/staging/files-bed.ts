import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { ProcessSpec } from '../../src/model/process.js'
import type { ProcessBackend, RunningProcess, StartOptions } from '../../src/ports/process-backend.js'

/** A folder with a name that wants quotes, gone after the test. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "cahier it's $HOME "))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** Counts what is started through a backend. */
export class CountingBackend implements ProcessBackend {
  readonly specs: ProcessSpec[] = []
  readonly #inner: ProcessBackend

  constructor(inner: ProcessBackend) {
    this.#inner = inner
  }

  get count(): number {
    return this.specs.length
  }

  start(spec: ProcessSpec, options?: StartOptions): Promise<RunningProcess> {
    this.specs.push(spec)
    return this.#inner.start(spec, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]()
  }
}

/** Waits for something that another process does. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** A folder of programs for a machine that has this shell, and of busybox these tools. */
export function toolbox(shell: string, tools: readonly string[]): string {
  const folder = scratch()
  const path = (name: string) => spawnSync('/bin/sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).stdout.trim()
  for (const name of tools) symlinkSync(path('busybox'), join(folder, name))
  symlinkSync(path(shell), join(folder, 'sh'))
  return folder
}
