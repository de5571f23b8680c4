import { Flags } from '@oclif/core'
import { CahierCommand } from '../base-command.js'
import { runArgument } from '../common.js'
import { findRunDirectory } from '../run-directory.js'

export default class Export extends CahierCommand {
  static override summary = 'Write the results as one table.'
  static override description = 'One row for each attempt that counts: factors, repetition, results. To stdout, or to a file.'
  static override examples = [
    { description: 'To a file', command: '<%= config.bin %> export --to results.csv' },
    { description: 'One JSON object on each line', command: '<%= config.bin %> export --format jsonl' },
  ]
  static override args = { directory: runArgument }
  static override flags = {
    format: Flags.string({ description: 'Form of the table.', options: ['csv', 'jsonl'], default: 'csv' }),
    to: Flags.string({ description: 'File to write. Default: stdout.' }),
  }

  async run(): Promise<{ readonly rows: number; readonly file?: string; readonly text?: string }> {
    const { args, flags } = await this.parse(Export)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const { rows, file, text } = await core.exportResults(directory, { format: flags.format === 'jsonl' ? 'jsonl' : 'csv', to: flags.to })
    if (file === undefined) {
      if (!this.jsonEnabled()) process.stdout.write(text)
      return { rows, text }
    }
    this.log(`${rows} ${rows === 1 ? 'row' : 'rows'} in ${file}`)
    return { rows, file }
  }
}
