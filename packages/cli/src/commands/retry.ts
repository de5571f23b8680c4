import type { ItemState, RetriedItems } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { runFlag, splitWords } from '../common.js'
import { formatCollected } from '../run-text.js'

const STATES = ['failed', 'invalid', 'done'] as const satisfies readonly ItemState[]

export default class Retry extends CahierCommand {
  static override summary = 'Put work items back on the list.'
  static override description =
    'The next "cahier run" does them again, as a new attempt; what was tried before is kept. Without ITEM and --state: all that failed or gave an invalid result. With --collect no job is started: results are read again from the files that are there, as the campaign file says now.'
  static override usage = 'retry [RUN] [ITEM...] [--dir RUN] [--state failed|invalid|done] [--collect] [--json]'
  static override examples = [
    { description: 'All that failed or gave an invalid result', command: '<%= config.bin %> retry' },
    { description: 'Only what failed', command: '<%= config.bin %> retry --state failed' },
    { description: 'Read invalid results again after the pattern was mended', command: '<%= config.bin %> retry --collect' },
  ]
  static override strict = false
  static override args = {
    items: Args.string({ description: 'Work items, as status and why name them. A run directory may stand before them.' }),
  }
  static override flags = {
    dir: runFlag,
    state: Flags.string({
      description: 'Take back all items in this state; may be repeated.',
      options: STATES,
      multiple: true,
      multipleNonGreedy: true,
    }),
    collect: Flags.boolean({
      description:
        'Run nothing: read the results again with the collect and results that the campaign file has now (default: the invalid ones).',
    }),
  }

  async run(): Promise<RetriedItems> {
    const { argv, flags } = await this.parse(Retry)
    const { directory, operands } = await splitWords(argv as string[], flags.dir, 0)
    const core = await this.core()
    const retried = await core.retryItems(directory, {
      items: operands.length === 0 ? undefined : operands,
      states: flags.state as ItemState[] | undefined,
      collectOnly: flags.collect,
    })
    if (retried.collected !== undefined) this.log(formatCollected(retried.collected))
    else if (retried.count > 0) this.log(`${retried.count} work ${retried.count === 1 ? 'item' : 'items'} to do again: cahier run`)
    else {
      const why = operands.length > 0 ? 'these have not ended' : `no work item is ${(flags.state ?? ['failed', 'invalid']).join(' or ')}`
      this.log(`Nothing to do again: ${why}`)
    }
    return retried
  }
}
