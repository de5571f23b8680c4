import { z } from 'zod'

/** One site of `cahier.config.{ts,js,yaml}`. Adapter options stand under `options` and are checked by the adapter's own schema. */
export const siteSchema = z.strictObject({
  scheduler: z.string().default('local').meta({ description: 'name of a scheduler adapter' }),
  account: z.string().optional(),
  queue: z.string().optional(),
  options: z.record(z.string(), z.unknown()).default({}),
  /** Shell lines put at the top of every job: `module load …`. */
  modules: z.array(z.string()).default([]),
})
export type Site = z.output<typeof siteSchema>

export const siteConfigSchema = z.strictObject({
  sites: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/), siteSchema).default({}),
  defaultSite: z.string().default('local'),
})
export type SiteConfig = z.output<typeof siteConfigSchema>
