import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { type CampaignOptions, defineCampaign } from '../../../src/api/campaign.js'
import { type RunCampaignOptions, runCampaign } from '../../../src/api/run/run-campaign.js'
import { systemCodeOf } from '../../../src/errors.js'
import type { RunSummary } from '../../../src/model/run.js'
import { MemoryScheduler, type PlayedJob } from '../../../src/testing/memory-scheduler.js'

/** Only root may mount; a container may forbid it all the same. */
export const canMount = (() => {
  if (process.getuid?.() !== 0) return false
  const directory = mkdtempSync(join(tmpdir(), 'cahier-mount-'))
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'cahier-test', directory]).status === 0
  if (isMounted) execFileSync('umount', ['-l', directory])
  rmSync(directory, { recursive: true, force: true })
  return isMounted
})()

/** A folder that is gone after the test. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'cahier-run-'))
  // The daemon of a queue may be writing there until it notices.
  onTestFinished(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 }))
  return directory
}

/** A file system of its own, unmounted before its folder is removed. */
export function smallDisk(size: string): string {
  const directory = scratch()
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'cahier-test', directory])
  onTestFinished(() => void execFileSync('umount', ['-l', directory]))
  return directory
}

export function remount(directory: string, options: string): void {
  execFileSync('mount', ['-o', `remount,${options}`, directory])
}

/** Uses up what is free, to the last block. */
export function fill(file: string): void {
  const descriptor = openSync(file, 'w')
  try {
    for (;;) writeSync(descriptor, Buffer.alloc(4096))
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOSPC') throw error
  } finally {
    closeSync(descriptor)
  }
}

export const site = { name: 'test', scheduler: 'memory', options: {}, modules: [] }
const timing = { graceMs: 30, settleGraceMs: 30, pollMs: 2 }

export const levelOf = (job: { readonly environment?: Readonly<Record<string, string>> }): number =>
  Number(job.environment?.['CAHIER_FACTOR_n'])

/** The squares of 1, 2, 3 and 4. */
export const squares = (more: Partial<CampaignOptions<{ n: number[] }>> = {}) =>
  defineCampaign({
    name: 'squares',
    factors: { n: [1, 2, 3, 4] },
    job: { command: ['expr', '{{ n }}'] },
    results: { square: { type: 'integer', positive: true } },
    collect: { square: { from: 'stdout', pattern: 'square=(\\S+)' } },
    ...more,
  } as CampaignOptions<{ n: number[] }>)

/** A scheduler whose jobs do what {@link squares} expects and write themselves into a ledger. */
export function squaring(ledger: number[] = [], more: (n: number) => PlayedJob = () => ({})): MemoryScheduler {
  return new MemoryScheduler({
    play: (job) => {
      const n = levelOf(job)
      ledger.push(n)
      return { stdout: `square=${n * n}\n`, ...more(n) }
    },
  })
}

export async function runSquares(
  directory: string,
  scheduler: MemoryScheduler,
  options: Partial<RunCampaignOptions> = {},
): Promise<RunSummary> {
  return await runCampaign({ campaign: squares(), directory, site, scheduler, timing, ...options })
}

export const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1)

/** Waits until the scheduler has so many jobs and has been asked about them. */
export async function untilSubmitted(scheduler: MemoryScheduler, jobs: number): Promise<void> {
  const isSeen = (): boolean => scheduler.entries.length >= jobs && scheduler.entries.every(({ state }) => state !== 'pending')
  while (!isSeen()) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** Jobs that were stuck begin again, with what they are told to do now. */
export function unstick(scheduler: MemoryScheduler): void {
  for (const entry of scheduler.entries) if (entry.state === 'running') entry.state = 'pending'
}

export const canceledStates = (scheduler: MemoryScheduler): unknown[] => scheduler.entries.map(({ end }) => end)
