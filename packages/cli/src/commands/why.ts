import type { AskedItem, ExplainedItem, SchedulerWords } from '@cahier/core'
import { Args, Flags } from '@oclif/core'
import { adapterSources } from '../adapter-sources.js'
import { CahierCommand } from '../base-command.js'
import { onlyWord, runFlag, splitWords } from '../common.js'
import { formatItem, formatMatches } from '../run-text.js'
import { adviceFor, formatAsked, formatWords } from '../why-text.js'

export default class Why extends CahierCommand {
  static override summary = 'Tell everything that is known about one work item, or about a stage before them.'
  static override description = `Its state and why, every attempt with times and directory, and the last lines of its output.
When several repetitions fit, they are listed, and the last that failed (or the first) is explained.
It reads the journal of the run and disturbs nobody; with --ask the queue of the site is asked, too, once.`
  static override usage = 'why [RUN] ITEM [--dir RUN] [--ask] [--json]'
  static override examples = [
    { description: 'By the id that status shows', command: '<%= config.bin %> why 1f3a9c/r2' },
    { description: 'By its levels', command: '<%= config.bin %> why cores=8,repetition=2' },
    { description: 'A stage of prepare', command: '<%= config.bin %> why prepare:compile' },
    { description: 'What the queue says of it now', command: '<%= config.bin %> why 1f3a9c/r2 --ask' },
  ]
  static override strict = false
  static override args = {
    item: Args.string({
      description: 'Work item: its id, the beginning of it, or levels; or prepare:STAGE. A run directory may stand before it.',
      required: true,
    }),
  }
  static override flags = {
    dir: runFlag,
    ask: Flags.boolean({ description: 'Ask the queue of the site what it says of the job now.' }),
  }

  async run(): Promise<ExplainedItem & { readonly schedulerWords?: SchedulerWords; readonly asked?: AskedItem }> {
    const { argv, flags } = await this.parse(Why)
    const { directory, operands } = await splitWords(argv as string[], flags.dir, 1)
    const selector = onlyWord(operands, 'ITEM', 'cahier why 1f3a9c/r2')
    const core = await this.core()
    const item = await core.whyItem(directory, selector)
    const schedulerWords = core.readSchedulerWords(directory, item)
    if (item.matches !== undefined) this.log(formatMatches(item.matches, item.id))
    this.log(formatItem(item, core))
    if (schedulerWords !== undefined) this.log(formatWords(schedulerWords))
    const asked = flags.ask ? await core.askItem(directory, item, { adapters: await adapterSources(this.config) }) : undefined
    if (flags.ask) this.log(formatAsked(asked, core))
    for (const tip of adviceFor(item, flags.ask)) this.log(`Try: ${tip}`)
    await core.closeConnections()
    return { ...item, ...(schedulerWords === undefined ? {} : { schedulerWords }), ...(asked === undefined ? {} : { asked }) }
  }
}
