/** Counts over one process, an action or a report. Counters add up; dates are the earliest start and the latest end. */
export interface ExecutionStatistics {
  readonly name: string
  readonly startDate: Date | undefined
  /** Absent as long as a member has not ended. */
  readonly endDate: Date | undefined
  /** Where they run, each host once, in order; empty for this machine. */
  readonly hosts: readonly string[]
  readonly processes: number
  readonly started: number
  readonly ended: number
  /** Could not start, or whose fate is not known. */
  readonly errors: number
  /** Of the errors, those whose host was not reached or was lost. */
  readonly unreachable: number
  readonly timeouts: number
  readonly forcedKills: number
  /** Ended by themselves with an exit code other than 0, or by a signal that was not ours. */
  readonly nonZeroExits: number
  readonly expectFailures: number
  readonly writeErrors: number
  readonly ok: number
  readonly finishedOk: number
  readonly members: readonly ExecutionStatistics[]
}

type Counter = Exclude<keyof ExecutionStatistics, 'name' | 'startDate' | 'endDate' | 'hosts' | 'members'>

const COUNTERS: readonly Counter[] = [
  'processes',
  'started',
  'ended',
  'errors',
  'unreachable',
  'timeouts',
  'forcedKills',
  'nonZeroExits',
  'expectFailures',
  'writeErrors',
  'ok',
  'finishedOk',
]

/** Adds up what the members say. */
export function mergeStatistics(name: string, members: readonly ExecutionStatistics[], showMembers = true): ExecutionStatistics {
  const counts = Object.fromEntries(COUNTERS.map((counter) => [counter, 0])) as Record<Counter, number>
  let start: Date | undefined
  let end: Date | undefined
  let open = false
  const hosts = new Set<string>()
  for (const member of members) {
    for (const counter of COUNTERS) counts[counter] += member[counter]
    for (const host of member.hosts) hosts.add(host)
    if (member.startDate !== undefined && (start === undefined || member.startDate < start)) start = member.startDate
    if (member.endDate === undefined) open = true
    else if (end === undefined || member.endDate > end) end = member.endDate
  }
  return { name, startDate: start, endDate: open ? undefined : end, hosts: [...hosts], ...counts, members: showMembers ? members : [] }
}
