import { Flags } from '@oclif/core'
import { TransferCommand, type TransferSummary, transferFlags } from '../transfer-command.js'

export default class Get extends TransferCommand {
  static override summary = 'Copy files of many hosts to this machine.'
  static override description =
    `Names are absolute or from the home directory there; *, ? and […] are patterns, in quotes so that the shell here leaves them alone.
Without --to, the files of several hosts come into a directory for each, which is made: node1, node2…; those of one host into the current one.
A host that fails or is down never stops the others. Ctrl-C ends the copies and keeps what came; twice: leave now.
The exit code is 0 when everything of all hosts is here, else the largest one: 1 for a host that failed, 124 for the time limit, 255 for a
host that was not reached; 130 after Ctrl-C. 2: the command line, a directory here or cahier.config is wrong; no host was asked.`
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
