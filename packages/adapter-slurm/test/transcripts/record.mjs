#!/usr/bin/env node
/**
 * Records what the SLURM of this machine says: `node packages/adapter-slurm/test/transcripts/record.mjs FOLDER`.
 *
 * A file holds one line about itself and then blocks `$ command`, `[exit N]`, `[stdout]`, `[stderr]`. Names of this machine and of the bed are replaced.
 */
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { startSlurm } from '../../../../test/testbed/slurm.mjs'

const folder = process.argv[2]
if (folder === undefined) throw new Error('name the folder to write to')
mkdirSync(folder, { recursive: true })
const S = '\x1f'
const READABLE = { SLURM_TIME_FORMAT: '%s', SLURM_BITSTR_LEN: '0' }
const QUEUE = [
  'squeue',
  '--me',
  '--all',
  '--states=all',
  '--noheader',
  `--format=${['%i', '%T', '%V', '%S', '%e', '%P', '%B', '%N', '%r', '%k', '%j'].join(S)}`,
]
const ACCOUNTING = [
  'sacct',
  '--noheader',
  '--parsable2',
  '--allocations',
  '--duplicates',
  `--delimiter=${S}`,
  '--starttime=now-1hour',
  '--format=JobID,State,ExitCode,Submit,Start,End,Partition,NodeList,Reason,Comment,JobName',
]
const pause = (ms) => new Promise((done) => setTimeout(done, ms))

class Recorder {
  constructor(bed) {
    this.bed = bed
    this.work = join(bed.directory, 'work')
    mkdirSync(this.work)
    for (const [name, body] of Object.entries({ ok: 'true', f3: 'exit 3', f200: 'exit 200', k9: 'kill -9 $$', sl: 'sleep 300' }))
      this.script(name, body)
  }

  script(name, body) {
    const file = join(this.work, `${name}.sh`)
    writeFileSync(file, body.startsWith('#!') || body.startsWith('=') ? body.replace(/^=/, '') : `#!/bin/sh\n${body}\n`)
    chmodSync(file, 0o755)
  }

  async version() {
    const { stdout } = await this.bed.run(['sbatch', '--version'])
    return `${stdout.trim().replace('slurm-wlm', 'SLURM')}, ${new Date().toISOString().slice(0, 10)}`
  }

  clean(text) {
    return text
      .replaceAll(this.work, '/home/me')
      .replaceAll(this.bed.directory, '/bed')
      .replaceAll(new RegExp(`\\b${hostname()}\\b`, 'g'), 'login1')
  }

  async ask(argv, env = {}, timeoutMs = 20_000) {
    const { exitCode, stdout, stderr } = await this.bed.run(argv, { cwd: this.work, env, timeoutMs })
    const shown = argv.map((word) => (/^[\w./:=,@%+-]+$/.test(word) ? word : JSON.stringify(word))).join(' ')
    const part = (name, text) => (text === '' ? '' : `[${name}]\n${this.clean(text).replace(/\n?$/, '\n')}`)
    return { stdout, block: `$ ${this.clean(shown)}\n[exit ${exitCode ?? 'none'}]\n${part('stdout', stdout)}${part('stderr', stderr)}` }
  }

  async write(name, about, questions, env = {}) {
    let text = `# ${about}; ${await this.version()}\n`
    for (const question of questions) text += (await this.ask(question, env)).block
    writeFileSync(join(folder, `${name}.txt`), text)
  }

  async id(...args) {
    return (await this.bed.run(['sbatch', '--parsable', ...args], { cwd: this.work })).stdout.trim()
  }
}

const refused = (...lists) => lists.map((args) => ['sbatch', '--parsable', ...args, 'ok.sh'])

async function withAccounting() {
  const bed = await startSlurm({
    accounting: 'dbd',
    messageTimeout: 2,
    enforce: 'limits,qos',
    partitions: [
      'PartitionName=closed Nodes=ALL Default=NO MaxTime=10 State=INACTIVE',
      'PartitionName=others Nodes=ALL Default=NO AllowAccounts=nobody State=UP',
    ],
    limits: [
      ['add', 'qos', 'tiny', 'MaxSubmitJobsPerUser=1', 'MaxWall=10'],
      ['modify', 'user', 'where', `name=${process.env.USER ?? 'root'}`, 'set', 'qos+=tiny'],
    ],
  })
  try {
    await recordWithAccounting(new Recorder(bed), bed)
  } finally {
    await bed.stop()
  }
}

async function recordWithAccounting(r, bed) {
  await r.write('sbatch', 'answers of sbatch', [
    ['sbatch', 'ok.sh'],
    ['sbatch', '--parsable', 'ok.sh'],
    ['sbatch', '--parsable', '-M', bed.cluster, 'ok.sh'],
  ])
  r.script('nointerpreter', '=echo hi\n')
  r.script('dos', '=#!/bin/sh\r\necho\r\n')
  r.script('empty', '=')
  r.script('directive', '=#!/bin/sh\n#SBATCH --comment=a b\n#SBATCH -t 5\ntrue\n')
  r.script('quote', '=#!/bin/sh\n#SBATCH --comment="a b\ntrue\n')
  r.script('memory', '=#!/bin/sh\n#SBATCH --mem=100M\n#SBATCH --mem-per-cpu=50M\ntrue\n')
  await r.id('-q', 'tiny', '-H', 'ok.sh')
  const files = ['nointerpreter', 'dos', 'empty', 'missing', 'directive', 'quote', 'memory'].map((name) => [
    'sbatch',
    '--parsable',
    `${name}.sh`,
  ])
  await r.write('sbatch-refused', 'submissions that sbatch refuses', [
    ...refused(
      ['-p', 'nope'],
      ['-A', 'nope'],
      ['-q', 'nope'],
      ['-q', 'tiny'],
      ['-p', 'closed'],
      ['--reservation=nope'],
      ['-C', 'gpu'],
      ['-L', 'foo'],
    ),
    ...refused(
      ['--gres=gpu:1'],
      ['--gpus=1'],
      ['-a', 'abc'],
      ['-a', '0-20000'],
      ['-t', 'abc'],
      ['--mem=99999'],
      ['--mem=abc'],
      ['-w', 'n9'],
      ['-N', '2-1'],
      ['-N', '0'],
    ),
    ...refused(
      ['-n', '0'],
      ['--cores-per-socket=9'],
      ['--tmp=999999'],
      ['-d', 'foo:1'],
      ['--begin=foo'],
      ['--mail-type=nope'],
      ['--signal=FOO@3'],
      ['--exclusive=foo'],
    ),
    ...refused(['--nosuch'], ['--nt=2'], ['-t', '5', '--time-min=10'], ['-M', 'other']),
    ...files,
  ])
  const jobs = {
    ok: await r.id('-J', 'job_ok', '--comment=job_ok', 'ok.sh'),
    f3: await r.id('-J', 'job_f3', '--comment=two | words', 'f3.sh'),
    f200: await r.id('-J', 'job_f200', 'f200.sh'),
    k9: await r.id('-J', 'job_k9', 'k9.sh'),
    odd: await r.id('-J', 'we|ird\n17 4 x', 'ok.sh'),
    lost: await r.id('-J', 'job_lost', '-D', '/nonexistent', '-o', '/nonexistent/x', 'ok.sh'),
    one: await r.id('-J', 'bench', '--comment=cahier:job_one', '-d', 'singleton', 'ok.sh'),
    array: await r.id('-J', 'job_array', '--array=0-40%2', 'sl.sh'),
    steps: await r.id('-J', 'job_steps', '--array=1-9:2%1', 'sl.sh'),
    sleeper: await r.id('-J', 'job_sleeper', 'sl.sh'),
    gone: await r.id('-J', 'job_gone', 'sl.sh'),
    again: await r.id('-J', 'job_again', '-w', 'n4', 'sl.sh'),
  }
  r.script('het', '=#!/bin/sh\n#SBATCH -N 1\n#SBATCH hetjob\n#SBATCH -N 1\nsleep 60\n')
  await r.id('het.sh')
  await pause(4000)
  await bed.run(['scancel', jobs.gone])
  await bed.run(['scontrol', 'requeue', jobs.again])
  await bed.run(['scontrol', 'suspend', jobs.sleeper])
  await pause(3000)
  await r.write('squeue', 'all jobs of a user', [QUEUE], READABLE)
  const shown = [jobs.ok, jobs.f3, jobs.f200, jobs.k9, jobs.odd, jobs.lost, jobs.gone, jobs.again, `${jobs.array}_0`, '999999']
  await r.write(
    'scontrol-show-job',
    'single jobs, the last one unknown',
    [['sh', '-c', 'for id do scontrol -o show job "$id"; done', 'sh', ...shown]],
    READABLE,
  )
  await r.write('sacct', 'jobs in the accounting', [ACCOUNTING], READABLE)
  await r.write('orders', 'cancel, hold, release, requeue', [
    ['scancel', jobs.gone],
    ['scancel', '999999'],
    ['scancel', `${jobs.array}_[30-40]`, `${jobs.array}_0`],
    ['scancel', 'abc'],
    ['scontrol', 'hold', `${jobs.array}_5,${jobs.array}_6`],
    ['scontrol', 'release', `${jobs.array}_5,${jobs.array}_6`],
    ['scontrol', 'hold', '999999'],
    ['scontrol', 'release', jobs.ok],
    ['scontrol', 'requeue', '999999'],
    ['scontrol', 'requeue', `${jobs.array}_20`],
  ])
  await r.write('probe', 'configuration and partitions', [
    ['scontrol', 'show', 'config'],
    ['sinfo', '--noheader', '--all', '--exact', '--format=%P|%a|%l|%s|%D|%c|%m|%G|%T|%C'],
  ])
  await bed.run(['scancel', '--me'])
  const first = await r.id('f3.sh')
  await pause(3000)
  for (const args of [
    ['-d', `afterok:${first}`],
    ['-p', 'short', '-t', '50'],
    ['-N', '9'],
    ['-c', '99'],
    ['-q', 'tiny', '-t', '50'],
    ['-p', 'others'],
    ['-H'],
    ['--begin=now+1hour'],
    ['-w', 'n2', '-c', '4'],
  ])
    await r.id(...args, 'sl.sh')
  await bed.run(['scontrol', 'update', 'nodename=n2', 'state=drain', 'reason=x'])
  await pause(3000)
  await r.write('squeue-reasons', 'jobs that wait', [QUEUE], READABLE)
  await silent(r, bed)
}

async function silent(r, bed) {
  const questions = [
    ['sbatch', '--parsable', 'ok.sh'],
    QUEUE,
    ['scancel', '3'],
    ['scontrol', 'hold', '3'],
    ['scontrol', '-o', 'show', 'job', '3'],
    ['scontrol', 'show', 'config'],
    ['sinfo', '-h'],
    ['sacct', '-nPX', '-j', '2'],
  ]
  await bed.stopController()
  await r.write('controller-down', 'the port of the controller refuses', questions)
  await bed.startController()
  const thaw = bed.freezeController()
  await r.write('controller-frozen', 'the controller is stopped', questions)
  thaw()
  await bed.stopMunge()
  await r.write('munge-down', 'no munge on this machine', questions)
  await bed.startMunge()
  await bed.stopAccounting()
  await r.write('accounting-down', 'slurmdbd does not run', [
    ['sacct', '-nPX', '-j', '2'],
    ['squeue', '-M', bed.cluster, '--me'],
  ])
}

/** Scripts with one kind of directive lines, and what the job then has. */
const DIRECTIVES = [
  '#SBATCH --comment="a b" -n 3',
  "#SBATCH --comment='a b'  # comment -n 9",
  '#SBATCH --comment=a#b -n 2',
  '#SBATCH --comment=a\\#b -n 2',
  '#SBATCH --comment="a\\"#b\\\\z" -n 2',
  "#SBATCH --comment='a\"b\\z' -n 2",
  '#SBATCH --comment=x"y z"w -n 2',
  '#SBATCH --comment="" -n 2',
  '#SBATCH --comment=$HOME -n 2',
  '#SBATCH -n8 -t5',
  '#SBATCH\t-n2\t-t5',
  '#SBATCH-n2 -t5',
  ' #SBATCH -n2 -t5',
  '##SBATCH -n2 -t5',
  '\n# hi\n\n#SBATCH -n2 -t5\n:\n#SBATCH -t 7',
  '#SBATCH --time 5 --nodes 1-2',
  '#SBATCH --part=short --cpus-per-t=2',
  '#SBATCH -n 2\n#SBATCH --ntasks=3',
  '#SBATCH --comment=a b\n#SBATCH -t 5',
  '#SBATCH -t5 extra\n#SBATCH -n2',
  '#SBATCH --comment="a b -n 2',
  '#SBATCH -n 2;',
  '#SBATCHX -n2',
  '#SBATCH -- -n 2',
  '#SBATCH --nt=2',
]
const NAMES = ['%x-%j', '%A_%a', '%u', '%J', '%s', '%t', '%n', '%b', '%%j', '%5j', '%12j', '\\%j', '%z', '%', 'x%', 'a b', 'a\\\\b']

async function withoutAccounting() {
  const bed = await startSlurm({ messageTimeout: 2, config: ['EnforcePartLimits=ALL'] })
  try {
    await recordWithoutAccounting(new Recorder(bed), bed)
  } finally {
    await bed.stop()
  }
}

async function recordWithoutAccounting(r, bed) {
  let text = `# directive lines of a script, and what sbatch makes of them; ${await r.version()}\n`
  for (const lines of DIRECTIVES) {
    r.script('d', `=#!/bin/sh\n${lines}\nsleep 0\n`)
    const { stdout, block } = await r.ask(['sbatch', '--parsable', 'd.sh'])
    const job = stdout === '' ? '' : (await bed.run(['scontrol', '-o', 'show', 'job', stdout.trim()])).stdout
    const facts = ['Comment', 'NumTasks', 'NumNodes', 'CPUs/Task', 'TimeLimit', 'Partition'].flatMap((key) => {
      const value = new RegExp(` ${key}=(.*?) (?=[A-Z][\\w/:]*=)`).exec(job)?.[1]
      return value === undefined ? [] : [`${key}=${value}`]
    })
    text += `[script]\n${lines}\n${block}${facts.length > 0 ? `[job]\n${facts.join('\n')}\n` : ''}`
  }
  writeFileSync(join(folder, 'sbatch-directives.txt'), text)
  let names = `# patterns of --output, and the files of the jobs (name s.sh, job N); ${await r.version()}\n`
  for (const pattern of NAMES) {
    const place = join(r.work, 'names')
    mkdirSync(place)
    r.script('s', 'true')
    const id = await r.id('-D', place, `--output=${pattern}`, 's.sh')
    for (let tries = 0; tries < 100 && readdirSync(place).length === 0; tries++) await pause(100)
    names += `${JSON.stringify(pattern)} ${JSON.stringify((readdirSync(place)[0] ?? '').replaceAll(id, 'N'))}\n`
    await bed.run(['rm', '-rf', place])
  }
  writeFileSync(join(folder, 'sbatch-file-names.txt'), names)
  await r.write(
    'sbatch-refused-limits',
    'EnforcePartLimits=ALL',
    refused(['-N', '9'], ['-c', '99'], ['-n', '99'], ['-p', 'short', '-t', '500']),
  )
  await r.write('accounting-disabled', 'no slurmdbd is configured', [
    ['sacct', '-nPX', '-j', '2'],
    ['squeue', '-M', 'bed', '--me'],
    ['sbatch', '-M', 'bed', 'ok.sh'],
  ])
}

await withoutAccounting()
await withAccounting()
