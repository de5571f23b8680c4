import type { RunEvent, RunStatus } from '@cahier/core'
import { CahierCommand } from '../base-command.js'
import { runArgument } from '../common.js'
import { openDisplay } from '../display.js'
import { EXIT_CODES, exitCodeOfRun } from '../exit-codes.js'
import { findRunDirectory } from '../run-directory.js'
import { formatStatus } from '../run-text.js'

export default class Attach extends CahierCommand {
  static override summary = 'Follow a run that another process drives.'
  static override description = 'Only reads. Ends when the run ends or nobody drives it any more; Ctrl-C stops following, the run goes on.'
  static override examples = [{ description: 'Follow the newest run of this folder', command: '<%= config.bin %> attach' }]
  static override args = { directory: runArgument }

  async run(): Promise<RunStatus> {
    const { args } = await this.parse(Attach)
    const directory = await findRunDirectory(args.directory)
    const core = await this.core()
    const display = await openDisplay({ lines: this.jsonEnabled() ? process.stderr : process.stdout, bar: process.stderr, core })
    display.say(`Following ${directory}`)
    // To attach is neither to start a run nor to resume it.
    const follow = (event: RunEvent): void => display.show(event.type === 'started' ? { type: 'counts', counts: event.counts } : event)
    const left = new AbortController()
    const leave = (): void => left.abort()
    process.once('SIGINT', leave)
    // Following for a reader that has gone would never end.
    process.stdout.once('error', leave)
    try {
      const status = await core.attachRun(directory, { onEvent: follow, signal: left.signal })
      display.close()
      this.log(formatStatus(status, core))
      this.endWith(codeOf(status, left.signal.aborted))
      return status
    } finally {
      display.close()
      process.off('SIGINT', leave)
      process.stdout.off('error', leave)
    }
  }
}

function codeOf({ state, counts }: RunStatus, left: boolean): number {
  if (left) return EXIT_CODES.detached.code
  return exitCodeOfRun({ outcome: state === 'finished' ? 'complete' : 'incomplete', counts })
}
