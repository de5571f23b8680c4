import type { ExplainedItem } from '@cahier/core'
import { Args } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { onlyWord, runFlag, splitWords } from '../common.js'
import { formatItem, formatMatches } from '../run-text.js'

export default class Why extends CahierCommand {
  static override summary = 'Tell everything that is known about one work item.'
  static override description = `Its state and why, every attempt with times and directory, and the last lines of its output.
When several repetitions fit, they are listed, and the last that failed (or the first) is explained.`
  static override usage = 'why [RUN] ITEM [--dir RUN] [--json]'
  static override examples = [
    { description: 'By the id that status shows', command: '<%= config.bin %> why 1f3a9c/r2' },
    { description: 'By its levels', command: '<%= config.bin %> why cores=8,repetition=2' },
  ]
  static override strict = false
  static override args = {
    item: Args.string({
      description: 'Work item: its id, the beginning of it, or levels. A run directory may stand before it.',
      required: true,
    }),
  }
  static override flags = { dir: runFlag }

  async run(): Promise<ExplainedItem> {
    const { argv, flags } = await this.parse(Why)
    const { directory, operands } = await splitWords(argv as string[], flags.dir, 1)
    const selector = onlyWord(operands, 'ITEM', 'cahier why 1f3a9c/r2')
    const core = await this.core()
    const item = await core.whyItem(directory, selector)
    if (item.matches !== undefined) this.log(formatMatches(item.matches, item.id))
    this.log(formatItem(item, core))
    return item
  }
}
