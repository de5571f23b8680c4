import { z } from 'zod'
import type { Combination, Level } from './combination.js'

/**
 * The schema of a campaign file, the same for TypeScript, JavaScript and YAML.
 *
 * Functions are accepted wherever TypeScript or JavaScript can say more than data; YAML has a textual form for each of
 * them. `docs/reference/campaign.schema.json` is made from it (functions left out).
 */

const fn = <F extends (...args: never[]) => unknown>() => z.custom<F>((value) => typeof value === 'function', 'expected a function')

const level: z.ZodType<Level> = z.lazy(() =>
  z.union([
    z.string(),
    z.number(),
    z.nan(),
    z.literal(Infinity),
    z.literal(-Infinity),
    z.bigint(),
    z.boolean(),
    z.null(),
    z.array(level),
    z.record(z.string(), level),
  ]),
)

/** Levels as a list, or sub-factors by level: `{ cg: { tol: [1e-3, 1e-6] }, direct: {} }`; or a generator in words, for YAML. */
export type FactorSpec = readonly Level[] | { readonly [level: string]: FactorsSpec } | FactorGenerator
export interface FactorsSpec {
  readonly [factor: string]: FactorSpec
}
export type FactorGenerator =
  | { readonly geom: readonly [number, number, number] }
  | { readonly igeom: readonly [number, number, number] }
  | { readonly linear: readonly [number, number, number] }
  | { readonly range: readonly [number, number] | readonly [number, number, number] }

const triple = z.tuple([z.number(), z.number(), z.number()]).readonly()
const factorGenerator = z.union([
  z.strictObject({ geom: triple }).meta({ description: 'n values from min to max in geometric progression: [min, max, n]' }),
  z.strictObject({ igeom: triple }).meta({ description: 'the same, rounded to integers, without repeats' }),
  z.strictObject({ linear: triple }).meta({ description: 'n values from min to max, evenly spaced' }),
  z
    .strictObject({ range: z.union([z.tuple([z.number(), z.number()]), triple]) })
    .meta({ description: 'integers from first to last included, by step' }),
])
const factors: z.ZodType<FactorsSpec> = z.lazy(() =>
  z.record(
    z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'a factor name has letters, digits and _ only'),
    z.union([z.array(level), factorGenerator, z.record(z.string(), factors)]),
  ),
)

/** A duration: milliseconds are never guessed, a number needs its unit (`90s`, `1h30m`, `02:00:00`). */
const duration = z.string().meta({ description: 'a duration with units: 90s, 10min, 1h30m, 2d, or HH:MM:SS' })
const size = z.string().meta({ description: 'a size with units: 500MB, 4GiB' })

export const resourcesSchema = z.strictObject({
  cores: z.int().positive().optional().meta({ description: 'cores of one job on each of its machines; default 1' }),
  tasks: z.int().positive().optional().meta({
    description: 'processes that the job starts on all its machines together (MPI ranks); default: one program that uses the cores',
  }),
  memory: size.optional(),
  walltime: duration.optional(),
  nodes: z.int().positive().optional().meta({ description: 'machines of one job; default 1' }),
  gpus: z.int().nonnegative().optional().meta({ description: 'graphics processors of one job; default 0' }),
})
export type ResourcesSpec = z.infer<typeof resourcesSchema>

const resources = z.union([resourcesSchema, fn<(combination: Combination) => ResourcesSpec>()])

const commandOrScript = {
  /** An argument list: each element may hold `{{ name }}`; no shell sees it. A string is a line for `/bin/sh`. */
  command: z
    .union([z.array(z.string()).min(1), z.string().min(1), fn<(combination: Combination) => readonly string[] | string>()])
    .optional()
    .meta({ description: 'an argument list, {{ name }} allowed, seen by no shell; or one line for /bin/sh' }),
  /** A template file beside the campaign file. */
  script: z.string().min(1).optional().meta({ description: 'a template file beside the campaign file, run as a batch script' }),
  placeholders: z
    .enum(['braces', 'dollar'])
    .optional()
    .meta({ description: 'braces (default): {{ name }}; dollar: also $name for the names of factors' }),
  /** Shell text by name, as code: `{ load_module: 'module load Python/{{ python }}' }` for `$load_module` in a template. */
  code: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
    .optional()
    .meta({ description: 'shell lines by name, put into the template as code; values inside them are quoted' }),
  environment: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
    .optional()
    .meta({ description: 'variables added to the environment of the job; {{ name }} allowed' }),
}

const jobSpecSchema = z.strictObject({
  ...commandOrScript,
  name: z.string().optional().meta({ description: 'what the scheduler shows; {{ name }} allowed; default: campaign and combination' }),
  resources: resources.optional().meta({ description: 'what one job asks for, or a function of the combination' }),
  queue: z.string().optional().meta({ description: 'where the jobs wait (partition, class); default: that of the site' }),
  account: z.string().optional().meta({ description: 'who is charged (project); default: that of the site' }),
  options: z
    .union([z.record(z.string(), z.unknown()), fn<(combination: Combination) => Readonly<Record<string, unknown>>>()])
    .optional()
    .meta({ description: 'what only the scheduler of the site knows, over the options of the site: { qos: long, constraint: ib }' }),
  pack: z
    .int()
    .positive()
    .optional()
    .meta({ description: 'so many short jobs share one place in the queue, one after the other; default 1' }),
})

/** Done once, or once per combination of the levels of `by`, before the jobs that need it: a compilation, a mesh. */
const prepareSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z][A-Za-z0-9_-]*$/)
    .meta({ description: 'letters, digits, _ and -' }),
  by: z.array(z.string()).optional().meta({ description: 'factors for whose levels it is done again; default: once for the campaign' }),
  ...commandOrScript,
  resources: resources.optional(),
  options: z
    .union([z.record(z.string(), z.unknown()), fn<(combination: Combination) => Readonly<Record<string, unknown>>>()])
    .optional()
    .meta({ description: 'what only the scheduler of the site knows' }),
})

/** Where one result comes from. `pattern` takes its first group, else the whole match. */
const extractSchema = z.union([
  z.strictObject({
    from: z
      .union([z.enum(['stdout', 'stderr']), z.string().min(1)])
      .default('stdout')
      .meta({ description: 'stdout, stderr or a file of the job directory' }),
    pattern: z
      .union([z.instanceof(RegExp), z.string().min(1)])
      .meta({ description: 'regular expression; the first group, or the group named value' }),
    take: z.enum(['first', 'last']).default('last').meta({ description: 'which match counts' }),
  }),
  z.strictObject({
    from: z.string().min(1).default('stdout'),
    json: z.string().meta({ description: 'path inside the JSON text: seconds, times[0].wall; empty: all of it' }),
  }),
  z.strictObject({
    from: z.string().min(1).default('stdout'),
    csv: z.string().meta({ description: 'name of the column' }),
    row: z
      .union([z.enum(['first', 'last']), z.int()])
      .default('last')
      .meta({ description: 'which line of the table, 0 is the first after the names' }),
  }),
  fn<(files: CollectedFiles) => unknown>(),
])
export type ExtractSpec = z.infer<typeof extractSchema>

/** What a `collect` function may look at. */
export interface CollectedFiles {
  readonly directory: string
  readonly combination: Combination
  stdout(): string
  stderr(): string
  /** Text of a file of the job directory. */
  text(file: string): string
}

/** One result in words, for YAML; in code a zod object does the same. */
export const resultFieldSchema = z.strictObject({
  type: z.enum(['number', 'integer', 'string', 'boolean']),
  min: z.number().optional().meta({ description: 'smallest value allowed' }),
  max: z.number().optional().meta({ description: 'largest value allowed' }),
  positive: z.boolean().optional().meta({ description: 'true: greater than 0' }),
  values: z.array(z.string()).optional().meta({ description: 'the only texts allowed' }),
  optional: z.boolean().optional().meta({ description: 'true: the result may be missing' }),
  unit: z.string().optional().meta({ description: 'shown on axes and in tables' }),
})

const lineFigureSchema = z.strictObject({
  kind: z.literal('line'),
  x: z.string().meta({ description: 'a factor' }),
  y: z.string().meta({ description: 'a result that is a number' }),
  by: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .meta({ description: 'factors: one line for each of their levels' }),
  scale: z.enum(['linear', 'log', 'log-x', 'log-y']).default('linear').meta({ description: 'of the axes' }),
  title: z.string().optional(),
  where: z.record(z.string(), level).optional().meta({ description: 'only the combinations with these levels' }),
})
const regimeFigureSchema = z.strictObject({
  kind: z.literal('regime'),
  x: z.string().meta({ description: 'a factor' }),
  y: z.string().meta({ description: 'a factor' }),
  outcome: z.string().meta({ description: 'a result: a number (its sign or its size) or a word' }),
  by: z
    .union([z.string(), z.array(z.string())])
    .optional()
    .meta({ description: 'factors: one map for each of their levels' }),
  scale: z.enum(['linear', 'log', 'log-x', 'log-y']).default('linear').meta({ description: 'of the axes' }),
  show: z.enum(['sign', 'value', 'category']).optional().meta({ description: 'default: by the kind of the outcome' }),
  title: z.string().optional(),
  where: z.record(z.string(), level).optional().meta({ description: 'only the combinations with these levels' }),
})
const figureSchema = z.discriminatedUnion('kind', [lineFigureSchema, regimeFigureSchema])
export type FigureSpec = z.infer<typeof figureSchema>

/** What `analyse` gets: the tidy table, one object per attempt that counts. */
export interface ResultRow {
  readonly [column: string]: unknown
}
/** A sentence for the report with the numbers behind it. */
export interface Finding {
  readonly title: string
  readonly text: string
  readonly ok?: boolean
  readonly data?: Readonly<Record<string, unknown>>
}

export const campaignSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'a campaign name has letters, digits, _ . - only')
    .meta({ description: 'letters, digits, _ . and -; begins the name of the run directory' }),
  description: z.string().optional().meta({ description: 'a sentence for the report' }),
  factors: factors.meta({ description: 'the parameters and their levels: a list, a generator, or sub-factors by level' }),
  /** Keeps a combination. In YAML: a Liquid condition, `cores <= 16 and python == "system"`. */
  where: z.union([z.string(), fn<(combination: never) => boolean>()]).optional().meta({
    description: 'keeps the combinations for which it is true: a function, or a condition such as cores <= 16 and python == "system"',
  }),
  /** Factors that advance together instead of being crossed. */
  zip: z
    .array(z.array(z.string()).min(2))
    .optional()
    .meta({ description: 'groups of factors that advance together instead of being crossed' }),
  repetitions: z.int().positive().default(1).meta({ description: 'how many times each combination is run' }),
  order: z
    .union([z.literal('natural'), z.strictObject({ random: z.int() })])
    .default('natural')
    .meta({ description: 'natural: the last factor varies fastest; random: shuffled with this seed' }),
  files: z.array(z.string()).default([]).meta({ description: 'files beside the campaign file that every job needs in its directory' }),
  prepare: z.array(prepareSchema).default([]).meta({ description: 'what is done before the jobs that need it: compile, make a mesh' }),
  job: jobSpecSchema.meta({ description: 'what is run for each combination' }),
  results: z
    .union([
      z.custom<z.ZodObject>((value) => typeof value === 'object' && value !== null && '_zod' in value, 'expected a zod object'),
      z.record(z.string(), resultFieldSchema),
    ])
    .optional()
    .meta({ description: 'what a job must have produced: a zod object, or one description for each result' }),
  collect: z.record(z.string(), extractSchema).default({}).meta({ description: 'where each result comes from' }),
  analyse: fn<(rows: readonly ResultRow[]) => readonly Finding[] | Promise<readonly Finding[]>>()
    .optional()
    .meta({ description: 'a function from the table of results to sentences for the report' }),
  report: z.array(figureSchema).default([]).meta({ description: 'the figures' }),
  site: z
    .union([z.string(), z.array(z.string()).min(1)])
    .optional()
    .meta({
      description:
        'where the jobs run: a site of cahier.config, or several that share the work; default: its defaultSite, else this machine',
    }),
  fetch: z.array(z.string().min(1)).optional().meta({
    description:
      'what comes home from a site that does not see our files: names and patterns (*.dat) below the job directory; default: all that the job left',
  }),
  maxInFlight: z.int().positive().default(1000).meta({ description: 'jobs given to the scheduler and not ended' }),
  retry: z
    .strictObject({
      attempts: z.int().positive().default(1).meta({ description: 'attempts of one work item, the first included' }),
      on: z
        .array(z.enum(['failed', 'timed-out', 'killed', 'lost', 'out-of-memory', 'invalid']))
        .default(['killed', 'lost'])
        .meta({ description: 'the outcomes after which a work item is tried again' }),
    })
    .default({ attempts: 1, on: ['killed', 'lost'] })
    .meta({ description: 'when a work item is tried again' }),
  breaker: z
    .strictObject({
      identical: z.int().nonnegative().default(10).meta({ description: 'pause after this many identical failures in a row; 0: never' }),
    })
    .default({ identical: 10 })
    .meta({ description: 'when a run pauses by itself' }),
})

/** A campaign as its author writes it. */
export type CampaignInput = z.input<typeof campaignSchema>
/** A campaign as the engine sees it: checked, defaults filled in. */
export type CampaignSpec = z.output<typeof campaignSchema>
