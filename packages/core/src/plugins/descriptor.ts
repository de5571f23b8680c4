import type { z } from 'zod'
import { AdapterError } from '../errors.js'
import { ADAPTER_API, type AdapterModule } from '../ports/adapter.js'
import { nearestName } from '../util/nearest.js'

/**
 * Checks that a value is a descriptor that this version can use.
 *
 * Fields are looked at, never classes: the package may have been written against another copy of core and of zod.
 *
 * @param from - the package or program that gave it, for the error
 * @throws AdapterError `E_ADAPTER_API`, `E_ADAPTER_INVALID`
 */
export function checkDescriptor(value: unknown, from: string): AdapterModule {
  const fail = (what: string): AdapterError =>
    new AdapterError('E_ADAPTER_INVALID', `the adapter of ${from} ${what}`, {
      suggestions: ['Export plain descriptors by default: { api, name, kind, supports, options, create }'],
      data: { package: from },
    })
  if (typeof value !== 'object' || value === null) throw fail(`is ${value === null ? 'null' : `a ${typeof value}`}, not a descriptor`)
  const { api, name, kind, supports, options, create } = value as Record<string, unknown>
  if (typeof api !== 'number') throw fail('has no number "api"')
  checkApi(api, from)
  if (typeof name !== 'string' || name === '') throw fail('has no "name"')
  if (kind !== 'scheduler' && kind !== 'transfer') throw fail(`has the kind ${JSON.stringify(kind)}, not "scheduler" or "transfer"`)
  if (typeof supports !== 'object' || supports === null) throw fail('has no object "supports"')
  if (typeof (options as { safeParse?: unknown } | undefined)?.safeParse !== 'function') throw fail('has no zod schema "options"')
  if (typeof create !== 'function') throw fail('has no function "create"')
  return value as AdapterModule
}

/** @throws AdapterError `E_ADAPTER_API` when an adapter was made for another version of the interface */
export function checkApi(api: number, from: string): void {
  if (api === ADAPTER_API) return
  const older = api < ADAPTER_API
  throw new AdapterError(
    'E_ADAPTER_API',
    `${from} was made for version ${api} of the adapter interface, and this is Cahier with version ${ADAPTER_API}`,
    {
      suggestions: [older ? `Install a newer version: cahier plugins install ${from}@latest` : 'Install a newer version of Cahier'],
      data: { package: from, adapterApi: api, expected: ADAPTER_API },
    },
  )
}

/**
 * Checks the options that a site gives to its adapter, and fills in the defaults.
 *
 * @throws AdapterError `E_ADAPTER_OPTIONS` with every wrong option, and the nearest name for unknown ones
 */
export function checkOptions(adapter: AdapterModule, options: unknown): unknown {
  const checked = adapter.options.safeParse(options)
  if (checked.success) return checked.data
  const known = Object.keys((adapter.options as Partial<z.ZodObject>).shape ?? {})
  const issues = checked.error.issues as readonly z.core.$ZodIssue[]
  const problems = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys'
      ? issue.keys.map((key) => `${[...issue.path, key].join('.')} is not an option`)
      : [`${issue.path.length === 0 ? 'the options' : issue.path.join('.')}: ${issue.message}`],
  )
  const unknown = issues.flatMap((issue) => (issue.code === 'unrecognized_keys' ? issue.keys : []))
  const hints = unknown.flatMap((key) => {
    const near = nearestName(key, known)
    return near === undefined ? [] : [`Write "${near}" instead of "${key}"`]
  })
  throw new AdapterError('E_ADAPTER_OPTIONS', `the options of the ${adapter.kind} "${adapter.name}" are wrong: ${problems.join('; ')}`, {
    suggestions: [...hints, ...(known.length === 0 ? [] : [`Its options are: ${known.join(', ')}`])],
    data: { adapter: `${adapter.kind}/${adapter.name}`, problems, known },
  })
}
