import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { ConfigError } from '../errors.js'
import type { CampaignSpec } from '../model/campaign.js'
import type { Space } from '../model/space.js'
import type { TemplateRenderer } from '../ports/template-renderer.js'
import { nearestName } from '../util/nearest.js'
import { GIVEN_NAMES } from './plan.js'
import { textsOf } from './resources.js'

/** What is checked before anything runs. */
export interface CampaignCheck {
  readonly spec: CampaignSpec
  readonly space: Space
  /** Files are named relative to this folder. */
  readonly directory: string
  readonly scripts: ReadonlyMap<string, string>
  readonly renderer: TemplateRenderer
  /** The results that the schema has; `undefined`: unknown. */
  readonly results: readonly { readonly name: string; readonly isOptional: boolean }[] | undefined
  /** Programs are looked up on this PATH; `undefined`: they run elsewhere and cannot be looked up. */
  readonly path: string | undefined
}

type Stage = CampaignSpec['job'] | CampaignSpec['prepare'][number]

/** Names that a job's directory has by itself. */
const OWN_FILES = [
  'job.sh',
  'wrapper.sh',
  'stdout',
  'stderr',
  'exit.json',
  'running',
  'started',
  'parameters.json',
  'manifest',
  'submission',
  'scheduler.log',
]

/** Combinations that are looked at one by one for the names that they have; beyond that every n-th. */
const LOOKED_AT = 20_000

/** Every name that at least one combination has, with the sets of names that occur together. */
export function factorNames(space: Space): { readonly all: readonly string[]; readonly sets: readonly (readonly string[])[] } {
  const sets = new Map<string, string[]>()
  const stride = Math.max(1, Math.floor(space.size / LOOKED_AT))
  for (let index = 0; index < space.size; index += stride) {
    const names = Object.keys(space.at(index))
    sets.set(names.join(','), names)
  }
  return { all: [...new Set([...sets.values()].flat())], sets: [...sets.values()] }
}

/**
 * Refuses what could only fail later: names that no combination has, files and programs that do not exist.
 *
 * @throws ConfigError `E_CAMPAIGN_INVALID`, `E_CAMPAIGN_NOT_FOUND` (a file), `E_TEMPLATE_NAME`, `E_FACTOR_EMPTY`; ProcessError
 * `E_PROGRAM_NOT_FOUND`. The message lists all that was found; the code is that of the first.
 */
export function checkCampaign(check: CampaignCheck): void {
  const { spec, space } = check
  if (space.size === 0) {
    throw new ConfigError('E_FACTOR_EMPTY', `the campaign ${spec.name} has no combination: its condition refuses all of them`, {
      suggestions: ['Look at "where"'],
    })
  }
  const names = factorNames(space)
  const faults = [
    ...checkStages(check, names.sets),
    ...checkReferences(spec, names.all, check.results),
    ...checkFiles(check),
    ...checkFetch(spec),
    ...[spec.job, ...spec.prepare].flatMap((stage) => checkProgram(check, stage)),
  ]
  const [first] = faults
  if (first === undefined) return
  throw new ConfigError(first.code, faults.map((fault) => fault.message).join('; '), {
    suggestions: [...new Set(faults.flatMap((fault) => fault.suggestion ?? []))],
    data: { faults },
  })
}

interface Fault {
  readonly code: 'E_CAMPAIGN_INVALID' | 'E_CAMPAIGN_NOT_FOUND' | 'E_TEMPLATE_NAME' | 'E_PROGRAM_NOT_FOUND'
  readonly message: string
  readonly suggestion?: string
}

function checkStages({ spec, scripts, renderer }: CampaignCheck, sets: readonly (readonly string[])[]): Fault[] {
  const stages: [string, Stage, readonly (readonly string[])[]][] = [
    ['job', spec.job, sets],
    ...spec.prepare.map((stage): [string, Stage, readonly (readonly string[])[]] => [
      `prepare ${stage.name}`,
      stage,
      uniqueSets(sets.map((names) => names.filter((name) => stage.by?.includes(name) === true))),
    ]),
  ]
  return stages.flatMap(([where, stage, namesOfStage]) => {
    if ((stage.command === undefined) === (stage.script === undefined)) {
      const message = `${where} needs either command or script${stage.command === undefined ? '' : ', not both'}`
      return [{ code: 'E_CAMPAIGN_INVALID' as const, message }]
    }
    return usedNames(stage, where, scripts, renderer).flatMap(({ name, at }) =>
      namesOfStage.flatMap((names): Fault[] => {
        const known = [...names, ...GIVEN_NAMES, ...Object.keys(stage.code ?? {})]
        if (known.includes(name)) return []
        const nearest = nearestName(name, known)
        const those = namesOfStage.length === 1 ? '' : ` of the combinations that have ${names.join(', ') || 'no factor'}`
        return [
          {
            code: 'E_TEMPLATE_NAME',
            message: `${at} uses ${name}, which is no factor${those}`,
            suggestion: nearest === undefined ? `Known names: ${known.join(', ')}` : `Did you mean ${nearest}?`,
          },
        ]
      }),
    )
  })
}

function uniqueSets(sets: readonly (readonly string[])[]): string[][] {
  return [...new Map(sets.map((names) => [names.join(','), [...names]])).values()]
}

function usedNames(
  stage: Stage,
  where: string,
  scripts: ReadonlyMap<string, string>,
  renderer: TemplateRenderer,
): { readonly name: string; readonly at: string }[] {
  const placeholders = stage.placeholders ?? 'braces'
  const code = stage.code === undefined ? {} : { code: stage.code }
  const found: { name: string; at: string }[] = []
  const look = (text: string, at: string, style: 'braces' | 'dollar', more: { code?: Record<string, string> } = {}): void => {
    for (const name of renderer.names({ text, name: at, placeholders: style, ...more })) {
      found.push({ name: name.split(/[.[]/)[0] as string, at })
    }
  }
  const script = stage.script === undefined ? undefined : scripts.get(stage.script)
  if (script !== undefined) look(script, stage.script as string, placeholders, code)
  if (typeof stage.command === 'string') look(stage.command, `${where}.command`, placeholders, code)
  if (Array.isArray(stage.command)) for (const word of stage.command) look(word, `${where}.command`, 'braces')
  for (const [name, text] of Object.entries(stage.environment ?? {})) look(text, `${where}.environment.${name}`, 'braces')
  if (where === 'job' && stage.name !== undefined) look(stage.name, `${where}.name`, 'braces')
  if (typeof stage.options === 'object') for (const text of textsOf(stage.options)) look(text, `${where}.options`, 'braces')
  return found
}

function checkReferences(spec: CampaignSpec, factors: readonly string[], declared: CampaignCheck['results']): Fault[] {
  const results = declared?.map(({ name }) => name)
  const faults: Fault[] = []
  const expect = (name: string, known: readonly string[], where: string, kind: string): void => {
    if (known.includes(name)) return
    const nearest = nearestName(name, known)
    const suggestion = nearest === undefined ? `Known: ${known.join(', ')}` : `Did you mean ${nearest}?`
    faults.push({ code: 'E_CAMPAIGN_INVALID', message: `${where} names ${name}, which is no ${kind}`, suggestion })
  }
  for (const stage of spec.prepare) for (const name of stage.by ?? []) expect(name, factors, `prepare ${stage.name}.by`, 'factor')
  const doubled = spec.prepare.find((stage, index) => spec.prepare.findIndex((other) => other.name === stage.name) !== index)
  if (doubled !== undefined) faults.push({ code: 'E_CAMPAIGN_INVALID', message: `two prepare stages are named ${doubled.name}` })
  const collected = Object.keys(spec.collect)
  if (results !== undefined) for (const name of collected) expect(name, results, 'collect', 'result')
  const unknown = collected.filter((name) => results?.includes(name) !== true)
  for (const { name, isOptional } of declared ?? []) {
    // A misspelt one was named above.
    if (isOptional || collected.includes(name) || nearestName(name, unknown) !== undefined) continue
    faults.push({
      code: 'E_CAMPAIGN_INVALID',
      message: `nothing collects the result ${name}`,
      suggestion: `Add to collect: ${name}: { from: 'stdout', pattern: … }; or make the result optional`,
    })
  }
  const columns = [...factors, ...(results ?? collected), 'repetition', 'attempt']
  spec.report.forEach((figure, index) => {
    const where = `report[${index}]`
    const by = figure.by === undefined ? [] : [figure.by].flat()
    for (const name of [figure.x, figure.y, ...by, ...(figure.kind === 'regime' ? [figure.outcome] : [])]) {
      expect(name, columns, where, 'factor or result')
    }
    for (const name of Object.keys(figure.where ?? {})) expect(name, factors, `${where}.where`, 'factor')
  })
  return faults
}

/** What is brought home lies below the directory of its job. */
function checkFetch({ fetch = [], collect }: CampaignSpec): Fault[] {
  const outside = fetch.filter((pattern) => pattern.startsWith('/') || pattern.split('/').includes('..'))
  const faults = outside.map((pattern): Fault => {
    const message = `fetch names ${pattern}, which is not below the directory of a job`
    return { code: 'E_CAMPAIGN_INVALID', message, suggestion: 'Give names and patterns as the job sees them: *.dat, output/*.nc' }
  })
  if (fetch.length === 0 || outside.length > 0) return faults
  for (const [name, rule] of Object.entries(collect)) {
    if (typeof rule === 'function' || ['stdout', 'stderr'].includes(rule.from) || fetch.some((one) => mayFit(one, rule.from))) continue
    faults.push({
      code: 'E_CAMPAIGN_INVALID',
      message: `collect.${name} reads ${rule.from}, which fetch would leave on the site`,
      suggestion: `Add ${rule.from} to fetch`,
    })
  }
  return faults
}

/** True unless it is certain that the pattern does not mean the file. */
function mayFit(pattern: string, file: string): boolean {
  return /[*?[\]{}!]/.test(pattern) || file === pattern || file.startsWith(`${pattern.replace(/\/$/, '')}/`)
}

function checkFiles({ spec, directory, scripts }: CampaignCheck): Fault[] {
  const faults: Fault[] = []
  const names = new Map<string, string>()
  for (const file of spec.files) {
    const path = resolve(directory, file)
    const name = file.split('/').at(-1) ?? file
    if (OWN_FILES.includes(name)) {
      faults.push({
        code: 'E_CAMPAIGN_INVALID',
        message: `the file ${file} would stand in the place of Cahier's own ${name} in a job's directory`,
        suggestion: `Give it another name than ${OWN_FILES.join(', ')}`,
      })
    }
    const other = names.get(name)
    if (other !== undefined)
      faults.push({ code: 'E_CAMPAIGN_INVALID', message: `the files ${other} and ${file} would have the same name in a job's directory` })
    names.set(name, file)
    try {
      accessSync(path, constants.R_OK)
      if (!statSync(path).isFile()) faults.push({ code: 'E_CAMPAIGN_INVALID', message: `${file} is not a file` })
    } catch {
      faults.push({
        code: 'E_CAMPAIGN_NOT_FOUND',
        message: `the file ${file} does not exist or cannot be read`,
        suggestion: `Files are looked for beside the campaign file, in ${directory}`,
      })
    }
  }
  for (const stage of [spec.job, ...spec.prepare]) {
    if (stage.script === undefined || scripts.has(stage.script)) continue
    faults.push({
      code: 'E_CAMPAIGN_NOT_FOUND',
      message: `the template ${stage.script} does not exist or cannot be read`,
      suggestion: `Templates are looked for beside the campaign file, in ${directory}`,
    })
  }
  return faults
}

function checkProgram({ path, spec }: CampaignCheck, stage: Stage): Fault[] {
  const program = Array.isArray(stage.command) ? stage.command[0] : undefined
  if (program === undefined || path === undefined || program.includes('{{')) return []
  if (program.includes('/')) {
    // Relative to the job's directory: only files of the campaign are known to be there.
    if (!isAbsolute(program)) {
      const isKnown = spec.files.some((file) => file.split('/').at(-1) === program.replace(/^\.\//, ''))
      if (isKnown || spec.prepare.length > 0) return []
      return [
        {
          code: 'E_PROGRAM_NOT_FOUND',
          message: `the program ${program} would not be in the job's directory`,
          suggestion: 'Add it to files: they are copied into the directory of each job',
        },
      ]
    }
    return isExecutable(program) ? [] : [missingProgram(program)]
  }
  return path.split(delimiter).some((folder) => isExecutable(join(folder, program))) ? [] : [missingProgram(program)]
}

function missingProgram(program: string): Fault {
  return {
    code: 'E_PROGRAM_NOT_FOUND',
    message: `the program ${program} does not exist or may not be executed`,
    suggestion: 'Check its name, or give its whole path',
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
