import { dirname, resolve } from 'node:path'
import { readCampaign } from '../engine/read-campaign.js'
import { ConfigError } from '../errors.js'
import type { CampaignInput, CollectedFiles, FactorsSpec, FigureSpec, Finding, ResourcesSpec, ResultRow } from '../model/campaign.js'
import type { LoadedCampaign } from '../model/run.js'
import type { CombinationOf } from '../sweep/sweep.js'
import { loadFile } from './load-module.js'

const BRAND = Symbol.for('@cahier/core:campaign')

type Stage<C> = Omit<NonNullable<CampaignInput['job']>, 'command' | 'resources'> & {
  /** An argument list: each element may hold `{{ name }}`, and no shell sees it. A string is a line for `/bin/sh`. */
  readonly command?: string[] | string | ((combination: C) => readonly string[] | string)
  readonly resources?: ResourcesSpec | ((combination: C) => ResourcesSpec)
}

/** A campaign as its author writes it in TypeScript: functions know the combinations that the factors make. */
export type CampaignOptions<F extends FactorsSpec> = Omit<CampaignInput, 'factors' | 'where' | 'job' | 'analyse' | 'collect'> & {
  /** Factor name to levels; see `sweep`. */
  readonly factors: F
  /** Keeps a combination. */
  readonly where?: string | ((combination: CombinationOf<NoInfer<F>>) => boolean)
  readonly job: Stage<CombinationOf<NoInfer<F>>>
  readonly collect?: Readonly<Record<string, Collect>>
  readonly analyse?: (rows: readonly ResultRow[]) => readonly Finding[] | Promise<readonly Finding[]>
}
type Collect = Exclude<NonNullable<CampaignInput['collect']>[string], (...args: never[]) => unknown> | ((files: CollectedFiles) => unknown)

/** What {@link defineCampaign} returns and a campaign file exports as its default. */
export interface CampaignDefinition<out F extends FactorsSpec = FactorsSpec> {
  /** What the author wrote; read again and checked before it is used. A campaign of known factors is also one of any factors. */
  readonly options: Readonly<Record<string, unknown>> & { readonly name: string; readonly factors: F }
}

/**
 * Declares a campaign: what is varied, what runs, what comes out.
 *
 * @example
 * export default defineCampaign({
 *   name: 'squares',
 *   factors: { n: [1, 2, 3] },
 *   job: { command: ['expr', '{{ n }}', '*', '{{ n }}'] },
 *   results: { square: { type: 'number' } },
 *   collect: { square: { from: 'stdout', pattern: '(\\d+)' } },
 * })
 */
export function defineCampaign<const F extends FactorsSpec>(options: CampaignOptions<F>): CampaignDefinition<F> {
  const definition = { options: Object.freeze({ ...options }) }
  Object.defineProperty(definition, BRAND, { value: true })
  return Object.freeze(definition)
}

/** True for what `defineCampaign` of this or any other copy returned. */
export function isCampaignDefinition(value: unknown): value is CampaignDefinition {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[BRAND] === true
}

type Figure<K extends FigureSpec['kind']> = Omit<Extract<NonNullable<CampaignInput['report']>[number], { kind: K }>, 'kind'>

/** Figures of a report. */
export const plot = {
  /** Lines with error bars: a result over a factor. */
  line: (figure: Figure<'line'>) => ({ kind: 'line' as const, ...figure }),
  /** A map of two factors, coloured by one outcome. */
  regime: (figure: Figure<'regime'>) => ({ kind: 'regime' as const, ...figure }),
}

/**
 * Reads a campaign file: TypeScript, JavaScript or YAML.
 *
 * @param file - relative to the current directory
 * @throws ConfigError `E_CAMPAIGN_NOT_FOUND`, `E_CAMPAIGN_UNREADABLE`, `E_CAMPAIGN_INVALID`
 */
export async function loadCampaign(file: string): Promise<LoadedCampaign> {
  const path = resolve(file)
  const { value, lineOf } = await loadFile(path)
  const input = isCampaignDefinition(value) ? value.options : value
  if (typeof input !== 'object' || input === null || Array.isArray(input)) {
    throw new ConfigError('E_CAMPAIGN_INVALID', `${path} holds no campaign`, {
      suggestions: ['In TypeScript: export default defineCampaign({ … })', 'In YAML: begin with name:, factors:, job:'],
    })
  }
  const spec = readCampaign(input, path, lineOf)
  return { name: spec.name, file: path, directory: dirname(path), spec }
}

/** Takes a campaign in any form: a file, what `defineCampaign` returned, or one that was loaded. */
export async function asLoadedCampaign(campaign: string | CampaignDefinition | LoadedCampaign): Promise<LoadedCampaign> {
  if (typeof campaign === 'string') return await loadCampaign(campaign)
  if (!isCampaignDefinition(campaign)) return campaign
  const spec = readCampaign(campaign.options, `the campaign ${campaign.options.name}`)
  return { name: spec.name, file: undefined, directory: process.cwd(), spec }
}
