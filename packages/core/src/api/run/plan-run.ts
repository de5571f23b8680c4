import { resolve } from 'node:path'
import { canonicalJson } from '../../canonical-json.js'
import { compareItems } from '../../engine/compare-items.js'
import { Planner } from '../../engine/plan.js'
import { planResources } from '../../engine/resources.js'
import { kindOfDirectory } from '../../engine/run-directory.js'
import { itemId } from '../../engine/submit.js'
import { messageOf } from '../../errors.js'
import type { WorkItem } from '../../model/combination.js'
import type { LoadedCampaign, PlannedJob, RunPlan } from '../../model/run.js'
import { DEFAULT_WORK_DIRECTORY } from '../../model/site.js'
import type { PlannedSubmission } from '../../model/site-report.js'
import { asLoadedCampaign, type CampaignDefinition } from '../campaign.js'
import { openServices, type ServiceOptions, type SiteServices } from '../services.js'
import { openRun } from './open-run.js'
import { planSubmissions } from './plan-submissions.js'
import { type PreparedCampaign, prepareCampaign } from './prepared.js'
import { isLocal } from './run-campaign.js'

export interface PlanRunOptions extends ServiceOptions {
  readonly campaign: string | CampaignDefinition | LoadedCampaign
  /** A run directory, to see what is already done. */
  readonly directory?: string | undefined
  /** How many jobs are shown exactly; default 1. */
  readonly samples?: number | undefined
  /** Asks the sites for their limits; without it what such schedulers usually have is taken. */
  readonly check?: boolean | undefined
}

/** Combinations whose resources are summed one by one. */
const SUMMED = 100_000

/**
 * Says what a run would do: counts, core hours, the first jobs exactly as they would be submitted. Touches nothing.
 *
 * @throws what `runCampaign` throws before anything runs
 */
export async function planRun(options: PlanRunOptions): Promise<RunPlan> {
  const loaded = await asLoadedCampaign(options.campaign)
  await using services = await openServices(loaded.directory, { ...options, defaultSite: loaded.spec.site })
  const { site, renderer } = services
  await services.checkScheduler()
  const campaign = prepareCampaign(loaded, renderer, { isLocal: isLocal(services) })
  const { spec, items, space } = campaign
  const directory = options.directory === undefined ? undefined : resolve(options.directory)
  const warnings: string[] = []
  const done = new Set<number>()
  let difference: RunPlan['difference']
  if (directory !== undefined && kindOfDirectory(directory) === 'run') {
    await using run = await openRun(directory, { readOnly: true })
    const { state } = run
    const before = state.items
    if (before !== undefined) {
      const { added, kept, removed } = compareItems(before, items)
      difference = { added, kept, removed }
      for (let index = 0; index < state.size; index += 1) {
        if (state.stateOf(index) !== 'done') continue
        const now = items.indexOf(before.at(index))
        if (now >= 0) done.add(now)
      }
    }
    const { failed, invalid } = state.counts()
    if (failed + invalid > 0)
      warnings.push(`${failed + invalid} work items failed before; they are not tried again unless "cahier retry" says so`)
  }
  const planner = new Planner({
    spec,
    runId: 'planned',
    runDirectory: directory ?? '<run directory>',
    renderer,
    scripts: campaign.scripts,
    modules: site.modules,
  })
  const samples: PlannedJob[] = []
  for (let index = 0; index < items.size && samples.length < (options.samples ?? 1); index += 1) {
    if (done.has(index)) continue
    const item = items.at(index)
    const planned = planner.planItem(item, 1)
    samples.push({
      id: itemId(item),
      combination: item.combination,
      repetition: item.repetition,
      directory: planned.directory,
      script: planned.script,
      resources: planned.resources,
    })
  }
  const toDo = items.size - done.size
  const submissions: PlannedSubmission[] = []
  const limits: string[] = []
  let jobsPerSubmission: number | undefined
  let coreHours = sumCoreHours(campaign, done, warnings)
  for (const [index, one] of services.sites.entries()) {
    const roots = rootsOf(one, directory)
    const planned = planSubmissions({
      site: one,
      scheduler: await (options.check === true ? one.scheduler() : one.unopenedScheduler()),
      spec,
      planner: new Planner({
        spec,
        runId: 'planned',
        runDirectory: roots.root,
        renderer,
        scripts: campaign.scripts,
        modules: one.site.modules,
        site: index === 0 ? undefined : one.site.name,
      }),
      ...roots,
      items: toDoItems(campaign, done),
      shown: options.samples ?? 1,
    })
    submissions.push(...planned.submissions)
    limits.push(...planned.limits)
    warnings.push(...planned.warnings.filter((text) => !warnings.includes(text)))
    jobsPerSubmission ??= planned.jobsPerSubmission
    // What the directive lines ask for is what would be charged.
    if (index === 0 && planned.coreHoursPerJob !== undefined) coreHours = planned.coreHoursPerJob * toDo
  }
  return {
    campaign: campaign.name,
    directory,
    site: site.name,
    scheduler: site.scheduler,
    sites: services.sites.map(({ site: { name, scheduler, host } }) => ({ name, scheduler, ...(host === undefined ? {} : { host }) })),
    combinations: space.size,
    repetitions: spec.repetitions,
    items: items.size,
    alreadyDone: done.size,
    toDo,
    difference,
    coreHours,
    factors: countLevels(campaign),
    samples,
    submissions,
    jobsPerSubmission,
    limits,
    warnings,
  }
}

/** Where the run would have its files on a site. Of a run that does not exist yet that is decided when it begins. */
function rootsOf({ site, isShared }: SiteServices, directory: string | undefined): { readonly root: string; readonly shownRoot: string } {
  if (isShared && directory !== undefined) return { root: directory, shownRoot: directory }
  const shownRoot = isShared ? '<run directory>' : `${site.workDirectory ?? DEFAULT_WORK_DIRECTORY}/<run directory>`
  return { root: '/cahier-run-directory', shownRoot }
}

function* toDoItems({ items }: PreparedCampaign, done: ReadonlySet<number>): Generator<WorkItem> {
  for (let index = 0; index < items.size; index += 1) if (!done.has(index)) yield items.at(index)
}

function sumCoreHours({ spec, items }: PreparedCampaign, done: ReadonlySet<number>, warnings: string[]): number | undefined {
  const { resources } = spec.job
  if (resources === undefined) return undefined
  const stride = Math.max(1, Math.ceil(items.size / SUMMED))
  let hours = 0
  for (let index = 0; index < items.size; index += stride) {
    if (done.has(index)) continue
    try {
      const { cores = 1, nodes = 1, walltimeMs } = planResources(resources, items.at(index).combination)
      if (walltimeMs === undefined) return undefined
      hours += (cores * nodes * walltimeMs * stride) / 3_600_000
    } catch (error) {
      warnings.push(messageOf(error))
      return undefined
    }
    // The same for all of them.
    if (typeof resources !== 'function') return (hours / stride) * (items.size - done.size)
  }
  return hours
}

function countLevels({ space, factors }: PreparedCampaign): RunPlan['factors'] {
  const levels = new Map<string, Set<string>>(factors.map((name) => [name, new Set()]))
  const stride = Math.max(1, Math.floor(space.size / SUMMED))
  for (let index = 0; index < space.size; index += stride) {
    for (const [name, level] of Object.entries(space.at(index))) levels.get(name)?.add(canonicalJson(level))
  }
  return [...levels].map(([name, seen]) => ({ name, levels: seen.size }))
}
