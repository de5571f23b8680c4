import type { Collect } from '../../engine/context.js'
import type { CampaignSpec } from '../../model/campaign.js'
import { openCollectedFiles } from '../../report/collected-files.js'
import { describeProblems, extractValues } from '../../report/extract.js'
import { resultSchemaOf } from '../../report/result-schema.js'

/** Reads the results of an attempt as the campaign says, and checks them against its schema. */
export function makeCollect({ collect, results }: CampaignSpec): Collect {
  const schema = results === undefined ? undefined : resultSchemaOf(results)
  return async ({ directory, combination }) => {
    const found = await extractValues(collect, openCollectedFiles(directory, combination), schema)
    return found.ok ? found : { ok: false, detail: describeProblems(found.problems) }
  }
}
