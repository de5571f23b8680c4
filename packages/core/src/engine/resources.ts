import { ConfigError, messageOf } from '../errors.js'
import type { ResourcesSpec } from '../model/campaign.js'
import { resourcesSchema } from '../model/campaign.js'
import type { Combination } from '../model/combination.js'
import type { JobResources } from '../model/job.js'
import { parseDuration, parseSizeMiB } from '../units.js'

type Resources = ResourcesSpec | ((combination: Combination) => ResourcesSpec)

/**
 * What a job asks for, in numbers.
 *
 * @throws ConfigError `E_CAMPAIGN_INVALID` when the campaign's function throws or returns what the schema refuses, `E_UNIT`
 */
export function planResources(resources: Resources | undefined, combination: Combination): JobResources {
  if (resources === undefined) return {}
  const spec = typeof resources === 'function' ? callResources(resources, combination) : resources
  return {
    ...(spec.cores === undefined ? {} : { cores: spec.cores }),
    ...(spec.tasks === undefined ? {} : { tasks: spec.tasks }),
    ...(spec.memory === undefined ? {} : { memoryMiB: parseSizeMiB(spec.memory) }),
    ...(spec.walltime === undefined ? {} : { walltimeMs: parseDuration(spec.walltime) }),
    ...(spec.nodes === undefined ? {} : { nodes: spec.nodes }),
    ...(spec.gpus === undefined ? {} : { gpus: spec.gpus }),
  }
}

function callResources(make: (combination: Combination) => ResourcesSpec, combination: Combination): ResourcesSpec {
  const where = `job.resources for ${JSON.stringify(combination)}`
  let answer: unknown
  try {
    answer = make(combination)
  } catch (cause) {
    throw new ConfigError('E_CAMPAIGN_INVALID', `${where} failed: ${messageOf(cause)}`, { cause })
  }
  const checked = resourcesSchema.safeParse(answer)
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  throw new ConfigError('E_CAMPAIGN_INVALID', `${where} returned ${issue?.path.join('.') || 'a value'}: ${issue?.message}`)
}

type Options = Readonly<Record<string, unknown>> | ((combination: Combination) => Readonly<Record<string, unknown>>)

/**
 * What only the scheduler knows of a job: texts have their placeholders filled, what a function returned is taken as it is.
 *
 * @throws ConfigError `E_CAMPAIGN_INVALID` when the campaign's function throws or returns no object
 */
export function planOptions(
  options: Options | undefined,
  combination: Combination,
  render: (text: string) => string,
): Readonly<Record<string, unknown>> | undefined {
  if (options === undefined) return undefined
  if (typeof options !== 'function') return fill(options, render) as Record<string, unknown>
  const where = `job.options for ${JSON.stringify(combination)}`
  let answer: unknown
  try {
    answer = options(combination)
  } catch (cause) {
    throw new ConfigError('E_CAMPAIGN_INVALID', `${where} failed: ${messageOf(cause)}`, { cause })
  }
  if (typeof answer === 'object' && answer !== null && !Array.isArray(answer)) return answer as Record<string, unknown>
  throw new ConfigError('E_CAMPAIGN_INVALID', `${where} returned no object of options`)
}

function fill(value: unknown, render: (text: string) => string): unknown {
  if (typeof value === 'string') return render(value)
  if (Array.isArray(value)) return value.map((one) => fill(one, render))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, fill(field, render)]))
}

/** The texts of options given as data, for the check of the names in them. */
export function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null) return []
  return Object.values(value).flatMap(textsOf)
}
