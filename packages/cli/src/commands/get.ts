import { Flags } from '@oclif/core'
import { exitCodes, TransferCommand, type TransferSummary, transferFlags, viaFlag } from '../transfer-command.js'

export default class Get extends TransferCommand {
  static override summary = 'Copy files of many hosts to this machine.'
  static override description = [
    'Names are absolute or from the home directory there; *, ? and […] are patterns, in quotes so that the shell here leaves them alone.',
    'Without --to, the files of several hosts come into a directory for each, which is made: node1, node2…; those of one host into the current one.',
    'A file appears here when it is whole and verified. A host that fails or is down never stops the others.',
    'Ctrl-C ends the copies and keeps what came; twice: leave now.',
    exitCodes('everything of all hosts is here', 'a directory here'),
  ].join('\n')
  static override usage = 'get FILES... -w HOSTS [--to DIR] [flags]'
  static override examples = [
    { description: 'The logs of 8 hosts into node1/, node2/…', command: `<%= config.bin %> get '/var/log/app/*.log' -w 'node[1-8]'` },
    {
      description: 'Each under the name of its host, in one directory',
      command: `<%= config.bin %> get 'out-{{host}}.csv' -w @compute --to results --create`,
    },
  ]
  // Not inherited: the parser looks at what a command says itself.
  static override strict = false
  static override flags = {
    ...transferFlags,
    via: viaFlag('auto, scp, sftp, rsync, cat, local'),
    to: Flags.string({
      description: 'Directory here; {{host}} is the address of the host. Default: {{host}} for several hosts, . for one.',
      helpValue: 'DIR',
    }),
  }

  async run(): Promise<TransferSummary> {
    const { argv, flags } = await this.parse(Get)
    return await this.copy('Get', argv as string[], flags)
  }
}
