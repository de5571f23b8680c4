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
  readonly origin?: string
  readonly minimum?: number | bigint
  readonly maximum?: number | bigint
  readonly inclusive?: boolean
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
        message: 'unknown key',
        suggestion: nearest === undefined ? `Known here: ${known.join(', ')}` : `Did you mean ${nearest}?`,
      }
    })
  }
  if (issue.code === 'invalid_union' && issue.errors !== undefined && issue.errors.length > 0) {
    const best = [...issue.errors].sort((a, b) => distance(a) - distance(b))[0] as readonly Issue[]
    const isFlat = best.every((one) => one.path.length === 0 && one.code !== 'unrecognized_keys')
    if (isFlat) {
      return [
        {
          path,
          message: tellKinds(
            issue.errors
              .flat()
              .flatMap(leaves)
              .map((one) => tellSize(one) ?? one.message),
          ),
          suggestion: undefined,
        },
      ]
    }
    return best.flatMap((one) => describe(one, path, root))
  }
  const size = tellSize(issue)
  if (size !== undefined) return [{ path, message: size, suggestion: undefined }]
  const words = (issue.values ?? []).filter((value) => typeof value === 'string')
  return [
    {
      path,
      message: tellKinds([issue.message]),
      suggestion: words.length > 1 ? `One of: ${words.join(', ')}` : undefined,
    },
  ]
}

/** Too little or too much of something. */
function tellSize({ code, origin = '', minimum, maximum, inclusive = true }: Issue): string | undefined {
  const isNumber = origin === 'number' || origin === 'int'
  if (code === 'too_small' && isNumber) return `expected ${inclusive ? `at least ${minimum}` : `more than ${minimum}`}`
  if (code === 'too_big' && isNumber) return `expected ${inclusive ? `at most ${maximum}` : `less than ${maximum}`}`
  if (code !== 'too_small') return undefined
  return Number(minimum) === 1 ? 'this is empty: leave it out, or write something' : `expected at least ${minimum} of these`
}

/** The issues at the ends of nested unions. */
function leaves(issue: Issue): readonly Issue[] {
  return issue.code === 'invalid_union' && issue.errors !== undefined && issue.errors.length > 0
    ? issue.errors.flatMap((one) => one.flatMap(leaves))
    : [issue]
}

/** What people call the kinds of zod. */
const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  int: 'an integer',
  number: 'a number',
  object: 'names with values',
  record: 'names with values',
  RegExp: 'a regular expression',
  string: 'a text',
}

/** `expected a list or names with values, but there is nothing`: the messages of all branches in one. */
function tellKinds(messages: readonly string[]): string {
  const plain = messages.map((message) => message.replace(/^Invalid input: /, ''))
  const pairs = plain.map((message) => /^expected (\w+), received (\w+)$/.exec(message))
  const received = pairs.find((pair) => pair !== null)?.[2]
  const wanted = [...new Set(pairs.flatMap((pair) => (pair === null ? [] : (KINDS[pair[1]!] ?? pair[1]!))))]
  const others = plain.filter((message, index) => pairs[index] === null && message !== 'Invalid input')
  const isNothing = received === 'null' || received === 'undefined'
  const kinds =
    received === undefined
      ? []
      : [`expected ${wanted.join(' or ')}, ${isNothing ? 'but there is nothing' : `not ${KINDS[received] ?? received}`}`]
  const all = [...new Set([...kinds, ...others])]
  return all.length === 0 ? 'this does not fit' : all.join(', or ')
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
