/** The name of a job, or of a part of an array that SLURM folds into one line. */
export interface ReadId {
  readonly nativeId: string
  readonly elements?: readonly (readonly [number, number])[]
}

/** One element of an array more than SLURM ever counts: what stands behind `...` in a name that it cut. */
const LAST_ELEMENT = 4_294_967_293
/** Ranges of one line; more than any array has elements that SLURM takes by default. */
const MOST_RANGES = 1_000_000

/**
 * Reads the name of a job: `1234`, `1234_7`, and what waits of an array: `1234_[5-900%10]`, `1234_[1,3,7-9:2]`.
 *
 * @returns ranges with both ends included, in order; `undefined` for what is no name, and for parts of heterogeneous jobs (`4+1`), which are never ours
 * @source squeue(1), Slurm 22.05: "Job array: `<base_job_id>_<index>`"; SLURM_BITSTR_LEN for `...`; transcripts/slurm-22.05/squeue.txt
 */
export function readId(text: string): ReadId | undefined {
  const found = /^([1-9]\d{0,15})(?:_(?:(\d{1,10})|\[([\d,:.%-]{1,9999999})\]))?$/.exec(text.trim())
  if (found === null) return undefined
  const [, job, element, list] = found
  if (element !== undefined) return { nativeId: `${job}_${element}` }
  if (list === undefined) return { nativeId: job! }
  const elements = readElements(list)
  return elements === undefined ? undefined : { nativeId: job!, elements }
}

/** Reads `5-900%10`, `1,3,7-9:2`, `1,3,...`. */
function readElements(list: string): (readonly [number, number])[] | undefined {
  const ranges: (readonly [number, number])[] = []
  for (const part of list.replace(/%\d*$/, '').split(',')) {
    if (part === '...') {
      ranges.push([(ranges.at(-1)?.[1] ?? -1) + 1, LAST_ELEMENT])
      continue
    }
    const found = /^(\d{1,10})(?:-(\d{1,10})(?::(\d{1,10}))?)?$/.exec(part)
    if (found === null) return undefined
    const first = Number(found[1])
    const last = Number(found[2] ?? first)
    const step = Number(found[3] ?? 1)
    if (last < first || step < 1) return undefined
    if (step === 1) ranges.push([first, last])
    else {
      if ((last - first) / step > MOST_RANGES - ranges.length) return undefined
      for (let each = first; each <= last; each += step) ranges.push([each, each])
    }
    if (ranges.length > MOST_RANGES) return undefined
  }
  return ranges.length === 0 ? undefined : ranges
}

/** Names of jobs with elements of one array folded: `7`, `1234_[0-3,9]`. The order of first mention is kept. */
export function foldIds(ids: readonly string[]): string[] {
  const arrays = new Map<string, number[] | undefined>()
  for (const id of ids) {
    const found = /^(\d+)_(\d+)$/.exec(id)
    if (found === null) arrays.set(id, undefined)
    else {
      const known = arrays.get(found[1]!)
      if (known !== undefined) known.push(Number(found[2]))
      // The whole array is named as well: that says it all.
      else if (!arrays.has(found[1]!)) arrays.set(found[1]!, [Number(found[2])])
    }
  }
  return [...arrays].map(([id, elements]) => (elements === undefined ? id : `${id}_${foldElements(elements)}`))
}

function foldElements(elements: readonly number[]): string {
  const sorted = [...new Set(elements)].sort((a, b) => a - b)
  if (sorted.length === 1) return String(sorted[0])
  const parts: string[] = []
  for (let at = 0; at < sorted.length; ) {
    let end = at
    while (sorted[end + 1] === sorted[end]! + 1) end++
    parts.push(end === at ? String(sorted[at]) : `${sorted[at]}-${sorted[end]}`)
    at = end + 1
  }
  return `[${parts.join(',')}]`
}
