import { ConfigError, messageOf } from '../errors.js'
import { combinationId, makeTag, slugOf } from '../ids.js'
import type { CampaignSpec } from '../model/campaign.js'
import type { Combination, Level, WorkItem } from '../model/combination.js'
import type { JobResources } from '../model/job.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { shellQuote } from '../util/shell-quote.js'
import { textOfValue } from '../util/value-text.js'
import { planOptions, planResources } from './resources.js'

/** Everything about one attempt that can be said before anything is touched. */
export interface PlannedAttempt {
  readonly tag: string
  readonly name: string
  /** Relative to the run directory. */
  readonly directory: string
  readonly script: string
  readonly environment: Readonly<Record<string, string>>
  readonly resources: JobResources
  /** What only the scheduler of the site knows. */
  readonly options: Readonly<Record<string, unknown>> | undefined
  /** What `parameters.json` says. */
  readonly parameters: Readonly<Record<string, unknown>>
}

/** A prepare stage with its levels: `compile` for `python = 3.6`. */
export interface PrepareNeed {
  readonly key: string
  readonly name: string
  readonly combination: Combination
}

export interface PlannerInput {
  readonly spec: CampaignSpec
  readonly runId: string
  /** Begins every tag. Name that the run was begun with: jobs in flight are looked up by it when the campaign was renamed since. */
  readonly tagName?: string | undefined
  /** Absolute, as the jobs see it: they are told where prepare stages left their files. */
  readonly runDirectory: string
  /** Tells the prepare stages of this site from those of the others; absent: the run's first site. */
  readonly site?: string | undefined
  readonly renderer: TemplateRenderer
  /** Text of each template file that the campaign names. */
  readonly scripts: ReadonlyMap<string, string>
  /** Shell lines of the site for the top of every job. */
  readonly modules: readonly string[]
}

type StageSpec = CampaignSpec['job'] | CampaignSpec['prepare'][number]

/** Names that the engine gives to templates beside the factors. */
export const GIVEN_NAMES = ['repetition', 'attempt', 'job', 'prepare'] as const

/** Plans attempts: directory, script text, resources, tag. Pure but for the functions of the campaign. */
export class Planner {
  readonly #input: PlannerInput

  constructor(input: PlannerInput) {
    this.#input = input
  }

  directoryOf(item: WorkItem, attempt: number): string {
    return itemDirectory(item, attempt)
  }

  /** The same for the same attempt of the same run, so that a later controller can look it up. */
  tagOf(item: WorkItem, attempt: number): string {
    const { spec, runId, tagName = spec.name } = this.#input
    return itemTag(tagName, runId, item, attempt)
  }

  prepareTag(key: string, attempt: number): string {
    const { spec, runId, tagName = spec.name } = this.#input
    return prepareTag(tagName, runId, key, attempt)
  }

  /** The prepare stages that a combination needs, in order of the campaign. */
  needsOf(combination: Combination): PrepareNeed[] {
    return this.#input.spec.prepare.map((stage) => {
      const levels: Record<string, Level> = {}
      for (const name of stage.by ?? []) {
        const level = combination[name]
        if (level !== undefined) levels[name] = level
      }
      return this.#need(stage.name, levels)
    })
  }

  #need(name: string, levels: Combination): PrepareNeed {
    const { site } = this.#input
    const slug = Object.keys(levels).length === 0 ? '' : `:${slugOf(levels)}`
    return { key: `prepare:${name}${slug}${site === undefined ? '' : `@${site}`}`, name, combination: levels }
  }

  prepareDirectory(key: string, attempt: number): string {
    return prepareDirectory(key, attempt)
  }

  /** @param attemptOf - which attempt of a prepare stage the job is to use */
  planItem(item: WorkItem, attempt: number, attemptOf: (key: string) => number = () => 1): PlannedAttempt {
    const { spec, runDirectory } = this.#input
    const needs = this.needsOf(item.combination)
    const prepare = Object.fromEntries(
      needs.map((need) => [need.name, `${runDirectory}/${this.prepareDirectory(need.key, attemptOf(need.key))}`]),
    )
    const directory = this.directoryOf(item, attempt)
    const tag = this.tagOf(item, attempt)
    const resources = planResources(spec.job.resources, item.combination)
    const values = this.#values(item.combination, item.repetition, attempt, resources, prepare, tag)
    const name =
      spec.job.name === undefined ? `${spec.name}-${slugOf(item.combination)}` : this.#input.renderer.renderArgument(spec.job.name, values)
    return {
      tag,
      name,
      directory,
      script: this.#script(spec.job, values, 'job'),
      environment: this.#environment(spec.job, item.combination, values, { repetition: item.repetition, attempt, prepare }),
      resources,
      options: planOptions(spec.job.options, item.combination, (text) => this.#input.renderer.renderArgument(text, values)),
      parameters: { ...item.combination, repetition: item.repetition },
    }
  }

  planPrepare(need: PrepareNeed, attempt: number): PlannedAttempt {
    const { spec } = this.#input
    const stage = spec.prepare.find((one) => one.name === need.name)
    if (stage === undefined) throw new ConfigError('E_NOT_FOUND', `the campaign has no prepare stage named ${need.name}`)
    const tag = this.prepareTag(need.key, attempt)
    const resources = planResources(stage.resources, need.combination)
    const values = this.#values(need.combination, 1, attempt, resources, {}, tag)
    return {
      tag,
      name: `${spec.name}-${need.name}`,
      directory: this.prepareDirectory(need.key, attempt),
      script: this.#script(stage, values, `prepare ${need.name}`),
      environment: this.#environment(stage, need.combination, values, { repetition: 1, attempt, prepare: {} }),
      resources,
      options: planOptions(stage.options, need.combination, (text) => this.#input.renderer.renderArgument(text, values)),
      parameters: need.combination,
    }
  }

  #values(
    combination: Combination,
    repetition: number,
    attempt: number,
    resources: JobResources,
    prepare: Record<string, string>,
    tag: string,
  ): Combination {
    const job = {
      tag,
      cores: resources.cores ?? 1,
      tasks: resources.tasks ?? 1,
      memoryMiB: resources.memoryMiB ?? 0,
      nodes: resources.nodes ?? 1,
      walltime: walltimeText(resources.walltimeMs ?? 0),
    }
    return { repetition, attempt, job, prepare, ...combination }
  }

  #script(stage: StageSpec, values: Combination, where: string): string {
    const { renderer, scripts, modules } = this.#input
    const placeholders = stage.placeholders ?? 'braces'
    const code = stage.code === undefined ? {} : { code: stage.code }
    if (stage.script !== undefined) {
      const template = scripts.get(stage.script)
      if (template === undefined) throw new ConfigError('E_CAMPAIGN_NOT_FOUND', `the template ${stage.script} of ${where} was not read`)
      const text = finishTemplate(template, modules)
      return renderer.render({ text, name: stage.script, placeholders, ...code }, values)
    }
    const isMade = typeof stage.command === 'function'
    const command = typeof stage.command === 'function' ? callCommand(stage.command, values, where) : stage.command
    if (command === undefined) throw new ConfigError('E_CAMPAIGN_INVALID', `${where} has neither command nor script`)
    if (typeof command === 'string') {
      const text = finishTemplate(command, modules)
      if (isMade) return text
      return renderer.render({ text, name: `${where}.command`, placeholders, ...code }, values)
    }
    const words = isMade ? command : command.map((word) => renderer.renderArgument(word, values))
    return ['#!/bin/sh', ...modules, `exec ${words.map(shellQuote).join(' ')}`, ''].join('\n')
  }

  #environment(
    stage: StageSpec,
    combination: Combination,
    values: Combination,
    own: { repetition: number; attempt: number; prepare: Record<string, string> },
  ): Record<string, string> {
    const environment: Record<string, string> = {}
    for (const [name, level] of Object.entries(combination)) environment[`CAHIER_FACTOR_${name}`] = textOfValue(level)
    for (const [name, directory] of Object.entries(own.prepare)) {
      environment[`CAHIER_PREPARE_${name.toUpperCase().replaceAll('-', '_')}`] = directory
    }
    environment['CAHIER_REPETITION'] = String(own.repetition)
    environment['CAHIER_ATTEMPT'] = String(own.attempt)
    for (const [name, text] of Object.entries(stage.environment ?? {})) {
      environment[name] = this.#input.renderer.renderArgument(text, values)
    }
    return environment
  }
}

/** A prepare stage that had to be tried again has another directory: nothing is ever written over. Relative to the run. */
export function prepareDirectory(key: string, attempt: number): string {
  const place = `prepare/${key.replace('prepare:', '').replace(':', '_')}`
  return attempt <= 1 ? place : `${place}_a${attempt}`
}

/** Relative to the run directory. */
export function itemDirectory({ combination, repetition }: WorkItem, attempt: number): string {
  return `combinations/${slugOf(combination)}/r${repetition}-a${attempt}`
}

/** The same for the same attempt of the same run: what a job is looked up by. */
export function itemTag(tagName: string, runId: string, { combination, repetition }: WorkItem, attempt: number): string {
  return makeTag({ campaign: tagName, id: combinationId(combination), repetition, attempt, nonce: runId })
}

export function prepareTag(tagName: string, runId: string, key: string, attempt: number): string {
  return makeTag({ campaign: `${tagName}-${key.split(':')[1] ?? ''}`, id: key, repetition: 0, attempt, nonce: runId })
}

function callCommand<C>(make: (combination: Combination) => C, values: Combination, where: string): C {
  try {
    return make(values)
  } catch (cause) {
    throw new ConfigError('E_CAMPAIGN_INVALID', `${where}.command failed: ${messageOf(cause)}`, { cause })
  }
}

/** `02:30:00`, as schedulers read it. Never less than was asked. */
function walltimeText(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
}

const DIRECTIVE = /^#(?:SBATCH|OAR|PBS|BSUB|COBALT)\b|^#\s*@/

/**
 * LF line ends, a first line that names a shell, the site's lines after the directives, a last newline. Done to the
 * template, before values are in it: a value keeps its bytes whatever they look like. No scheduler obeys a directive after the first
 * command, so what looks like one further down (in a here-document) is text of the script.
 */
export function finishTemplate(text: string, modules: readonly string[]): string {
  const lines = text.replace(/\r\n?/g, '\n').split('\n')
  while (lines.at(-1) === '') lines.pop()
  if (lines[0]?.startsWith('#!') !== true) lines.unshift('#!/bin/sh')
  if (modules.length > 0) {
    const command = lines.findIndex((line) => line.trim() !== '' && !line.startsWith('#'))
    const head = command < 0 ? lines : lines.slice(0, command)
    const last = Math.max(
      0,
      head.findLastIndex((line) => DIRECTIVE.test(line)),
    )
    lines.splice(last + 1, 0, ...modules)
  }
  return `${lines.join('\n')}\n`
}
