import { Args } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { onlyWord, runFlag, splitWords } from '../common.js'

export default class Note extends CahierCommand {
  static override summary = 'Write a dated line into the notebook of a run.'
  static override description = 'The notebook is notes.md in the run directory; the report shows it.'
  static override usage = 'note [RUN] TEXT [--dir RUN] [--json]'
  static override examples = [
    { description: 'On the newest run of this folder', command: '<%= config.bin %> note "air conditioning failed between 3 and 4"' },
  ]
  static override strict = false
  static override args = { text: Args.string({ description: 'What to write. A run directory may stand before it.', required: true }) }
  static override flags = { dir: runFlag }

  async run(): Promise<{ readonly directory: string; readonly text: string }> {
    const { argv, flags } = await this.parse(Note)
    const { directory, operands } = await splitWords(argv as string[], flags.dir, 1)
    const text = onlyWord(operands, 'TEXT', 'cahier note "the text in quotes"')
    const core = await this.core()
    await core.addNote(directory, text)
    this.log(`Noted in ${directory}`)
    return { directory, text }
  }
}
