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
