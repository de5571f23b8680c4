import { Args, Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { findRunDirectory } from '../run-directory.js'

export default class Note extends CahierCommand {
  static override summary = 'Write a dated line into the notebook of a run.'
  static override description = 'The notebook is notes.md in the run directory; the report shows it.'
  static override examples = [
    { description: 'On the newest run of this folder', command: '<%= config.bin %> note "air conditioning failed between 3 and 4"' },
  ]
  static override args = { text: Args.string({ description: 'What to write.', required: true }) }
  static override flags = {
    dir: Flags.string({ description: 'Run directory, or a folder with runs in it (then the newest). Default: the present folder.' }),
  }

  async run(): Promise<{ readonly directory: string; readonly text: string }> {
    const { args, flags } = await this.parse(Note)
    const directory = await findRunDirectory(flags.dir)
    const core = await this.core()
    await core.addNote(directory, args.text)
    this.log(`Noted in ${directory}`)
    return { directory, text: args.text }
  }
}
