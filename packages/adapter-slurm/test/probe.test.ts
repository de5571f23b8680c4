import type { QueueFacts, SchedulerFacts } from '@cahier/core/spi'
import { describe, expect, it } from 'vitest'
import { ASSUMED, readProbe } from '../src/probe.js'
import { dialectWith, submission } from './submissions.js'
import { answer, readTranscript, recorded } from './transcripts.js'

const factsOf = (config: string, partitions: string): SchedulerFacts => {
  const read = readProbe([answer({ stdout: config }), answer({ stdout: partitions })])
  return 'facts' in read ? read.facts : expect.unreachable(JSON.stringify(read))
}

describe('readProbe', () => {
  it('reads what the site has', () => {
    const read = readProbe(readTranscript('probe'))
    expect(read).toEqual({
      facts: {
        version: 'slurm 22.05.8',
        cluster: 'bed',
        maxArraySize: 10_001,
        maxJobs: expect.any(Number),
        accounting: true,
        keepsEndedMs: 300_000,
        queues: [
          { name: 'main', isDefault: true, isUp: true, nodes: 4, coresPerNode: 4, memoryMiBPerNode: 1000, nodesUp: 4, coresIdle: 11 },
          {
            name: 'short',
            isDefault: false,
            isUp: true,
            maxWalltimeMs: 600_000,
            nodes: 4,
            coresPerNode: 4,
            memoryMiBPerNode: 1000,
            nodesUp: 4,
            coresIdle: 11,
          },
          {
            name: 'closed',
            isDefault: false,
            isUp: false,
            maxWalltimeMs: 600_000,
            nodes: 4,
            coresPerNode: 4,
            memoryMiBPerNode: 1000,
            nodesUp: 4,
            coresIdle: 11,
          },
          { name: 'others', isDefault: false, isUp: true, nodes: 4, coresPerNode: 4, memoryMiBPerNode: 1000, nodesUp: 4, coresIdle: 11 },
        ],
        notes: expect.arrayContaining([expect.stringContaining('KillWait'), expect.stringContaining('enforced')]),
      },
    })
  })

  it('takes the largest of nodes that differ, and counts those that are up', () => {
    const partitions = [
      'big*|up|2-00:00:00|1-8|6|64|256000|gpu:a100:4(S:0-1),gpu:v100:2,shard:8|mixed|100/284/0/384',
      'big*|up|2-00:00:00|1-8|2|128|512000+|(null)|down*|0/0/256/256',
      'tiny|down|30:00|1|1|4|1|(null)|idle~|0/4/0/4',
    ].join('\n')
    expect(factsOf('SLURM_VERSION = 24.11.3\nMaxArraySize = 0\nAccountingStorageType = (null)\n', partitions)).toEqual({
      version: 'slurm 24.11.3',
      maxArraySize: 1,
      accounting: false,
      queues: [
        {
          name: 'big',
          isDefault: true,
          isUp: true,
          maxWalltimeMs: 172_800_000,
          maxNodes: 8,
          nodes: 8,
          coresPerNode: 128,
          memoryMiBPerNode: 512_000,
          gpusPerNode: 6,
          nodesUp: 6,
          coresIdle: 284,
        },
        {
          name: 'tiny',
          isDefault: false,
          isUp: false,
          maxWalltimeMs: 1_800_000,
          maxNodes: 1,
          nodes: 1,
          coresPerNode: 4,
          nodesUp: 1,
          coresIdle: 4,
        },
      ],
      notes: [],
    })
  })

  it.each(['controller-down', 'controller-frozen', 'munge-down'])('is silent: %s', (name) => {
    const answers = [recorded(name, 'scontrol show config'), recorded(name, 'sinfo')]
    expect(readProbe(answers)).toMatchObject({ silent: expect.stringMatching(/^scontrol: /), suggestions: [expect.any(String)] })
  })

  it('is silent where one of the questions was not answered', () => {
    expect(readProbe([])).toMatchObject({ silent: expect.any(String) })
    expect(readProbe([recorded('probe', 'scontrol'), answer({ exitCode: undefined, timedOut: true })])).toMatchObject({
      silent: expect.stringMatching(/^sinfo: /),
    })
  })
})

describe('check', () => {
  const queue = (parts: Partial<QueueFacts>): QueueFacts => ({
    name: 'main',
    isDefault: false,
    isUp: true,
    nodes: 4,
    coresPerNode: 16,
    memoryMiBPerNode: 64_000,
    nodesUp: 4,
    ...parts,
  })
  const facts: SchedulerFacts = {
    ...ASSUMED,
    queues: [
      queue({ isDefault: true, maxNodes: 3 }),
      queue({ name: 'short', maxWalltimeMs: 600_000 }),
      queue({ name: 'gpu', coresPerNode: 32, gpusPerNode: 4 }),
    ],
  }
  const check = (parts: Parameters<typeof submission>[0]) => dialectWith().check(submission(parts), facts)

  it.each<Parameters<typeof submission>[0]>([
    {},
    { resources: { cores: 16, nodes: 3, memoryMiB: 64_000 } },
    { queue: 'short', resources: { walltimeMs: 600_000 } },
    { queue: 'short,gpu', resources: { walltimeMs: 900_000 } },
    { queue: 'main', resources: { cores: 32 }, userLines: ['#SBATCH -p gpu'] },
    { queue: 'gpu', resources: { gpus: 8, nodes: 2 } },
    { resources: { cores: 99 }, userLines: ['#SBATCH -c 4'] },
    { resources: { tasks: 100 }, userLines: ['#SBATCH --overcommit'] },
    { array: { size: 1001 } },
  ])('has nothing against %j', (parts) => {
    expect(check(parts)).toBeUndefined()
  })

  it.each<[string, Parameters<typeof submission>[0], string]>([
    ['a partition that is not there', { queue: 'shrot' }, 'no partition "shrot"'],
    ['one of several that is not there', { queue: 'main,nope' }, 'no partition "nope"'],
    ['too long a walltime', { queue: 'short', resources: { walltimeMs: 600_001 } }, 'longer than partition short allows: 10min'],
    ['too long a walltime of the script', { queue: 'short', userLines: ['#SBATCH -t 11'] }, 'a walltime of 11min'],
    ['too many nodes', { resources: { nodes: 4 } }, '4 nodes are more than partition main gives to one job: 3'],
    ['too many cores', { resources: { cores: 17 } }, '17 cores on a node are more than any node of partition main has: 16'],
    ['too many tasks', { resources: { tasks: 49 } }, '49 tasks are more'],
    ['too much memory', { resources: { memoryMiB: 64_001 } }, '64001 MiB of memory'],
    ['too many GPUs', { queue: 'gpu', resources: { gpus: 5 } }, '5 GPUs on a node'],
    ['GPUs where there are none', { resources: { gpus: 1 } }, 'any node of partition main has: 0'],
    ['too large an array', { array: { size: 1002 } }, 'MaxArraySize'],
    ['a value with a line end', { account: 'a\nb' }, 'control characters'],
    [
      'two kinds of dependencies',
      { dependencies: [{ kind: 'afterok', ids: ['1'] }], userLines: ['#SBATCH -d afterok:2?afterok:3'] },
      'cannot do both',
    ],
  ])('finds %s', (_, parts, message) => {
    expect(check(parts)).toMatchObject({ message: expect.stringContaining(message) })
  })

  it('suggests the nearest partition', () => {
    expect(check({ queue: 'shrot' })).toMatchObject({ suggestions: ['Write queue: short'] })
  })

  it('has nothing against anything where the partitions are not known', () => {
    expect(dialectWith().check(submission({ queue: 'x', resources: { nodes: 9999 } }), ASSUMED)).toBeUndefined()
  })
})
