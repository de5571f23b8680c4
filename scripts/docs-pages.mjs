/** The pages of docs/reference, made from the schemas, the table of errors and the commands. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import slurm from '../packages/adapter-slurm/dist/index.js'
import { EXIT_CODES } from '../packages/cli/dist/exit-codes.js'
import { ERROR_CODES } from '../packages/core/dist/error-codes.js'
import { campaignSchema } from '../packages/core/dist/model/campaign.js'
import { siteConfigSchema } from '../packages/core/dist/model/site.js'
import { localSchedulerOptions } from '../packages/core/dist/scheduler/local/options.js'
import { root } from './steps.mjs'

const MADE = '<!-- made by "npm run docs": change the code, not this page -->'
const CODE = 'x-code'
const schemas = { campaign: campaignSchema, site: siteConfigSchema, local: localSchedulerOptions, slurm: slurm.options }
const titles = { campaign: 'A campaign of Cahier (campaign.yaml)', site: 'The sites of Cahier (cahier.config.yaml)' }

/** What only code can say (functions, regular expressions, zod objects) is marked; numbers without JSON form are left out. @param {'campaign' | 'site' | 'local' | 'slurm'} name */
function describe(name) {
  return z.toJSONSchema(schemas[name], {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      const { type, values } = zodSchema._zod.def
      if (type === 'custom') jsonSchema[CODE] = true
      if (type === 'nan' || type === 'bigint' || (type === 'literal' && values.some((v) => typeof v === 'number' && !Number.isFinite(v))))
        jsonSchema[CODE] = 'number'
      // What every integer of JavaScript has tells a reader nothing.
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
    },
  })
}

/** The schema without what only code can say. */
function withoutCode(node) {
  if (Array.isArray(node)) return node.map(withoutCode)
  if (typeof node !== 'object' || node === null) return node
  if (Array.isArray(node.anyOf)) {
    const { anyOf, ...rest } = node
    const kept = anyOf.filter((option) => option[CODE] === undefined).map(withoutCode)
    return kept.length === 1 ? { ...withoutCode(rest), ...kept[0], ...described(rest) } : { ...withoutCode(rest), anyOf: kept }
  }
  return Object.fromEntries(
    Object.entries(node)
      .filter(([, value]) => value?.[CODE] === undefined)
      .map(([key, value]) => [key, withoutCode(value)]),
  )
}

const described = ({ description }) => (description === undefined ? {} : { description })

/** @param {'campaign' | 'site'} name */
export function jsonSchema(name) {
  const { $schema, ...schema } = withoutCode(describe(name))
  return `${JSON.stringify({ $schema, title: titles[name], ...schema }, null, 2)}\n`
}

/** A type in words a person reads. */
function typeText(node) {
  if (node[CODE] !== undefined) return node[CODE] === true ? 'code' : ''
  if (node.anyOf ?? node.oneOf) {
    const options = (node.anyOf ?? node.oneOf).map(typeText).filter((text) => text !== '')
    return [...new Set(options)].join(' or ')
  }
  if (node.$ref !== undefined) return node.$ref.endsWith('__schema0') ? 'factors' : 'level'
  if (node.const !== undefined) return JSON.stringify(node.const)
  if (node.enum !== undefined) return node.enum.map((value) => JSON.stringify(value)).join(' or ')
  if (node.prefixItems !== undefined) return `[${node.prefixItems.map(typeText).join(', ')}]`
  if (node.type === 'array') return `list of ${typeText(node.items)}`
  if (node.type === 'object') {
    const { properties } = node
    if (properties === undefined) return node.additionalProperties ? `name → ${typeText(node.additionalProperties)}` : 'object'
    return `{ ${Object.keys(properties).join(', ')} }`
  }
  if (node.type === 'integer' && node.exclusiveMinimum === 0) return 'integer > 0'
  if (node.type === 'integer' && node.minimum === 0) return 'integer ≥ 0'
  return node.type ?? 'anything'
}

/** One table row for each key of an object schema. */
function optionTable(node) {
  const cell = (text) => String(text).replaceAll('|', '\\|')
  const required = new Set(node.required ?? [])
  const rows = Object.entries(node.properties).map(([key, value]) => {
    const standard = value.default === undefined ? (required.has(key) ? 'required' : '') : `\`${JSON.stringify(value.default)}\``
    const words = value.description ?? single(value)?.description ?? ''
    return `| \`${key}\` | ${cell(typeText(value))} | ${cell(standard)} | ${cell(words)} |`
  })
  return ['| key | type | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

/** The one data form of a value that may also be code. */
function single(node) {
  const options = node.anyOf?.filter((option) => option[CODE] === undefined)
  return options?.length === 1 ? options[0] : undefined
}

export function campaignPage() {
  const { properties, ...whole } = describe('campaign')
  const kinds = (node) => node.anyOf ?? node.oneOf
  const [pattern, json, csv] = kinds(properties.collect.additionalProperties)
  const [line, regime] = kinds(properties.report.items)
  const result = kinds(properties.results).find((option) => option[CODE] === undefined).additionalProperties
  const section = (title, text, node) => [`## ${title}`, '', ...(text === '' ? [] : [text, '']), optionTable(node), '']
  return [
    MADE,
    '# The keys of a campaign file',
    '',
    'The same in TypeScript, JavaScript and YAML. "code" is what only TypeScript and JavaScript can say: a function, a regular',
    'expression, a zod object. A key that is not listed here is refused, with the nearest one that is.',
    '',
    'An editor completes and checks a YAML campaign with [campaign.schema.json](campaign.schema.json); the first line to put in the file:',
    '',
    '```yaml',
    '# yaml-language-server: $schema=path/to/docs/reference/campaign.schema.json',
    '```',
    '',
    optionTable({ properties, ...whole }),
    '',
    ...section('`job`', '', properties.job),
    ...section('`job.resources`', '', single(properties.job.properties.resources)),
    ...section('`prepare`: each stage', '', properties.prepare.items),
    ...section('`results`: each result in words', 'A zod object says the same in code.', result),
    ...section('`collect` by pattern', '', pattern),
    ...section('`collect` from JSON', '', json),
    ...section('`collect` from CSV', '', csv),
    ...section('`report`: lines with error bars', '', line),
    ...section('`report`: regime diagram', '', regime),
    ...section('`retry`', '', properties.retry),
    ...section('`breaker`', '', properties.breaker),
  ].join('\n')
}

export function sitePage() {
  const { properties, ...whole } = describe('site')
  return [
    MADE,
    '# The keys of `cahier.config`',
    '',
    '`cahier.config.ts`, `.js` or `.yaml` stands beside the campaign file, or in the configuration folder of its user.',
    '',
    optionTable({ properties, ...whole }),
    '',
    '## Each site',
    '',
    optionTable(properties.sites.additionalProperties),
    '',
    '## `connection`',
    '',
    'How hosts are reached. What a host says itself (`alice@node1:2222`) wins, then what a call says, then the site, then the whole file;',
    'what is said nowhere comes from the ssh configuration.',
    '',
    optionTable(properties.connection),
    '',
    '## `options` of the scheduler `local`',
    '',
    optionTable(describe('local')),
    '',
    '## `options` of the scheduler `slurm`',
    '',
    'Those that are directives of sbatch (named in brackets) can also stand in `options` of a `job` or of a stage, for that one alone. What a `#SBATCH`',
    'line of a batch file says wins over them.',
    '',
    optionTable(describe('slurm')),
    '',
  ].join('\n')
}

export function errorsPage() {
  const rows = Object.entries(ERROR_CODES)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, sentence]) => `| \`${code}\` | ${sentence.replaceAll('|', '\\|')} |`)
  return [
    MADE,
    '# Error codes',
    '',
    'Every error has a code that is never used for anything else, a message with what was attempted and what came back, and',
    'suggestions. With `--json` the three are fields of `error`.',
    '',
    '| code | meaning |',
    '| --- | --- |',
    ...rows,
    '',
  ].join('\n')
}

/** From the manifest that the build writes. */
export async function commandsPage() {
  const manifest = JSON.parse(readFileSync(join(root, 'packages/cli/oclif.manifest.json'), 'utf8'))
  const commands = Object.values(manifest.commands)
    .filter((command) => command.hidden !== true)
    .sort((a, b) => (a.id < b.id ? -1 : 1))
  const codes = Object.values(EXIT_CODES).map(({ code, meaning }) => `| ${code} | ${meaning} |`)
  const table = ['## Exit codes', '', '| code | meaning |', '| --- | --- |', ...codes, '']
  return [MADE, '# Commands', '', ...table, ...commands.flatMap(commandSection)].join('\n')
}

function commandSection(command) {
  const name = command.id.replaceAll(':', ' ')
  const flags = Object.values(command.flags).filter((flag) => flag.hidden !== true)
  const args = Object.values(command.args).filter((arg) => arg.hidden !== true)
  const cell = (text) =>
    String(text ?? '')
      .replaceAll('|', '\\|')
      .replaceAll('\n', ' ')
  const usage = [`cahier ${name}`, ...args.map((arg) => (arg.required ? arg.name.toUpperCase() : `[${arg.name.toUpperCase()}]`))].join(' ')
  const flagText = (flag) => {
    const value = flag.type === 'boolean' ? '' : ` ${flag.options ? flag.options.join('\\|') : (flag.helpValue ?? 'VALUE')}`
    return `${flag.char === undefined ? '' : `-${flag.char}, `}--${flag.allowNo ? '[no-]' : ''}${flag.name}${value}`
  }
  const rows = [
    ...args.map((arg) => `| \`${arg.name.toUpperCase()}\` | ${cell(arg.description)} |`),
    ...flags.map((flag) => `| \`${flagText(flag)}\` | ${cell(flag.summary ?? flag.description)} |`),
  ]
  const words = [command.summary, command.description].filter((text) => text !== undefined && text !== '')
  const examples = (command.examples ?? [])
    .map((example) => (typeof example === 'string' ? example : example.command))
    .map((text) => text.replaceAll('<%= config.bin %>', 'cahier').replaceAll('<%= command.id %>', name))
  return [
    `## cahier ${name}`,
    '',
    ...words.flatMap((text) => [text, '']),
    '```',
    typeof command.usage === 'string' ? `cahier ${command.usage}` : `${usage}${flags.length > 0 ? ' [flags]' : ''}`,
    '```',
    '',
    ...(rows.length > 0 ? ['| argument or flag | meaning |', '| --- | --- |', ...rows, ''] : []),
    ...(examples.length > 0 ? ['```', ...examples, '```', ''] : []),
  ]
}
