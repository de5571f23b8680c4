import { z } from '@cahier/core/spi'

/** What is said to taktuk besides the hosts. */
export const taktukOptions = z.strictObject({
  topology: z
    .union([z.enum(['dynamic', 'flat', 'chain']), z.int().min(1).max(64)])
    .default('dynamic')
    .meta({
      description:
        'who connects to whom. dynamic (default): hosts that are reached take part in reaching the others. flat: this machine reaches all. chain: each reaches the next. A number: a tree with so many branches at each host',
    }),
  window: z.int().min(1).max(1000).default(10).meta({ description: 'connections that one host opens at a time; default 10' }),
  connector: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'the command that reaches a host, with its options, instead of the one made from the connection options' }),
  selfPropagate: z
    .boolean()
    .default(true)
    .meta({ description: 'true (default): the program of taktuk is sent along. false: it is installed on the hosts' }),
  forwardAgent: z
    .boolean()
    .default(false)
    .meta({ description: 'the ssh agent of this machine lets hosts reach other hosts; default false. Only among hosts that you trust' }),
  cacheLimitMiB: z
    .number()
    .positive()
    .default(8)
    .meta({ description: 'what taktuk may hold in memory on each host for others that are slower; default 8' }),
})
export type TaktukOptions = z.output<typeof taktukOptions>
