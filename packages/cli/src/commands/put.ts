import { Flags } from '@oclif/core'
import { exitCodes, overFlag, TransferCommand, type TransferSummary, transferFlags } from '../transfer-command.js'

export default class Put extends TransferCommand {
  static override summary = 'Copy files of this machine to many hosts.'
  static override description = [
    'Each file or directory appears in the directory --to under its own name, when it is whole and verified; what was there before stays until then. What is the same there already is not moved again, and what an interrupted copy has left is gone on with.',
    'A host that fails or is down never stops the others; each is listed at the end, and on standard error with its reason.',
    'Ctrl-C ends the copies and keeps what came; twice: leave now.',
    exitCodes('all hosts have everything', 'a file here'),
  ].join('\n')
  static override usage = 'put FILES... -w HOSTS --to DIR [flags]'
  static override examples = [
    { description: 'Two files to 8 hosts', command: `<%= config.bin %> put input.dat conf -w 'node[1-8]' --to /scratch/run --create` },
    {
      description: 'Under another name',
      command: `<%= config.bin %> put app-fast.conf -w @compute -l root --to /etc/app --as app.conf`,
    },
    { description: 'To a directory of each host', command: `<%= config.bin %> put input.dat -w @compute --to 'run/{{host}}' --create` },
    { description: 'Only what differs, over a thin line', command: `<%= config.bin %> put data -w node1 --to . --via rsync --limit 2MB/s` },
  ]
  // Not inherited: the parser looks at what a command says itself.
  static override strict = false
  static override flags = {
    ...transferFlags,
    to: Flags.string({
      description: 'Directory there, from the home directory unless absolute; {{host}} is the address of the host.',
      required: true,
      helpValue: 'DIR',
    }),
    over: overFlag,
  }

  async run(): Promise<TransferSummary> {
    const { argv, flags } = await this.parse(Put)
    return await this.copy('Put', argv as string[], flags)
  }
}
