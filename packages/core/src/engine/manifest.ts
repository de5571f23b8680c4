import { createHash } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { z } from 'zod'
import { encodeCanonical } from '../canonical-json.js'
import { ConfigError, messageOf } from '../errors.js'
import type { CampaignSpec } from '../model/campaign.js'
import type { SpaceDefinition } from '../model/space.js'
import { type InputFile, LINKED_FROM_BYTES } from './attempt-files.js'

export const MANIFEST_FILE = 'cahier.json'

export interface ManifestSite {
  readonly name: string
  readonly scheduler: string
  readonly host?: string
}

/** `cahier.json`: where a run comes from. Written once. */
export interface RunManifest {
  readonly version: 1
  readonly runId: string
  readonly campaign: Readonly<Record<string, unknown>>
  readonly campaignFile: string | null
  readonly campaignHash: string | null
  /** The first of {@link sites}. */
  readonly site: ManifestSite
  /** Those that shared the work when the run was begun, when there was more than one. */
  readonly sites?: readonly ManifestSite[]
  readonly versions: { readonly cahier: string; readonly node: string }
  readonly machine: Readonly<Record<string, unknown>>
  readonly git: {
    readonly commit: string | null
    readonly branch: string | null
    readonly changes: readonly string[]
    /** Of `source.patch`, the uncommitted changes. */
    readonly diffHash: string | null
  } | null
  readonly commandLine: readonly string[]
  /** Milliseconds since 1970. */
  readonly createdAt: number
}

export function hashOf(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

/** A campaign as data: functions as their text, schemas as JSON Schema, levels in the encoding of canonical JSON. */
export function campaignAsData(spec: CampaignSpec): Record<string, unknown> {
  return asData(spec) as Record<string, unknown>
}

function asData(value: unknown): unknown {
  if (typeof value === 'function') return { function: String(value) }
  if (value instanceof RegExp || Object.prototype.toString.call(value) === '[object RegExp]') return { pattern: String(value) }
  if (typeof value !== 'object' || value === null) return value === undefined ? undefined : encodeCanonical(value)
  if ('_zod' in value) return schemaAsData(value as z.ZodType)
  if (Array.isArray(value)) return value.map(asData)
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, asData(field)]))
}

function schemaAsData(schema: z.ZodType): unknown {
  try {
    return { schema: z.toJSONSchema(schema, { unrepresentable: 'any' }) }
  } catch (error) {
    return { schema: `not representable: ${messageOf(error)}` }
  }
}

/** Text of every template that the campaign names and that can be read; what is missing is found by the check. */
export function readScripts(spec: CampaignSpec, directory: string): Map<string, string> {
  const scripts = new Map<string, string>()
  for (const { script } of [spec.job, ...spec.prepare]) {
    if (script === undefined) continue
    try {
      scripts.set(script, readFileSync(resolve(directory, script), 'utf8'))
    } catch {
      // Named by the check with all other faults.
    }
  }
  return scripts
}

/**
 * Hashes of the parts of a campaign that decide about its results. Figures, analysis, name of the site and limits are not
 * among them: they may change at any time.
 */
export function fingerprintOf(
  spec: CampaignSpec,
  definition: SpaceDefinition,
  directory: string,
  scripts: ReadonlyMap<string, string>,
): Record<string, string> {
  const data = campaignAsData(spec)
  const of = (value: unknown): string => hashOf(JSON.stringify(value) ?? '').slice(0, 32)
  const {
    resources: _resources,
    queue: _queue,
    account: _account,
    name: _name,
    options: _options,
    pack: _pack,
    ...command
  } = data['job'] as Record<string, unknown>
  return {
    sweep: of(definition),
    job: of(command),
    prepare: of(data['prepare']),
    results: of(data['results']),
    collect: of(data['collect']),
    ...Object.fromEntries([...scripts].map(([name, text]) => [`file ${name}`, of(text)])),
    ...Object.fromEntries(spec.files.map((file) => [`file ${file}`, hashOf(readInput(resolve(directory, file))).slice(0, 32)])),
  }
}

function readInput(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ConfigError('E_CAMPAIGN_NOT_FOUND', `the file ${path} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

/** The parts that differ, in words: `job`, `file bench.py`. */
export function changedParts(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): string[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((part) => before[part] !== after[part])
}

/**
 * Keeps the sources of a run in `source/<revision>`: the campaign file, its templates, its input files. Jobs get their input
 * from there, so that an edit of the originals changes nothing in mid-run.
 */
export function keepSources(
  runDirectory: string,
  revision: number,
  campaign: { readonly file: string | undefined; readonly directory: string; readonly spec: CampaignSpec },
  scripts: ReadonlyMap<string, string>,
): InputFile[] {
  const place = sourceDirectory(runDirectory, revision)
  mkdirSync(join(place, 'files'), { recursive: true })
  if (campaign.file !== undefined) copyFileSync(campaign.file, join(place, basename(campaign.file)))
  for (const [name, text] of scripts) writeFileSync(join(place, basename(name)), text)
  for (const file of campaign.spec.files) {
    const to = join(place, 'files', basename(file))
    rmSync(to, { force: true })
    copyFileSync(resolve(campaign.directory, file), to)
    // Jobs get links to it: one that wrote into its input would change that of all others.
    const { size, mode } = statSync(to)
    if (size >= LINKED_FROM_BYTES) chmodSync(to, mode & 0o555)
  }
  return inputFiles(runDirectory, revision, campaign.spec)
}

/** The run's own copies of the campaign's files. */
export function inputFiles(runDirectory: string, revision: number, spec: CampaignSpec): InputFile[] {
  return spec.files.map((file) => {
    const path = join(sourceDirectory(runDirectory, revision), 'files', basename(file))
    return { path, bytes: statSync(path).size }
  })
}

export function sourceDirectory(runDirectory: string, revision: number): string {
  return join(runDirectory, 'source', String(revision))
}

export function readManifest(runDirectory: string): RunManifest | undefined {
  try {
    return JSON.parse(readFileSync(join(runDirectory, MANIFEST_FILE), 'utf8')) as RunManifest
  } catch {
    return undefined
  }
}
