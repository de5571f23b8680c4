import type { z } from 'zod'
import { nearestName } from '../util/nearest.js'

/** One thing that is wrong with a campaign file. */
export interface CampaignIssue {
  /** Where in the file: `job.resources.cores`; empty: the whole. */
  readonly path: readonly (string | number)[]
  readonly message: string
  readonly suggestion: string | undefined
}

interface Issue {
  readonly code: string
  readonly path: readonly PropertyKey[]
  readonly message: string
  readonly keys?: readonly string[]
  readonly errors?: readonly (readonly Issue[])[]
  readonly values?: readonly unknown[]
}

interface Definition {
  readonly type: string
  readonly shape?: Record<string, Schema>
  readonly innerType?: Schema
  readonly options?: readonly Schema[]
  readonly element?: Schema
  readonly valueType?: Schema
  readonly in?: Schema
  readonly getter?: () => Schema
}
interface Schema {
  readonly _zod: { readonly def: Definition }
}

/** `job.resources.cores`, `collect.seconds`, `report[0].x`. */
export function formatPath(path: readonly (string | number)[]): string {
  return path.reduce<string>((text, part) => (typeof part === 'number' ? `${text}[${part}]` : text === '' ? part : `${text}.${part}`), '')
}

/** Says what is wrong in words for the campaign's author: one issue each, unknown names with the nearest known one. */
export function describeIssues(error: z.ZodError, schema: z.ZodType): CampaignIssue[] {
  return (error.issues as unknown as Issue[]).flatMap((issue) => describe(issue, [], schema as unknown as Schema))
}

function describe(issue: Issue, base: readonly (string | number)[], root: Schema): CampaignIssue[] {
  const path = [...base, ...issue.path.map((part) => (typeof part === 'number' ? part : String(part)))]
  if (issue.code === 'unrecognized_keys') {
    const known = [...knownKeys(root, path)]
    return (issue.keys ?? []).map((key) => {
      const nearest = nearestName(key, known)
      return {
        path: [...path, key],
        message: `there is no ${key} here`,
        suggestion: nearest === undefined ? `Known here: ${known.join(', ')}` : `Did you mean ${nearest}?`,
      }
    })
  }
  if (issue.code === 'invalid_union' && issue.errors !== undefined && issue.errors.length > 0) {
    const best = [...issue.errors].sort((a, b) => distance(a) - distance(b))[0] as readonly Issue[]
    const isFlat = best.every((one) => one.path.length === 0 && one.code !== 'unrecognized_keys')
    if (isFlat) {
      const wanted = [...new Set(issue.errors.flat().map((one) => one.message.replace(/^Invalid input: /, '')))]
      return [{ path, message: wanted.join(', or '), suggestion: undefined }]
    }
    return best.flatMap((one) => describe(one, path, root))
  }
  const words = (issue.values ?? []).filter((value) => typeof value === 'string')
  return [
    {
      path,
      message: issue.message.replace(/^Invalid input: /, ''),
      suggestion: words.length > 1 ? `One of: ${words.join(', ')}` : undefined,
    },
  ]
}

/** How far a branch of a union is from what was written: wrong kinds are far, wrong names near. */
function distance(issues: readonly Issue[]): number {
  return issues.reduce((sum, issue) => sum + (issue.path.length === 0 && issue.code !== 'unrecognized_keys' ? 100 : 1), 0)
}

function knownKeys(schema: Schema, path: readonly (string | number)[]): Set<string> {
  let at: Schema[] = [schema]
  for (const part of path) at = at.flatMap((one) => step(one, part))
  return new Set(at.flatMap((one) => unwrap(one)).flatMap((one) => Object.keys(one._zod.def.shape ?? {})))
}

function step(schema: Schema, part: string | number): Schema[] {
  return unwrap(schema).flatMap(({ _zod: { def } }) => {
    if (def.shape !== undefined) return def.shape[part] ?? []
    if (def.type === 'array') return def.element ?? []
    if (def.type === 'record') return def.valueType ?? []
    return []
  })
}

/** The schemas behind options, defaults and unions. */
function unwrap(schema: Schema): Schema[] {
  const { def } = schema._zod
  if (def.innerType !== undefined) return unwrap(def.innerType)
  if (def.options !== undefined) return def.options.flatMap(unwrap)
  if (def.getter !== undefined) return unwrap(def.getter())
  if (def.type === 'pipe' && def.in !== undefined) return unwrap(def.in)
  return [schema]
}
