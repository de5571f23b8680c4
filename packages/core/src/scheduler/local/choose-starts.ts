export interface Capacity {
  readonly cores: number
  readonly memoryMiB: number
}

/** As much of a job as the choice needs. */
export interface Candidate extends Capacity {
  /** Infinite when the job asked for none. */
  readonly walltimeMs: number
  readonly startedAt?: number
}

/** Small jobs behind a blocked one that are looked at; a bound keeps a choice cheap with 100,000 jobs in the queue. */
const BACKFILL_DEPTH = 200

/**
 * Chooses jobs to start now: first in, first out. When the first one does not fit, later ones may pass it as long as they
 * do not delay it: they end before it could start (walltimes), or use what it will not need.
 *
 * @param ready - in the order in which they wait
 */
export function chooseStarts<T extends Candidate>(
  ready: Iterable<T>,
  running: Iterable<Candidate>,
  free: Capacity,
  now: number,
  most: number,
): T[] {
  const chosen: T[] = []
  let left = free
  let spare: (Capacity & { readonly until: number }) | undefined
  let looked = 0
  for (const job of ready) {
    if (chosen.length >= most) break
    if (left.cores <= 0) break
    if (spare === undefined) {
      if (fits(job, left)) {
        chosen.push(job)
        left = minus(left, job)
      } else {
        const started = chosen.map((one) => ({ ...pick(one), startedAt: now }))
        spare = reserve(job, [...running, ...started], left, now)
      }
      continue
    }
    looked += 1
    if (looked > BACKFILL_DEPTH) break
    if (!fits(job, left)) continue
    // Two infinite times say nothing about which is later.
    if (!Number.isFinite(spare.until) || now + job.walltimeMs > spare.until) {
      if (!fits(job, spare)) continue
      spare = { ...minus(spare, job), until: spare.until }
    }
    chosen.push(job)
    left = minus(left, job)
  }
  return chosen
}

/** When the blocked job can start at the latest, and what will be left beside it then. */
function reserve(blocked: Candidate, running: readonly Candidate[], free: Capacity, now: number): Capacity & { readonly until: number } {
  const ends = running
    .map((job) => ({ at: Math.max(now, (job.startedAt ?? now) + job.walltimeMs), cores: job.cores, memoryMiB: job.memoryMiB }))
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  let left = free
  for (const end of ends) {
    left = { cores: left.cores + end.cores, memoryMiB: left.memoryMiB + end.memoryMiB }
    if (fits(blocked, left)) return { ...minus(left, blocked), until: end.at }
  }
  return { cores: 0, memoryMiB: 0, until: now }
}

function fits(job: Capacity, free: Capacity): boolean {
  return job.cores <= free.cores && job.memoryMiB <= free.memoryMiB
}

function minus(free: Capacity, job: Capacity): Capacity {
  return { cores: free.cores - job.cores, memoryMiB: free.memoryMiB - job.memoryMiB }
}

function pick({ cores, memoryMiB, walltimeMs }: Candidate): Candidate {
  return { cores, memoryMiB, walltimeMs }
}
