import { z } from 'zod'
import type { CampaignSpec, resultFieldSchema } from '../model/campaign.js'
import type { ResultField } from './types.js'

/** One result in words, as YAML says it. */
export type ResultFieldSpec = z.infer<typeof resultFieldSchema>

/** What text has to become before a field's schema sees it. */
export type TextKind = 'number' | 'integer' | 'bigint' | 'boolean' | 'text'

/** The zod object for the results of a campaign, from words or from the object that a TypeScript campaign gives. */
export function resultSchemaOf(results: NonNullable<CampaignSpec['results']>): z.ZodObject {
  if (isZod(results)) return results
  return z.object(Object.fromEntries(Object.entries(results).map(([name, field]) => [name, fieldSchema(field)])))
}

/** Names, types and units of the results, in the order of the schema. Units come from `.meta({ unit: 's' })` in code. */
export function resultFieldsOf(results: CampaignSpec['results']): readonly ResultField[] {
  if (results === undefined) return []
  if (!isZod(results)) return Object.entries(results).map(([name, { type, unit }]) => ({ name, type, unit }))
  return Object.entries(results.shape).map(([name, schema]) => ({ name, type: fieldTypeOf(schema), unit: unitOf(schema) }))
}

/** What a field wants of text; `text` also when the schema takes several kinds. */
export function textKindOf(schema: unknown): TextKind {
  const inner = innermost(schema)
  const { type } = inner._zod.def
  if (type === 'number') return isInteger(inner) ? 'integer' : 'number'
  if (type === 'bigint' || type === 'boolean') return type
  return 'text'
}

export function isOptional(schema: unknown): boolean {
  return (schema as AnySchema)._zod.optin !== undefined
}

interface AnySchema {
  readonly _zod: {
    readonly def: {
      readonly type: string
      readonly innerType?: AnySchema
      readonly in?: AnySchema
      readonly out?: AnySchema
      readonly format?: string
      readonly checks?: readonly { readonly _zod: { readonly def: { readonly format?: string } } }[]
    }
    readonly optin?: string
  }
  meta?(): { readonly unit?: unknown } | undefined
}

function isZod(results: NonNullable<CampaignSpec['results']>): results is z.ZodObject {
  return '_zod' in results
}

function fieldSchema(field: ResultFieldSpec): z.ZodType {
  const plain = plainSchema(field)
  return field.optional === true ? plain.optional() : plain
}

function plainSchema(field: ResultFieldSpec): z.ZodType {
  if (field.type === 'boolean') return z.boolean()
  if (field.type === 'string') return field.values === undefined ? z.string() : z.enum(field.values as [string, ...string[]])
  let schema: z.ZodNumber = field.type === 'integer' ? z.int() : z.number()
  if (field.min !== undefined) schema = schema.min(field.min)
  if (field.max !== undefined) schema = schema.max(field.max)
  if (field.positive === true) schema = schema.positive()
  return schema
}

/** Through optional, nullable, default, and the input side of a transformation. */
function innermost(schema: unknown): AnySchema {
  let at = schema as AnySchema
  for (;;) {
    const { def } = at._zod
    // A preprocess step is a transformation on the way in: what counts is what comes after it.
    const next = def.innerType ?? (def.type === 'pipe' ? (def.in?._zod.def.type === 'transform' ? def.out : def.in) : undefined)
    if (next === undefined) return at
    at = next
  }
}

function isInteger(schema: AnySchema): boolean {
  const { def } = schema._zod
  const formats = [def.format, ...(def.checks ?? []).map((check) => check._zod.def.format)]
  return formats.some((format) => format !== undefined && /int/.test(format))
}

function fieldTypeOf(schema: unknown): ResultField['type'] {
  const kind = textKindOf(schema)
  if (kind === 'text')
    return innermost(schema)._zod.def.type === 'string' || innermost(schema)._zod.def.type === 'enum' ? 'string' : undefined
  return kind === 'bigint' ? 'integer' : kind
}

function unitOf(schema: unknown): string | undefined {
  for (let at: AnySchema | undefined = schema as AnySchema; at !== undefined; at = at._zod.def.innerType) {
    const unit = at.meta?.()?.unit
    if (typeof unit === 'string') return unit
  }
  return undefined
}
