import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { JournalStore, type JournalStoreOptions } from '../../src/store/journal-store.js'

/** A folder that is gone after the test. */
export function scratch(): string {
  const directory = fs.mkdtempSync(join(tmpdir(), 'cahier-store-'))
  onTestFinished(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

/** In memory where there is such a place: for tests that open a journal thousands of times. */
export function fastScratch(): string {
  const memory = '/dev/shm'
  const directory = fs.mkdtempSync(join(fs.existsSync(memory) ? memory : tmpdir(), 'cahier-store-'))
  onTestFinished(() => fs.rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function eventsFile(directory: string): string {
  return join(directory, 'journal', 'events.jsonl')
}

/** A store with one fold that collects what it sees, without sequence numbers and dates. */
export async function openCollecting(
  directory: string,
  options: JournalStoreOptions & { readonly readOnly?: boolean } = {},
): Promise<{ store: JournalStore; seen: unknown[] }> {
  const store = new JournalStore(directory, options)
  const seen: unknown[] = []
  store.fold(
    ({ seq: _seq, at: _at, ...event }) => {
      seen.push(event)
    },
    { reset: () => seen.splice(0) },
  )
  try {
    await store.open({ readOnly: options.readOnly ?? false })
  } catch (error) {
    await store[Symbol.asyncDispose]()
    throw error
  }
  return { store, seen }
}

/** Waits for something that another thread or process does, without a fixed pause. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
