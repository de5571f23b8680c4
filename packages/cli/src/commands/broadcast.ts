import { overFlag, TransferCommand, type TransferSummary } from '../transfer-command.js'
import Put from './put.js'

export default class Broadcast extends TransferCommand {
  static override summary = 'Copy the same files to many hosts, which pass them on.'
  static override description = [
    'As put; every host gives what comes in to the next one at once, so that the time hardly depends on their number. A host that dies or is slow is passed over. With next to nothing to pass, or for one host, this is a plain copy.',
    'What hosts give on is checked and cannot be changed unseen, but it is not encrypted; with --over ssh it is.',
    'Exit codes are those of put.',
  ].join('\n')
  static override usage = 'broadcast FILES... -w HOSTS --to DIR [flags]'
  static override examples = [
    { description: 'An image to 64 hosts', command: `<%= config.bin %> broadcast image.tar -w 'node[1-64]' --to /scratch` },
    { description: 'Where hosts may not open ports', command: `<%= config.bin %> broadcast image.tar -w @compute --to . --over ssh` },
  ]
  // Not inherited: the parser looks at what a command says itself.
  static override strict = false
  static override flags = { ...Put.flags, over: overFlag }

  async run(): Promise<TransferSummary> {
    const { argv, flags } = await this.parse(Broadcast)
    return await this.copy('Broadcast', argv as string[], flags)
  }
}
