import { Args } from '@oclif/core'

/** The run that most commands are about. */
export const runArgument = Args.string({
  description: 'Run directory, or a folder with runs in it (then the newest). Default: the present folder.',
})
