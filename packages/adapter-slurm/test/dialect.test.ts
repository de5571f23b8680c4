import type { Submission } from '@cahier/core/spi'
import { describe, expect, it } from 'vitest'
import adapter from '../src/index.js'
import { dialectWith, submission } from './submissions.js'

const head = (parts: Parameters<typeof submission>[0]) => dialectWith().head(submission(parts))

describe('the adapter', () => {
  it('declares what its dialect can', () => {
    const { supports } = dialectWith()
    expect(adapter.supports).toEqual({ ...supports, push: true })
    expect(adapter).toMatchObject({ api: 1, name: 'slurm', kind: 'scheduler' })
  })
})

describe('head', () => {
  it.each<[string, Parameters<typeof submission>[0], readonly string[]]>([
    ['nothing', {}, []],
    ['cores', { resources: { cores: 8 } }, ['--ntasks=1', '--cpus-per-task=8']],
    ['cores of several nodes', { resources: { cores: 8, nodes: 2 } }, ['--nodes=2', '--ntasks-per-node=1', '--cpus-per-task=8']],
    ['tasks', { resources: { tasks: 32 } }, ['--ntasks=32']],
    [
      'tasks that share the cores of nodes',
      { resources: { tasks: 32, nodes: 4, cores: 16 } },
      ['--nodes=4', '--ntasks=32', '--ntasks-per-node=8', '--cpus-per-task=2'],
    ],
    [
      'tasks that share the cores of one node',
      { resources: { tasks: 3, cores: 8 } },
      ['--nodes=1', '--ntasks=3', '--ntasks-per-node=3', '--cpus-per-task=2'],
    ],
    ['tasks that do not come out even', { resources: { tasks: 5, nodes: 2 } }, ['--nodes=2', '--ntasks=5', '--ntasks-per-node=3']],
    ['memory', { resources: { memoryMiB: 1500.2 } }, ['--mem=1501M']],
    ['no memory, which is not all of it', { resources: { memoryMiB: 0 } }, []],
    ['memory by core, where the job says none', { options: { memPerCpu: '2GiB' } }, ['--mem-per-cpu=2048M']],
    ['memory of the job before that by core', { resources: { memoryMiB: 100 }, options: { memPerCpu: '2GiB' } }, ['--mem=100M']],
    [
      'GPUs of the job, shared out among its nodes',
      { resources: { gpus: 3, nodes: 2 }, options: { gres: 'shard:1' } },
      ['--nodes=2', '--ntasks-per-node=1', '--cpus-per-task=1', '--gres=gpu:2,shard:1'],
    ],
    ['walltime in whole minutes', { resources: { walltimeMs: 60_001 } }, ['--time=2']],
    ['a grace that SLURM has anyway', { resources: { walltimeMs: 600_000 }, graceMs: 30_000 }, ['--time=10']],
    ['a longer grace', { resources: { walltimeMs: 600_000 }, graceMs: 60_000 }, ['--time=10', '--signal=B:USR1@60']],
    ['queue and account', { queue: 'main', account: 'my project' }, ['--partition=main', '--account="my project"']],
    [
      'options',
      {
        options: {
          qos: 'long',
          constraint: 'ib&avx512',
          reservation: 'r1',
          licenses: 'matlab:2',
          begin: 'now+1hour',
          nice: -5,
          mailUser: 'me@example.org',
          mailType: ['END', 'FAIL'],
          comment: 'for "us"; #1',
          exclusive: true,
          requeue: false,
        },
      },
      [
        '--qos=long',
        '--constraint=ib&avx512',
        '--reservation=r1',
        '--licenses=matlab:2',
        '--begin=now+1hour',
        '--nice=-5',
        '--mail-user=me@example.org',
        '--mail-type=END,FAIL',
        '--comment="for \\"us\\"; #1"',
        '--exclusive',
        '--no-requeue',
      ],
    ],
    ['users of whole nodes', { options: { exclusive: 'user', requeue: true } }, ['--exclusive=user', '--requeue']],
    ['lines as they are', { options: { extra: ['--hint=nomultithread', '#SBATCH -k'] } }, ['--hint=nomultithread', '-k']],
  ])('asks for %s', (_, parts, lines) => {
    expect(head(parts)).toEqual(lines.map((line) => `#SBATCH ${line}`))
  })

  it('puts the script’s own lines last, and leaves out what they say', () => {
    expect(
      head({
        queue: 'main',
        resources: { walltimeMs: 600_000, cores: 4 },
        options: { qos: 'long', extra: ['-q short'] },
        userLines: ['#SBATCH -t 5', '#SBATCH -p gpu'],
      }),
    ).toEqual(['#SBATCH --ntasks=1', '#SBATCH --cpus-per-task=4', '#SBATCH -q short', '#SBATCH -t 5', '#SBATCH -p gpu'])
  })

  it('leaves out what would exclude a line of the script', () => {
    const resources = { cores: 4, nodes: 2, memoryMiB: 400, gpus: 2 }
    expect(head({ resources, userLines: ['#SBATCH -n 6 --mem-per-cpu=50M -G 2'] })).toEqual([
      '#SBATCH --nodes=2',
      '#SBATCH -n 6 --mem-per-cpu=50M -G 2',
    ])
  })

  it('counts with the nodes that the script asks for', () => {
    expect(head({ resources: { tasks: 8, cores: 8 }, userLines: ['#SBATCH --nodes=4'] })).toEqual([
      '#SBATCH --ntasks=8',
      '#SBATCH --ntasks-per-node=2',
      '#SBATCH --cpus-per-task=4',
      '#SBATCH --nodes=4',
    ])
  })

  it('lets no value begin a line of its own', () => {
    expect(head({ account: 'a\n#SBATCH --hold' })).toEqual(['#SBATCH --account="a #SBATCH --hold"'])
  })
})

describe('commands', () => {
  const argv = (parts: Parameters<typeof submission>[0], options = {}) => dialectWith(options).submit(submission(parts)).argv

  it('submits a job by its tag', () => {
    expect(dialectWith().submit(submission({ resources: { walltimeMs: 60_000 }, queue: 'main' }))).toEqual({
      argv: [
        'sbatch',
        '--parsable',
        '--job-name=scan-1f3a9c-r1-a1',
        '--comment=scan-1f3a9c-r1-a1',
        '--output=/runs/r1-a1/scheduler.log',
        '--error=/runs/r1-a1/scheduler.log',
        '--open-mode=append',
        '--chdir=/runs/r1-a1',
        '/runs/r1-a1/wrapper.sh',
      ],
      env: {
        SBATCH_ARRAY_INX: undefined,
        SBATCH_WAIT: undefined,
        SLURM_RESTART_COUNT: undefined,
        SBATCH_PARTITION: undefined,
        SBATCH_TIMELIMIT: undefined,
      },
    })
  })

  it('submits an array with its throttle, on the cluster of the site, after other jobs', () => {
    const dependencies: Submission['dependencies'] = [
      { kind: 'afterok', ids: ['12', '13'] },
      { kind: 'aftercorr', ids: ['14'] },
    ]
    expect(
      argv({ array: { size: 100 }, options: { arrayThrottle: 5 }, dependencies, userLines: ['#SBATCH -d afterany:9'] }, { cluster: 'big' }),
    ).toEqual([
      'sbatch',
      '-M',
      'big',
      '--parsable',
      '--job-name=scan-1f3a9c-r1-a1',
      '--comment=scan-1f3a9c-r1-a1',
      '--output=/runs/r1-a1/scheduler.log',
      '--error=/runs/r1-a1/scheduler.log',
      '--open-mode=append',
      '--chdir=/runs/r1-a1',
      '--array=0-99%5',
      '--dependency=afterok:12:13,aftercorr:14,afterany:9',
      '/runs/r1-a1/wrapper.sh',
    ])
  })

  it('keeps the tag where the name or the comment is the user’s', () => {
    expect(argv({ options: { singleton: 'bench' } })).toEqual(
      expect.arrayContaining(['--job-name=bench', '--comment=cahier:scan-1f3a9c-r1-a1', '--dependency=singleton']),
    )
    expect(argv({ options: { comment: 'mine' } }).filter((word) => word.startsWith('--comment'))).toEqual([])
    expect(argv({ userLines: ['#SBATCH --comment=mine'] }).filter((word) => word.startsWith('--comment'))).toEqual([])
  })

  it('gives directories with percent signs as they are', () => {
    expect(argv({ logFile: '/runs/100%j/log' })).toEqual(expect.arrayContaining(['--output=/runs/100%%j/log', '--error=/runs/100%%j/log']))
  })

  it('asks about all jobs in one question, without the filters of the user', () => {
    const { argv, env } = dialectWith({ cluster: 'big' }).queue()
    expect(argv).toEqual([
      'squeue',
      '-M',
      'big',
      '--me',
      '--all',
      '--states=all',
      '--noheader',
      `--format=${'%i %T %V %S %e %P %B %N %r %k %j'.replaceAll(' ', '\x1f')}`,
    ])
    expect(env).toMatchObject({ SLURM_TIME_FORMAT: '%s', SLURM_BITSTR_LEN: '0', SQUEUE_PARTITION: undefined })
    expect(Object.keys(env!)).toContain('SQUEUE_PARTITION')
  })

  it('asks the accounting about a window in UTC', () => {
    const dialect = dialectWith()
    const since = Date.UTC(2026, 10, 22, 10, 30, 15, 999)
    const about = (filter: string) => [
      'sacct',
      '--noheader',
      '--parsable2',
      '--allocations',
      '--duplicates',
      '--delimiter=\x1f',
      '--starttime=2026-11-22T10:30:15',
      '--endtime=2099-01-01T00:00:00',
      filter,
      '--format=JobID,State,ExitCode,Submit,Start,End,Partition,NodeList,Reason,Comment,JobName',
    ]
    expect(dialect.accounting!(['12', '13_4'], since)).toEqual({
      argv: about('--jobs=12,13_4'),
      env: { SLURM_TIME_FORMAT: '%s', SLURM_BITSTR_LEN: '0', TZ: 'UTC' },
    })
    expect(dialect.accountingByTag!(['a-1', 'b-2'], since).argv).toEqual(about('--name=a-1,b-2'))
  })

  it('names elements of an array together when they are canceled, held or released', () => {
    const dialect = dialectWith()
    const ids = ['7', dialect.elementId('12', 1), dialect.elementId('12', 2), dialect.elementId('12', 9)]
    expect(dialect.cancel(ids).argv).toEqual(['scancel', '7', '12_[1-2,9]'])
    expect(dialect.order!('hold', ids).argv).toEqual(['scontrol', 'hold', '7,12_[1-2,9]'])
    expect(dialect.details!(['7', '12_1']).argv).toEqual(['sh', '-c', 'for id do scontrol -o show job "$id"; done', 'sh', '7', '12_1'])
  })
})
