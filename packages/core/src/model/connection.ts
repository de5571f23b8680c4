import { z } from 'zod'
import { parseDuration } from '../units.js'

/** Text with a unit (`15s`) or milliseconds; the output is milliseconds. */
const duration = (initial: string) =>
  z
    .union([z.number().nonnegative(), z.string()])
    .default(initial)
    .transform((value, context) => {
      if (typeof value === 'number') return value
      try {
        return parseDuration(value)
      } catch (error) {
        context.addIssue({ code: 'custom', message: (error as Error).message })
        return z.NEVER
      }
    })

/**
 * How hosts are reached: given per call, per host, per site (`connection:` in `cahier.config`), in this order of precedence; what is
 * said nowhere comes from the ssh configuration.
 */
export const connectionSchema = z.strictObject({
  connector: z.enum(['auto', 'ssh2', 'openssh']).default('auto').meta({
    description:
      'ssh2: in this process, for many hosts. openssh: the system client, for everything that ssh_config can ask. auto: ssh2 when it can do all that the configuration asks for',
  }),
  user: z.string().min(1).optional().meta({ description: 'login name' }),
  port: z.int().min(1).max(65_535).optional().meta({ description: 'of the ssh server' }),
  keyFiles: z
    .array(z.string().min(1))
    .optional()
    .meta({ description: 'private keys, tried in this order, instead of those of the ssh configuration' }),
  agent: z
    .union([z.string(), z.literal(false)])
    .optional()
    .meta({ description: 'socket of an ssh agent, or false for none; default SSH_AUTH_SOCK' }),
  jump: z.string().min(1).optional().meta({ description: 'hosts on the way, as ProxyJump writes them; none for no jump' }),
  hostKeys: z.enum(['strict', 'accept-new']).optional().meta({
    description:
      'strict (default): a host without a known key is refused. accept-new: its key is taken down at the first contact; a changed key is refused all the same',
  }),
  knownHostsFiles: z
    .array(z.string())
    .optional()
    .meta({ description: 'files of known host keys, instead of those of the ssh configuration; new keys go into the first' }),
  sshConfig: z
    .union([z.string().min(1), z.literal(false)])
    .optional()
    .meta({ description: 'an ssh configuration file instead of the usual ones, or false for none' }),
  connectTimeout: duration('15s').meta({ description: 'limit for connection and login of one host; default 15s' }),
  keepAlive: duration('10s').meta({
    description: 'interval of signs of life; three missed ones mean that the connection is cut; default 10s',
  }),
  runner: z.enum(['auto', 'perl', 'sh', 'none', 'raw']).default('auto').meta({
    description:
      'what drives commands on the host. auto: perl, else sh, else none. none: a channel per command. raw: the text is sent as it is, for devices without a POSIX shell',
  }),
  lease: duration('60s').meta({ description: 'a host that has not heard of us for so long ends what we started there; default 60s' }),
  sessions: z.int().min(1).max(1000).default(8).meta({ description: 'channels of one connection at a time; servers allow 10 by default' }),
  hostRewrite: z
    .union([
      z.strictObject({ pattern: z.string(), replacement: z.string() }),
      z.custom<(address: string) => string>((value) => typeof value === 'function', 'expected a function'),
    ])
    .optional()
    .meta({ description: 'changes addresses just before the connection: a function, or a regular expression and its replacement' }),
})
/** As written: every part may be left out. */
export type ConnectionOptions = z.input<typeof connectionSchema>
/** Complete, durations in milliseconds. */
export type Connection = z.output<typeof connectionSchema>
