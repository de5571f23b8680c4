import { basename, extname, resolve } from 'node:path'
import type { JobRequest, SubmittedSiteJob } from '@cahier/core'
import { ConfigError } from '@cahier/core/spi'
import { Args, Flags, type Interfaces } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand, type Core } from '../../base-command.js'
import { EXIT_CODES } from '../../exit-codes.js'
import { nearSelectors, readDuration, readOptions, readSizeMiB } from '../../job-flags.js'
import { formatSubmitted } from '../../jobs-text.js'
import { listenForStop } from '../../stop-signals.js'

const KINDS = ['after', 'afterok', 'afterany', 'afternotok'] as const

export default class JobsSubmit extends CahierCommand {
  static override summary = 'Submit one job to a site, exactly once.'
  static override description =
    `SCRIPT is a batch script with a #! line; its directive lines (#SBATCH …) count, and what the flags say fills in what they leave open.
Behind two dashes stands a command: one word is text for a shell there ('hostname; date'), several words are a program with its arguments.
The job starts in a directory of its own, cahier-jobs/NAME_DATE_ID, with the files that --file names beside it; its output is in stdout and stderr there.
On a site that does not see the files of this machine, the job has the same directory below the work directory of the site, and "cahier get" brings its files; what was printed says how.
Many jobs that differ in a number are a campaign, and go to the scheduler as arrays: see cahier run.
When the scheduler does not say whether it took the job, the job is looked up by its tag, and never submitted again on suspicion. If that stays open, --continue asks again later.`
  static override usage = 'jobs submit [flags] SCRIPT | jobs submit [flags] -- COMMAND... | jobs submit --continue DIR'
  static override examples = [
    { description: 'A command on this machine', command: '<%= config.bin %> jobs submit --site local --walltime 5min -- hostname' },
    {
      description: 'A script on the default site, when job 1234 has ended well',
      command: '<%= config.bin %> jobs submit --cores 8 --walltime 2h --file bench.py --after 1234 bench.sh',
    },
    { description: 'With an option of its scheduler', command: '<%= config.bin %> jobs submit --site cluster -o qos=debug bench.sh' },
  ]
  static override strict = false
  static override args = { script: Args.string({ description: 'Batch script of this machine.' }) }
  static override flags = {
    site: Flags.string({ description: 'Site of cahier.config. Default: its default site.' }),
    name: Flags.string({ description: 'Name for people. Default: that of the script or of the program.' }),
    cores: Flags.integer({ char: 'c', description: 'Cores on each node.', min: 1 }),
    nodes: Flags.integer({ char: 'N', description: 'Nodes.', min: 1 }),
    tasks: Flags.integer({ char: 'n', description: 'Processes on all nodes together (MPI ranks).', min: 1 }),
    memory: Flags.string({ char: 'm', description: 'Memory on each node, as 500MB or 4GiB.', helpValue: 'SIZE' }),
    walltime: Flags.string({
      char: 't',
      description: 'Longest time that it may take, as 90s, 2h30m or 1-12:00:00.',
      helpValue: 'DURATION',
    }),
    gpus: Flags.integer({ char: 'g', description: 'GPUs on each node.', min: 0 }),
    queue: Flags.string({ char: 'q', description: 'Queue (partition, class). Default: that of the site.' }),
    account: Flags.string({ char: 'A', description: 'Who is charged. Default: that of the site.' }),
    option: Flags.string({
      char: 'o',
      description: "Option of the site's scheduler, as qos=debug. May be given again.",
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME=VALUE',
    }),
    file: Flags.string({
      char: 'f',
      description: 'File that is copied beside the job. May be given again.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'FILE',
    }),
    env: Flags.string({
      char: 'e',
      description: 'Environment variable of the job. May be given again.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME=VALUE',
    }),
    after: Flags.string({
      description: 'Id or directory of a job that it waits for. May be given again.',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'JOB',
    }),
    kind: Flags.string({
      description: 'What of these it waits for: their start, a good end (the default), any end, a bad end.',
      options: [...KINDS],
      dependsOn: ['after'],
    }),
    continue: Flags.string({
      description: 'Find out about the job of this directory; submit it when the scheduler does not have it.',
      helpValue: 'DIR',
    }),
    dir: Flags.string({ description: 'Folder with cahier.config, in which cahier-jobs is made.', default: '.' }),
  }

  async run(): Promise<SubmittedSiteJob> {
    const { argv, flags } = await this.parse(JobsSubmit)
    const core = await this.core()
    using stop = listenForStop(
      (text) => this.logToStderr(text),
      () => process.exit(EXIT_CODES.detached.code),
      'Leaving. Whether the job was queued may be open: cahier jobs submit --continue DIR finds out. Ctrl-C again leaves at once.',
    )
    const options = {
      directory: flags.dir,
      site: flags.site,
      adapters: await adapterSources(this.config),
      signal: stop.signal,
      onUncertain: (message: string) => this.logToStderr(`The scheduler did not say whether it took the job (${message}); looking it up.`),
    }
    const job =
      flags.continue === undefined
        ? await core.submitJob(await this.#request(core, argv as string[], flags), options)
        : await core.continueJob(resolve(nothingElse(argv, flags.continue)), options)
    this.log(formatSubmitted(job, core))
    await core.closeConnections()
    return job
  }

  async #request(core: Core, words: readonly string[], flags: Interfaces.InferredFlags<typeof JobsSubmit.flags>): Promise<JobRequest> {
    const isCommand = this.argv.includes('--')
    const [first = ''] = words
    if (first === '') {
      throw new ConfigError('E_ARGUMENT', 'there is nothing to submit', {
        suggestions: ['Name a script: cahier jobs submit job.sh', 'Or write a command behind two dashes: cahier jobs submit -- hostname'],
      })
    }
    if (!isCommand && words.length > 1) {
      throw new ConfigError('E_ARGUMENT', `one script was expected, not ${words.length} words: ${words.join(' ')}`, {
        suggestions: [`For a command write it behind two dashes: cahier jobs submit -- ${words.join(' ')}`],
      })
    }
    const script = isCommand ? core.scriptOfCommand(words) : core.readBatchScript(first)
    const name = flags.name ?? (isCommand ? basename(first.split(/\s/)[0] ?? '') : basename(first, extname(first)))
    const { cores, nodes, tasks, gpus, memory, walltime } = flags
    return {
      name: name === '' ? 'job' : name,
      script,
      resources: {
        ...(cores === undefined ? {} : { cores }),
        ...(nodes === undefined ? {} : { nodes }),
        ...(tasks === undefined ? {} : { tasks }),
        ...(gpus === undefined ? {} : { gpus }),
        ...(memory === undefined ? {} : { memoryMiB: readSizeMiB(core, 'memory', memory) }),
        ...(walltime === undefined ? {} : { walltimeMs: readDuration(core, 'walltime', walltime) }),
      },
      queue: flags.queue,
      account: flags.account,
      ...(flags.option === undefined ? {} : { options: readOptions(flags.option) }),
      ...(flags.env === undefined ? {} : { environment: readEnvironment(flags.env) }),
      files: (flags.file ?? []).map((file) => resolve(file)),
      after: nearSelectors(flags.after ?? []),
      ...(flags.kind === undefined ? {} : { kind: flags.kind as (typeof KINDS)[number] }),
    }
  }
}

function nothingElse(words: readonly unknown[], directory: string): string {
  if (words.length === 0) return directory
  throw new ConfigError('E_ARGUMENT', `--continue is about the job in ${directory}: nothing else can be submitted with it`)
}

function readEnvironment(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair): [string, string] => {
      const at = pair.indexOf('=')
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)]
      throw new ConfigError('E_ARGUMENT', `--env ${pair}: a name and a value are wanted`, {
        suggestions: ['Write it as in: --env THREADS=8'],
      })
    }),
  )
}
