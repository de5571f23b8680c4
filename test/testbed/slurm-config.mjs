/** The files of a SLURM bed: texts only, no effects. */

/** Everything that the bed starts has it in its environment: the directory of the bed, a slash, what it is. */
export const MARK = 'CAHIER_TEST_SLURM'

/** Commands whose calls are counted. */
export const COUNTED = ['sbatch', 'squeue', 'sacct', 'scontrol', 'sinfo', 'scancel', 'sacctmgr']
/** Others that a login node has. */
export const UNCOUNTED = ['srun', 'salloc', 'sbcast', 'sprio', 'sshare', 'sdiag', 'sstat']

/**
 * @typedef {object} Settings
 * @property {string} directory
 * @property {string} user
 * @property {string} clusterName
 * @property {string} address where the daemons of the controller are reached
 * @property {number} port first port of the bed: controller, slurmdbd, MariaDB, from 10 on the nodes
 * @property {readonly { name: string, hostname: string, address: string }[]} nodes
 * @property {number} cpus
 * @property {number} memoryMiB
 * @property {boolean} hasAccounting
 * @property {string} [enforce]
 * @property {number} minJobAge
 * @property {number} maxArraySize
 * @property {number} messageTimeout of those who ask
 * @property {readonly string[]} partitions
 * @property {readonly string[]} config
 */

/**
 * Seconds that daemons wait for each other: a controller that had no answer of a node takes the launch of a job for failed, and
 * holds the job. On a busy machine a node may stand still for longer than those who ask want to wait.
 */
const PATIENCE = 60

export const portsOf = (port) => ({ controller: port, slurmdbd: port + 1, database: port + 2, node: (index) => port + 10 + index })
/** What those who ask are given, beside the configuration of the daemons and of jobs. */
export const clientConf = (directory) => `${directory}/client.conf`
export const socketOfMunge = (directory) => `${directory}/munge/sock`

/**
 * The configuration that makes many nodes of one machine, and quick. A key of `config` replaces ours.
 *
 * @param {Settings} settings
 * @param {{ isClient?: boolean }} [reader]
 * @source slurm.conf(5), Slurm 22.05
 */
export function renderSlurmConf(settings, { isClient = false } = {}) {
  const { directory, user, cpus, memoryMiB } = settings
  const ports = portsOf(settings.port)
  const munge = socketOfMunge(directory)
  const lines = [
    `ClusterName=${settings.clusterName}`,
    `SlurmctldHost=localhost(${settings.address})`,
    `SlurmctldPort=${ports.controller}`,
    `SlurmUser=${user}`,
    `SlurmdUser=${user}`,
    'AuthType=auth/munge',
    // A job that is queued again waits until its credential has expired: two minutes by default.
    `AuthInfo=socket=${munge},cred_expire=5`,
    'CredType=cred/munge',
    `StateSaveLocation=${directory}/ctld`,
    `SlurmdSpoolDir=${directory}/spool/%n`,
    `SlurmctldPidFile=${directory}/run/slurmctld.pid`,
    `SlurmdPidFile=${directory}/run/slurmd-%n.pid`,
    'SlurmctldSyslogDebug=quiet',
    'SlurmdSyslogDebug=quiet',
    'SwitchType=switch/none',
    'MpiDefault=none',
    'MailProg=/bin/true',
    'JobAcctGatherType=jobacct_gather/linux',
    'JobAcctGatherFrequency=task=1',
    'ProctrackType=proctrack/linuxproc',
    'TaskPlugin=task/none',
    'JobCompType=jobcomp/none',
    ...(settings.hasAccounting
      ? [
          'AccountingStorageType=accounting_storage/slurmdbd',
          'AccountingStorageHost=127.0.0.1',
          `AccountingStoragePort=${ports.slurmdbd}`,
          `AccountingStoragePass=${munge}`,
          'AccountingStoreFlags=job_comment,job_script',
          ...(settings.enforce === undefined ? [] : [`AccountingStorageEnforce=${settings.enforce}`]),
        ]
      : ['AccountingStorageType=accounting_storage/none']),
    // Nodes may say that they have more processors than this machine, and come back by themselves.
    'SlurmdParameters=config_overrides',
    'ReturnToService=2',
    'TreeWidth=1000',
    'PropagateResourceLimits=NONE',
    'JobRequeue=1',
    `MaxArraySize=${settings.maxArraySize}`,
    'MaxJobCount=30000',
    'SchedulerType=sched/backfill',
    'SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,bf_continue,bf_max_job_test=1000,default_queue_depth=1000,kill_invalid_depend=no',
    'SelectType=select/cons_tres',
    'SelectTypeParameters=CR_CPU_Memory',
    // Without it one job takes the whole memory of its node.
    `DefMemPerCPU=${Math.max(1, Math.min(100, Math.floor(memoryMiB / cpus)))}`,
    'EpilogMsgTime=0',
    `MinJobAge=${settings.minJobAge}`,
    'KillWait=1',
    `UnkillableStepTimeout=${PATIENCE}`,
    'BatchStartTimeout=10',
    `MessageTimeout=${isClient ? settings.messageTimeout : PATIENCE}`,
    'TCPTimeout=2',
    'SlurmctldTimeout=10',
    'SlurmdTimeout=5',
    'InactiveLimit=0',
    'WaitTime=0',
  ]
  const nodes = settings.nodes.map(
    ({ name, hostname, address }, index) =>
      `NodeName=${name} NodeHostname=${hostname} NodeAddr=${address} Port=${ports.node(index)} CPUs=${cpus} RealMemory=${memoryMiB} State=UNKNOWN`,
  )
  const partitions = [
    'PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=60 State=UP OverSubscribe=NO',
    'PartitionName=short Nodes=ALL Default=NO MaxTime=10 DefaultTime=1 State=UP OverSubscribe=NO',
  ]
  return [...replaceKeys(lines, settings.config), ...nodes, ...replaceKeys(partitions, settings.partitions), ''].join('\n')
}

/** The lines of both; one that begins as another does replaces it. @param {readonly string[]} lines @param {readonly string[]} later */
function replaceKeys(lines, later) {
  const keyOf = (line) => (/^(PartitionName|NodeName)=/i.test(line) ? line.split(/\s/, 1)[0] : line.split('=', 1)[0]).toLowerCase()
  return [...new Map([...lines, ...later].map((line) => [keyOf(line), line])).values()]
}

/** @param {Settings} settings @source slurmdbd.conf(5), Slurm 22.05 */
export function renderSlurmdbdConf({ directory, user, port }) {
  const ports = portsOf(port)
  return `AuthType=auth/munge
AuthInfo=socket=${socketOfMunge(directory)}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=${ports.slurmdbd}
SlurmUser=${user}
DebugLevel=info
DebugLevelSyslog=quiet
PidFile=${directory}/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=${ports.database}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CommitDelay=0
MessageTimeout=10
`
}

/**
 * A command of the bed: notes the call and becomes the real program. Without a process of its own: the time is seconds since the
 * machine was started, which the shell can read itself. What a job calls is not noted.
 */
export function renderCommand(directory, name, program) {
  const note = COUNTED.includes(name)
    ? `[ -n "\${SLURM_JOB_ID:-}" ] || { read -r up rest </proc/uptime; printf '%s ${name} %s\\n' "$up" "\${1:-} \${2:-} \${3:-} \${4:-} \${5:-} \${6:-}" >>'${directory}/calls.log'; }\n`
    : ''
  return `#!/bin/sh\nexport SLURM_CONF='${clientConf(directory)}'\n${note}exec '${program}' "$@"\n`
}

/** To be read by a shell. @param {{ directory: string, nodes: readonly string[] }} bed */
export const renderEnv = ({ directory, nodes }) => `export SLURM_CONF='${clientConf(directory)}'
export PATH='${directory}/bin':"$PATH"
export SLURM_BED_DIR='${directory}'
export SLURM_BED_NODES='${nodes.join(' ')}'
`

/**
 * The calls that were noted, oldest first.
 *
 * @param {string} text of calls.log
 * @param {number} bootMs when the machine was started
 * @returns {{ atMs: number, command: string, args: string }[]}
 */
export function parseCalls(text, bootMs) {
  return text.split('\n').flatMap((line) => {
    const match = /^(\d+\.\d+) (\w+) (.*)$/.exec(line)
    return match === null ? [] : [{ atMs: bootMs + Number(match[1]) * 1000, command: match[2], args: match[3].trim() }]
  })
}
