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

  async run(): Promise<unknown> {
    const { args, flags } = await this.parse(Export)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const format = flags.format === 'jsonl' ? 'jsonl' : 'csv'
    const exported = await core.exportResults(directory, { format, ...(flags.to === undefined ? {} : { to: flags.to }) })
    return exported
  }
}
