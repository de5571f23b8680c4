import { ConfigError } from '@cahier/core/spi'
import { Args, Flags } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand } from '../../base-command.js'
import { drained } from '../../drained.js'
import { EXIT_CODES } from '../../exit-codes.js'
import { jobFlags, nearSelectors } from '../../job-flags.js'
import { listenForStop } from '../../stop-signals.js'

/** With --json the text is kept until the end. */
const MOST_JSON_BYTES = 64 << 20

export default class JobsLogs extends CahierCommand {
  static override summary = 'Show what a job has written.'
  static override description = `Byte for byte, from where the job has its files: here, or on the site.
Exit code 1 when it has not written anything yet because it has not started.`
  static override examples = [
    { description: 'By the id, in the folder that it was submitted from', command: '<%= config.bin %> jobs logs 1234' },
    {
      description: 'The last lines of its stderr, until it ends',
      command: '<%= config.bin %> jobs logs 1234 --stderr --lines 20 --follow',
    },
  ]
  static override args = {
    job: Args.string({ description: 'Id, directory that "cahier jobs submit" made, or directory of an attempt of a run.', required: true }),
  }
  static override flags = {
    ...jobFlags,
    stderr: Flags.boolean({ description: 'Its standard error instead of its standard output.' }),
    lines: Flags.integer({ char: 'n', description: 'Only so many lines from the end.', min: 0 }),
    follow: Flags.boolean({ char: 'f', description: 'Go on until the job has ended.', exclusive: ['json'] }),
  }

  async run(): Promise<{ readonly file: string; readonly text: string }> {
    const { args, flags } = await this.parse(JobsLogs)
    const core = await this.core()
    const [job = args.job] = nearSelectors([args.job])
    const kept: Uint8Array[] = []
    let keptBytes = 0
    using stop = listenForStop(
      () => {},
      () => process.exit(EXIT_CODES.detached.code),
    )
    const end = await core.readJobOutput(
      job,
      {
        stream: flags.stderr ? 'stderr' : 'stdout',
        lines: flags.lines,
        follow: flags.follow,
        signal: stop.signal,
        onOutput: (chunk) => {
          if (!this.jsonEnabled()) {
            process.stdout.write(chunk)
            return drained(process.stdout)
          }
          keptBytes += chunk.length
          if (keptBytes <= MOST_JSON_BYTES) kept.push(Buffer.from(chunk))
          return undefined
        },
      },
      { directory: flags.dir, site: flags.site, adapters: await adapterSources(this.config) },
    )
    await core.closeConnections()
    if (stop.signal.aborted) this.endWith(EXIT_CODES.detached.code)
    if (!end.exists && end.gone !== undefined) {
      throw new ConfigError('E_NOT_FOUND', `the job ${args.job} ended before it wrote anything: ${end.gone}`, {
        suggestions: ['See what the queue says of it: cahier jobs list --all'],
      })
    }
    if (!end.exists) {
      throw new ConfigError('E_NOT_FOUND', `there is no ${end.file} yet: the job ${args.job} has not started`, {
        suggestions: ['Wait for it: --follow', 'See whether it is in the queue: cahier jobs list'],
      })
    }
    if (keptBytes > MOST_JSON_BYTES) {
      throw new ConfigError('E_ARGUMENT', `${end.file} is too long for JSON`, {
        suggestions: ['Take its end: --lines 1000', 'Leave --json out'],
      })
    }
    return { file: end.file, text: Buffer.concat(kept).toString('utf8') }
  }
}
