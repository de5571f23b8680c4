import type { SubmitAnswer } from '@cahier/core/spi'

type Refusal = Exclude<SubmitAnswer, { outcome: 'submitted' }>

interface Rule {
  readonly pattern: RegExp
  readonly outcome: 'invalid' | 'rejected' | 'uncertain'
  readonly suggestions: readonly string[]
  readonly limit?: string
}

const LOOK_AT_PARTITIONS = 'See the partitions and their limits with "sinfo" or "cahier sites check"'
const ACCOUNTS = 'See your accounts and QOS with "sacctmgr show assoc user=$USER format=account,partition,qos"'
const ASK_LESS = 'Ask for fewer cores, less memory or fewer nodes, or name a queue whose nodes have them'
const AUTHENTICATION = 'The authentication service (munge) of this machine does not work: its administrators can restart it'
const CONTROLLER = 'SLURM’s controller is not running or not reachable from here; jobs that run go on. Try "scontrol ping"'

/**
 * What sbatch says when it fails, most telling first: several lines come together.
 *
 * `rejected` only where it is certain that nothing was queued: the request was never sent, or the controller said no.
 *
 * @source transcripts/slurm-22.05/sbatch-refused.txt; slurm_strerror's texts for those that the bed cannot give
 */
const RULES: readonly Rule[] = [
  // Limits: the same job may be taken later.
  limit(/\b((?:Assoc|QOS)(?:Max|Grp)Submit\w*|MaxSubmit\w*)\b/, undefined, [
    'You have as many jobs in the queue as you may have; the rest goes in when some have ended',
    'Set options.maxQueued of the site to your limit, so that it is not reached',
  ]),
  limit(/job submit limit, user's size and\/or time limits/, 'submit limit', [ACCOUNTS]),
  limit(/maximum number of (?:submitted )?jobs|Reached the maximum number of|Job limit exceeded|MaxSubmitJobs/i, 'MaxSubmitJobs', [
    ACCOUNTS,
  ]),
  // sbatch goes on trying after this for two minutes; that it was ended meanwhile, by our time limit, leaves its last try open.
  {
    pattern: /temporarily unable to accept job/i,
    outcome: 'uncertain',
    limit: 'MaxJobCount',
    suggestions: ['The controller holds as many jobs of all users as it can (MaxJobCount); it takes more when some have ended'],
  },

  // The request was sent, and what became of it is open.
  rule(
    'uncertain',
    /Socket timed out|timed out on send\/recv|Zero Bytes were transmitted|Connection reset|Broken pipe|Transport endpoint|Unexpected message received/i,
    ['The controller did not answer in time, and may have taken the job all the same: it is looked for by its name'],
  ),
  rule('uncertain', /Message receive failure|Header lengths are longer than data received|Insane message length/i, [CONTROLLER]),

  // It was never sent.
  rule('rejected', /Unable to contact slurm controller \(connect failure\)/i, [CONTROLLER]),
  rule('rejected', /auth_g_create: REQUEST_SUBMIT_BATCH_JOB has authentication error/, [AUTHENTICATION]),
  rule('rejected', /Could not establish a configuration source|Unable to process configuration file|fetch_config: DNS SRV/i, [
    'The SLURM commands find no configuration: is SLURM_CONF set right, and is this the login node?',
  ]),
  rule('rejected', /Problem talking to (?:the )?database/i, [
    'With options.cluster every command needs the accounting service, which does not answer',
  ]),
  rule('rejected', /slurm controller is in standby mode|Slurm backup controller in standby/i, [CONTROLLER]),
  rule('rejected', /Slurm system maintenance|Job submission disabled|disabled by admin|Draining/i, [
    'The site takes no jobs at the moment',
  ]),
  rule('rejected', /Required partition not available/i, [
    'The partition is closed at the moment (inactive or drained): wait, or name another queue',
    LOOK_AT_PARTITIONS,
  ]),
  rule('rejected', /Requested partition configuration not available now/i, [LOOK_AT_PARTITIONS]),
  rule('rejected', /I\/O error writing script/i, ['The controller’s disk is full or broken: the site’s administrators will want to know']),

  // It never works.
  rule('invalid', /invalid partition specified|Invalid partition name/i, [
    LOOK_AT_PARTITIONS,
    'Set `queue` of the site or of the job to one of them',
  ]),
  rule('invalid', /Invalid account or account\/partition combination/i, [
    ACCOUNTS,
    'Set `account` of the site or of the job to one that may use this partition',
  ]),
  rule('invalid', /User's group not permitted|not permitted to use (?:this|the) partition/i, [LOOK_AT_PARTITIONS]),
  rule('invalid', /Invalid qos|QOS (?:specification|not permitted)/i, [ACCOUNTS, 'Set options.qos to one of them']),
  rule('invalid', /Requested reservation is invalid|Invalid reservation/i, ['See the reservations with "scontrol show reservation"']),
  rule('invalid', /Invalid feature specification/i, ['See what nodes have with "sinfo -o \'%P %f\'" and set options.constraint to that']),
  rule('invalid', /Invalid license specification/i, ['See the licenses with "scontrol show licenses"']),
  rule('invalid', /generic resource|\(gres\)|Trackable RESource/i, [
    'See the GPUs and other resources of the nodes with "sinfo -o \'%P %G\'"',
  ]),
  rule('invalid', /Invalid job array specification/i, [
    'The controller takes indices below its MaxArraySize only ("scontrol show config"); options.maxArraySize keeps arrays below it',
  ]),
  rule('invalid', /Requested time limit is invalid|Invalid --time|Invalid time.?limit|time-min/i, [
    'Ask for less walltime, or for a queue that gives more',
    LOOK_AT_PARTITIONS,
  ]),
  rule('invalid', /Memory specification can not be satisfied|Memory required by task is not available/i, [
    'No node of the partition has so much memory',
    ASK_LESS,
  ]),
  rule('invalid', /(?:CPU count per node|Socket, core and\/or thread|Temporary disk) specification can not|CPU count per node can not/i, [
    ASK_LESS,
  ]),
  rule(
    'invalid',
    /Requested node configuration is not available|More processors requested than permitted|Node count specification invalid/i,
    [ASK_LESS, LOOK_AT_PARTITIONS],
  ),
  rule('invalid', /Invalid node name/i, ['The list of nodes names one that this cluster does not have']),
  rule('invalid', /Job dependency problem|Invalid job id specified/i, ['The dependency names a job that cannot be depended on']),
  rule('invalid', /Invalid directive found in batch script/i, [
    'A value with a space wants quotes on a #SBATCH line: --comment="two words"',
  ]),
  rule('invalid', /DOS line breaks/i, ['Give the script Unix line ends: "dos2unix script.sh"']),
  rule('invalid', /does not look like a batch script|Batch script is empty/i, ['Let the script begin with "#!/bin/sh" or "#!/bin/bash"']),
  rule('invalid', /NULL character/i, ['The script holds a zero byte: it was damaged, or is no text']),
  rule('invalid', /Pathname of a file, directory or other parameter too long|script.*too (?:big|large|long)|exceeds size limit/i, [
    'The script is larger than the site allows (max_script_size)',
  ]),
  rule('invalid', /Unable to open file/i, ['The script is not there: does this site share its files with the machine that submits?']),
  rule('invalid', /mutually exclusive/i, ['Ask for memory in one way only: per node, per core or per GPU']),
  rule('invalid', /No cluster '.*' known|can't be reached now, or it is an invalid entry for --cluster/i, [
    'See the clusters with "sacctmgr show cluster" and set options.cluster to one of them',
  ]),
  rule('invalid', /(?:unrecognized|unknown|ambiguous) option|option '.*' is ambiguous|requires an argument|Unmatched [`"']/i, [
    'An option of a #SBATCH line or of options.extra is not one of this version: see "sbatch --help"',
  ]),
  rule(
    'invalid',
    /Invalid numeric value|Invalid --[\w-]+ specification|invalid --[\w-]+=|Invalid [\w-]+ specification|Maximum node count \d+ is less/i,
    ['A value of a #SBATCH line or of an option is not one that sbatch takes'],
  ),
  rule('invalid', /Access\/permission denied|User not permitted|not authorized|Invalid user id/i, [ACCOUNTS]),
  rule('invalid', /Job violates accounting\/QOS policy/i, [ACCOUNTS]),
]

function rule(outcome: Rule['outcome'], pattern: RegExp, suggestions: readonly string[]): Rule {
  return { pattern, outcome, suggestions }
}

/** The text's first group, where it has one, names the limit. */
function limit(pattern: RegExp, name: string | undefined, suggestions: readonly string[]): Rule {
  return { pattern, outcome: 'rejected', suggestions, ...(name !== undefined && { limit: name }) }
}

/** What is not understood may have been queued. */
const NOT_UNDERSTOOD: Rule = {
  pattern: /(?:)/,
  outcome: 'uncertain',
  suggestions: ['It is not known whether the job was queued: it is looked for by its name before anything is submitted again'],
}

/**
 * Says what became of a submission that sbatch did not answer with an id.
 *
 * @param stderr - what sbatch and a site's wrapper around it printed there
 * @param end - how sbatch ended, where it printed nothing: `exit code 1`
 */
export function readRefusal(stderr: string, end: string): Refusal {
  const words = ownWords(stderr)
  const { outcome, suggestions, limit, pattern } = RULES.find((each) => each.pattern.test(words)) ?? NOT_UNDERSTOOD
  const named = outcome === 'rejected' ? (limit ?? pattern.exec(words)?.[1]) : limit
  return {
    outcome,
    message: words === '' ? `sbatch said nothing and ended with ${end}` : words,
    suggestions,
    ...(named !== undefined && { limit: named }),
  }
}

/** sbatch's own lines in one, without its name in front of each; all lines where none is its own. */
export function ownWords(text: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const own = lines.filter((line) =>
    /^(?:\w+: (?:error|fatal|unrecognized|option|invalid)|slurm_|Invalid|Unexpected|Job |Slurm )/i.test(line),
  )
  const words = (own.length > 0 ? own : lines).map((line) => line.replace(/^\w+: (?:(?:error|fatal): )?/i, ''))
  return [...new Set(words)].join('; ').slice(0, 1000)
}
