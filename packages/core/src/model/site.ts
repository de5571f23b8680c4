import { z } from 'zod'
import { messageOf } from '../errors.js'
import { type ConnectionOptions, connectionSchema } from './connection.js'
import { parseHost } from './host.js'

function isHost(context: z.core.ParsePayload<string>): void {
  try {
    parseHost(context.value)
  } catch (error) {
    context.issues.push({ code: 'custom', message: messageOf(error), input: context.value })
  }
}

/** What moves files of `put`, `get` and `broadcast`, when they do not say it. */
export const transferDefaultsSchema = z
  .strictObject({
    via: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'what moves them: auto, chain, sftp, scp, rsync, cat, or the name of an adapter, as taktuk' }),
    over: z.enum(['tcp', 'ssh']).optional().meta({ description: 'how hosts of a chain pass files on; ssh: when they may not open ports' }),
    options: z.record(z.string(), z.unknown()).optional().meta({ description: 'of the adapter named in `via`, checked by its own schema' }),
  })
  .refine(({ via, options }) => options === undefined || via !== undefined, {
    path: ['options'],
    error: 'these need the adapter they are for: via',
  })
export type TransferDefaults = z.output<typeof transferDefaultsSchema>

/** Where runs have their files on a site that does not see ours, when nothing else is said. */
export const DEFAULT_WORK_DIRECTORY = '~/cahier-runs'

/** One site of `cahier.config.{ts,js,yaml}`. Adapter options stand under `options` and are checked by the adapter's own schema. */
export const siteSchema = z.strictObject({
  host: z
    .string()
    .check(isHost)
    .optional()
    .meta({ description: 'the machine through which the site is used, user@login:22; absent: this machine' }),
  connection: connectionSchema.optional().meta({ description: 'how its hosts are reached, over the `connection` of the whole file' }),
  sharedFiles: z
    .boolean()
    .optional()
    .meta({ description: 'true: its jobs see the files of this machine under the same names; default: only when there is no host' }),
  workDirectory: z.string().min(1).default(DEFAULT_WORK_DIRECTORY).meta({
    description: 'where runs have their files on a site that does not see ours: ~ and $NAME are those of the site; seen by all its nodes',
  }),
  scheduler: z.string().default('local').meta({ description: 'name of a scheduler adapter' }),
  account: z.string().optional(),
  queue: z.string().optional(),
  options: z.record(z.string(), z.unknown()).default({}),
  transfer: transferDefaultsSchema
    .optional()
    .meta({ description: 'what moves files to and from its hosts, instead of `transfer` of the whole file' }),
  /** Shell lines put at the top of every job: `module load …`. */
  modules: z.array(z.string()).default([]),
})
/** Connection options stand as they were written: what they leave out comes from elsewhere. */
export type Site = Omit<z.output<typeof siteSchema>, 'connection' | 'workDirectory'> & {
  readonly connection?: ConnectionOptions | undefined
  readonly workDirectory?: string | undefined
}

export const siteConfigSchema = z.strictObject({
  sites: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/), siteSchema).prefault({}),
  defaultSite: z.string().default('local'),
  connection: connectionSchema.optional().meta({ description: 'how hosts are reached, wherever nothing else is said' }),
  transfer: transferDefaultsSchema
    .optional()
    .meta({ description: 'what moves files of put, get and broadcast, wherever nothing else is said' }),
  groups: z
    .record(z.string().regex(/^[A-Za-z0-9_.:-]+$/), z.union([z.string(), z.array(z.string())]))
    .default({})
    .meta({ description: 'host sets by name: `compute: node[1-64]` is then `@compute`' }),
})
export type SiteConfig = Omit<z.output<typeof siteConfigSchema>, 'sites' | 'connection'> & {
  readonly sites: Readonly<Record<string, Site>>
  readonly connection?: ConnectionOptions | undefined
}
