import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { AdapterError, messageOf, systemCodeOf } from '../errors.js'

/** What an adapter package states in its `package.json` under `cahier`, readable without importing it. */
const statementSchema = z.object({
  adapterApi: z.int(),
  provides: z
    .array(z.string().regex(/^(scheduler|transfer)\/[a-z0-9][a-z0-9-]*$/, 'expected kind/name, for example scheduler/slurm'))
    .min(1),
})

/** The fields of a `package.json` that matter here; everything else is left alone. */
const packageSchema = z.looseObject({
  name: z.string().optional(),
  version: z.string().optional(),
  main: z.string().optional(),
  exports: z.unknown().optional(),
  dependencies: z.record(z.string(), z.string()).default({}),
  devDependencies: z.record(z.string(), z.string()).default({}),
  optionalDependencies: z.record(z.string(), z.string()).default({}),
  oclif: z.looseObject({ plugins: z.array(z.unknown()).optional() }).optional(),
  cahier: z.unknown().optional(),
})
export type PackageManifest = z.output<typeof packageSchema>

export interface AdapterStatement {
  readonly adapterApi: number
  /** `kind/name` of each adapter: `scheduler/slurm`. */
  readonly provides: readonly string[]
}

/**
 * Reads the `package.json` of a folder.
 *
 * @returns `undefined` when there is none
 * @throws AdapterError `E_ADAPTER_INVALID` when it is not one
 */
export async function readManifest(directory: string): Promise<PackageManifest | undefined> {
  const file = join(directory, 'package.json')
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCodeOf(cause) ?? '')) return undefined
    throw new AdapterError('E_ADAPTER_INVALID', `${file} cannot be read: ${messageOf(cause)}`, { cause, data: { file } })
  }
  try {
    return packageSchema.parse(JSON.parse(text))
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause)
    throw new AdapterError('E_ADAPTER_INVALID', `${file} is not a valid package.json: ${reason}`, { cause, data: { file } })
  }
}

/**
 * Reads what a package says about its adapters.
 *
 * @returns `undefined` for a package that is no adapter package
 * @throws AdapterError `E_ADAPTER_INVALID` when the statement cannot be understood
 */
export function readStatement(manifest: PackageManifest, directory: string): AdapterStatement | undefined {
  if (manifest.cahier === undefined) return undefined
  const statement = statementSchema.safeParse(manifest.cahier)
  if (statement.success) return statement.data
  const name = manifest.name ?? directory
  throw new AdapterError(
    'E_ADAPTER_INVALID',
    `the key "cahier" in the package.json of ${name} is wrong: ${describeIssues(statement.error)}`,
    {
      suggestions: ['It should read like "cahier": {"adapterApi": 1, "provides": ["scheduler/slurm"]}'],
      data: { package: name, directory },
    },
  )
}

function describeIssues(error: z.ZodError): string {
  return error.issues.map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`)).join('; ')
}
