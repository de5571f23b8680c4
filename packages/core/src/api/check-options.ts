import type { z } from 'zod'
import { describeIssues, formatPath } from '../engine/campaign-issues.js'
import { ConfigError } from '../errors.js'

/**
 * Options that a program gives, complete.
 *
 * @param what - for the message: `the connection options`
 * @throws ConfigError `E_ARGUMENT` with the nearest known name
 */
export function checkOptions<Schema extends z.ZodType>(schema: Schema, options: unknown, what: string): z.output<Schema> {
  const checked = schema.safeParse(options)
  if (checked.success) return checked.data
  const issues = describeIssues(checked.error, schema)
  const text = issues.map(({ path, message }) => (path.length === 0 ? message : `${formatPath(path)}: ${message}`)).join('; ')
  throw new ConfigError('E_ARGUMENT', `${what} cannot be used: ${text}`, {
    suggestions: issues.flatMap((issue) => issue.suggestion ?? []),
  })
}
