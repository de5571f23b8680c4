import { checkCampaign, factorNames } from '../../engine/check-campaign.js'
import { fingerprintOf, readScripts } from '../../engine/manifest.js'
import type { CampaignSpec } from '../../model/campaign.js'
import type { Combination, WorkItem } from '../../model/combination.js'
import type { LoadedCampaign } from '../../model/run.js'
import type { Space } from '../../model/space.js'
import type { TemplateRenderer } from '../../ports/template-renderer.js'
import { isOptional, resultSchemaOf } from '../../report/result-schema.js'
import { withRepetitions } from '../../sweep/derived-spaces.js'
import { sweep } from '../../sweep/sweep.js'

/** A campaign that was expanded and checked: it could run. */
export interface PreparedCampaign extends LoadedCampaign {
  readonly space: Space
  readonly items: Space<WorkItem>
  readonly scripts: ReadonlyMap<string, string>
  readonly factors: readonly string[]
  readonly fingerprint: Readonly<Record<string, string>>
}

/** Factors to work items. */
function expandCampaign({ spec }: LoadedCampaign, renderer: TemplateRenderer): { space: Space; items: Space<WorkItem> } {
  const { where, zip, order, factors, repetitions } = spec
  const keep =
    typeof where === 'string'
      ? (combination: Combination): boolean => renderer.evaluateCondition(where, combination)
      : (where as ((combination: Combination) => boolean) | undefined)
  const space: Space = sweep(factors, { where: keep, zip })
  return { space, items: withRepetitions(space, repetitions, { order }) }
}

/** Expands and checks. Touches nothing. */
export function prepareCampaign(
  loaded: LoadedCampaign,
  renderer: TemplateRenderer,
  options: { readonly isLocal: boolean },
): PreparedCampaign {
  const { spec, directory } = loaded
  const { space, items } = expandCampaign(loaded, renderer)
  const scripts = readScripts(spec, directory)
  const results = spec.results === undefined ? undefined : resultsOf(spec.results)
  checkCampaign({ spec, space, directory, scripts, renderer, results, path: options.isLocal ? (process.env['PATH'] ?? '') : undefined })
  return {
    ...loaded,
    space,
    items,
    scripts,
    factors: factorNames(space).all,
    fingerprint: fingerprintOf(spec, items.definition, directory, scripts),
  }
}

function resultsOf(results: NonNullable<CampaignSpec['results']>): { name: string; isOptional: boolean }[] {
  return Object.entries(resultSchemaOf(results).shape).map(([name, schema]) => ({ name, isOptional: isOptional(schema) }))
}
