import { batchOptionFields, nearestName, parseSizeMiB, z } from '@cahier/core/spi'
import { readDirectives } from './directives.js'

/** A directive is one line: what ends a line ends the value. */
const text = z
  .string()
  .min(1)
  .refine((value) => !/[\x00-\x1f\x7f]/.test(value), 'a value has no line ends and no control characters')
const word = text.refine((value) => !/\s/.test(value), 'a value without blanks is wanted')

/** What a job may be given beyond resources, queue and account. Every key is a directive of sbatch. */
export const slurmJobFields = {
  qos: word.optional().meta({ description: 'quality of service to run under (--qos)' }),
  constraint: text.optional().meta({ description: 'features that the nodes must have, `avx512&ib` (--constraint)' }),
  reservation: word.optional().meta({ description: 'reservation to run in (--reservation)' }),
  licenses: word.optional().meta({ description: 'licenses to wait for, `matlab:2` (--licenses)' }),
  gres: word.optional().meta({ description: 'other resources of each node, `shard:4`; GPUs are given in `resources` (--gres)' }),
  tasksPerNode: z
    .int()
    .positive()
    .optional()
    .meta({ description: 'processes on one node at most; default: spread evenly (--ntasks-per-node)' }),
  memPerCpu: z
    .string()
    .refine(isSize, 'a size with its unit is wanted: 2GiB')
    .optional()
    .meta({ description: 'memory for each core, `2GiB`, where `memory` says nothing (--mem-per-cpu)' }),
  exclusive: z
    .union([z.boolean(), z.enum(['user', 'mcs'])])
    .optional()
    .meta({ description: 'true: no other job on its nodes; `user`: none of others (--exclusive); default false' }),
  begin: word.optional().meta({ description: 'not before, `2026-12-01T20:00` or `now+1hour` (--begin)' }),
  nice: z.int().optional().meta({ description: 'less priority when positive (--nice); default 0' }),
  requeue: z
    .boolean()
    .optional()
    .meta({ description: 'true or false: SLURM may start it again after a node failure or a preemption; default: what the site has' }),
  mailUser: word.optional().meta({ description: 'address for mail about the job (--mail-user)' }),
  mailType: z
    .union([word, z.array(word).min(1)])
    .optional()
    .meta({ description: 'when to mail: BEGIN, END, FAIL, TIME_LIMIT_90, … (--mail-type); with thousands of jobs, thousands of mails' }),
  comment: text.optional().meta({ description: 'comment of the job, any text (--comment); default: the tag of the job' }),
  arrayThrottle: z.int().positive().optional().meta({ description: 'elements of one array that run at a time; default: no limit' }),
  singleton: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,128}$/, 'letters, digits and _.- are wanted')
    .optional()
    .meta({ description: 'a name: of your jobs with this name one runs at a time (--dependency=singleton)' }),
  extra: z
    .array(
      text.refine((line) => faultOfExtra(line) === undefined, { error: (issue) => faultOfExtra(String(issue.input)) ?? 'not understood' }),
    )
    .default([])
    .meta({
      description: 'more directives as they are, `--hint=nomultithread`; they win over all other options, and a script’s own win over them',
    }),
} as const

export const slurmJobOptions = z.strictObject(slurmJobFields)

/** The options of a site whose scheduler is SLURM. */
export const slurmOptions = z.strictObject({
  ...batchOptionFields,
  ...slurmJobFields,
  cluster: z
    .string()
    .regex(/^[A-Za-z0-9_.-]+$/, 'the name of one cluster is wanted')
    .optional()
    .meta({ description: 'cluster to use where the login node has several (-M); needs the accounting service; default: its own' }),
})

export type SlurmOptions = z.output<typeof slurmOptions>
export type SlurmJobOptions = z.output<typeof slurmJobOptions>

/**
 * Checks the options of one job, over those of its site.
 *
 * @param site - the options that the dialect was made with; a value of theirs that comes back with a job's is none of the job's
 * @returns the complete set, or one line that says what is wrong
 */
export function checkJobOptions(
  site: SlurmOptions,
  job: Readonly<Record<string, unknown>>,
): { readonly options: SlurmJobOptions } | { readonly fault: string; readonly suggestions?: readonly string[] } {
  const own = Object.fromEntries(Object.entries(job).filter(([key, value]) => value !== undefined && !isOfSite(site, key, value)))
  const siteOnly = Object.keys(own).find((key) => key in slurmOptions.shape && !(key in slurmJobFields))
  if (siteOnly !== undefined)
    return {
      fault: `the option "${siteOnly}" is one of a site, not of a job`,
      suggestions: [`Set "${siteOnly}" in the site’s options in cahier.config`],
    }
  const unknown = Object.keys(own).find((key) => !(key in slurmJobFields))
  if (unknown !== undefined) return unknownOption(unknown)
  const defaults = Object.fromEntries(Object.entries(site).filter(([key, value]) => key in slurmJobFields && value !== undefined))
  const parsed = slurmJobOptions.safeParse({ ...defaults, ...own })
  if (parsed.success) return { options: parsed.data }
  const issue = parsed.error.issues[0]!
  return { fault: `the option "${issue.path.join('.')}" of the job is wrong: ${issue.message}` }
}

function isOfSite(site: SlurmOptions, key: string, value: unknown): boolean {
  return key in site && site[key as keyof SlurmOptions] === value
}

function unknownOption(name: string) {
  const known = Object.keys(slurmJobFields)
  const nearest = nearestName(name, known)
  return {
    fault: `SLURM jobs have no option "${name}"${nearest === undefined ? '' : `, but one "${nearest}"`}`,
    suggestions: [nearest === undefined ? `Known options: ${known.join(', ')}` : `Write "${nearest}"`],
  }
}

function isSize(value: string): boolean {
  try {
    return parseSizeMiB(value) > 0
  } catch {
    return false
  }
}

/** An extra line with its marker, as it stands in a script. */
export function extraLine(line: string): string {
  return line.startsWith('#SBATCH') ? line : `#SBATCH ${line}`
}

function faultOfExtra(line: string): string | undefined {
  const read = readDirectives(`#!/bin/sh\n${extraLine(line)}\n`)
  return read.fault ?? read.ignored[0]?.why
}
