/** How much a site has to do for a run. */
export interface SiteLoad {
  /** It takes jobs now: it answers, its queue has not refused the last ones, and its jobs do not all fail. */
  readonly takes: boolean
  /** Jobs of the run that it has, or is about to get, and that do not run yet. */
  readonly waiting: number
  /** Jobs that run there, or that ended there a moment ago. */
  readonly running: number
}

/** So many jobs may wait at a site before one of them has run. */
const FIRST_ROW = 16

/** The longest row that a site may have where there are others: one that is slow must not take all the work. */
export function longestRow(running: number): number {
  return Math.max(FIRST_ROW, 2 * running)
}

/**
 * Deals jobs to sites: each next one to the site with the fewest waiting in relation to how many run there.
 *
 * @param room - so many jobs at most
 * @returns how many each site gets, in order of the sites; a single site gets all that there is room for
 */
export function dealJobs(sites: readonly SiteLoad[], room: number): number[] {
  const given = sites.map(() => 0)
  if (sites.length === 1) return [sites[0]?.takes === true ? Math.max(0, room) : 0]
  for (let left = room; left > 0; left -= 1) {
    let best = -1
    let bestRow = Number.POSITIVE_INFINITY
    sites.forEach(({ takes, waiting, running }, index) => {
      const row = waiting + (given[index] as number)
      if (!takes || row >= longestRow(running)) return
      const length = (row + 1) / (running + 1)
      if (length < bestRow) {
        best = index
        bestRow = length
      }
    })
    if (best < 0) break
    given[best] = (given[best] as number) + 1
  }
  return given
}
