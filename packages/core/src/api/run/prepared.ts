import { checkCampaign, factorNames } from '../../engine/check-campaign.js'
import { fingerprintOf, readScripts } from '../../engine/manifest.js'
import { ConfigError } from '../../errors.js'
import type { Combination, WorkItem } from '../../model/combination.js'
import type { LoadedCampaign } from '../../model/run.js'
import type { Space } from '../../model/space.js'
import type { TemplateRenderer } from '../../ports/template-renderer.js'
import { resultFieldsOf } from '../../report/result-schema.js'
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
export function expandCampaign({ spec }: LoadedCampaign, renderer: TemplateRenderer): { space: Space; items: Space<WorkItem> } {
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
  const results = spec.results === undefined ? undefined : resultFieldsOf(spec.results).map((field) => field.name)
  checkCampaign({ spec, space, directory, scripts, renderer, results, path: options.isLocal ? (process.env['PATH'] ?? '') : undefined })
  if (results !== undefined && Object.keys(spec.collect).length === 0 && results.length > 0) {
    throw new ConfigError('E_CAMPAIGN_INVALID', `the campaign ${spec.name} names results and does not say where they come from`, {
      suggestions: [`Add collect: { ${results[0]}: { from: 'stdout', pattern: … } }`],
    })
  }
  return {
    ...loaded,
    space,
    items,
    scripts,
    factors: factorNames(space).all,
    fingerprint: fingerprintOf(spec, items.definition, directory, scripts),
  }
}
