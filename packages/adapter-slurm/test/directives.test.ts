import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { anyText } from '../../../test/any-text.js'
import { optionsOf, readDirectives } from '../src/directives.js'
import { directiveWord, splitDirective } from '../src/sbatch-options.js'
import { readWalltime } from '../src/user-resources.js'
import { readTranscript } from './transcripts.js'

const script = (...lines: string[]) => ['#!/bin/bash', ...lines, 'echo hi', ''].join('\n')
const scripts = readTranscript('sbatch-directives').map((each) => [each.script!.trimEnd(), each] as const)

describe('readDirectives', () => {
  it.each(scripts.filter(([, { job }]) => job !== undefined))('understands %j as sbatch does', (lines, { job }) => {
    const read = readDirectives(script(lines))
    const options = optionsOf(read.lines)
    expect(read.fault).toBeUndefined()
    expect(options.get('comment')).toBe(job!['Comment'])
    expect(read.resources.tasks ?? 1).toBe(Number(job!['NumTasks']))
    expect(options.get('cpus-per-task') ?? '1').toBe(job!['CPUs/Task'])
    expect(read.queue ?? 'main').toBe(job!['Partition'])
    if (read.resources.walltimeMs !== undefined) expect(job!['TimeLimit']).toBe(`00:0${read.resources.walltimeMs / 60_000}:00`)
  })

  it.each(scripts.filter(([, { exitCode }]) => exitCode !== 0))('refuses %j as sbatch does, or leaves the value to it', (lines) => {
    const { fault } = readDirectives(script(lines))
    if (lines === '#SBATCH -n 2;') expect(fault).toBeUndefined()
    else expect(fault).toMatch(/^line 2, /)
  })

  it('reads a batch file of a user', () => {
    const read = readDirectives(
      script(
        '#SBATCH --job-name=bench   # shown in squeue',
        '#SBATCH -n 16 --ntasks-per-node=8 -N 2',
        '#SBATCH --mem-per-cpu 2G',
        '#SBATCH -t 1-02:30',
        '#SBATCH -p gpu -A "my project"',
        '#SBATCH --gres=gpu:a100:2,shard:1',
        '#SBATCH -o job_%j.out',
        '#SBATCH -e "%x %A_%a.err"',
        '',
        '# modules',
      ),
    )
    expect(read).toEqual({
      lines: [
        '#SBATCH -n 16 --ntasks-per-node=8 -N 2',
        '#SBATCH --mem-per-cpu 2G',
        '#SBATCH -t 1-02:30',
        '#SBATCH -p gpu -A "my project"',
        '#SBATCH --gres=gpu:a100:2,shard:1',
      ],
      resources: { tasks: 16, nodes: 2, cores: 8, memoryMiB: 16384, walltimeMs: 95_400_000, gpus: 4 },
      queue: 'gpu',
      account: 'my project',
      stdout: 'job_${SLURM_JOB_ID}.out',
      stderr: 'bench ${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}_${SLURM_ARRAY_TASK_ID:-0}.err',
      ignored: [{ line: '#SBATCH --job-name=bench   # shown in squeue', why: expect.stringContaining('tag') }],
    })
  })

  it('reads lines with Windows ends, and gives them without', () => {
    expect(readDirectives('#!/bin/sh\r\n#SBATCH -n 4\r\necho\r\n')).toMatchObject({ lines: ['#SBATCH -n 4'], resources: { tasks: 4 } })
  })

  it('reads nothing behind the first command, nor inside of it', () => {
    expect(readDirectives('#!/bin/sh\ncat <<E\n#SBATCH -n 4\nE\n#SBATCH -n 5\n')).toEqual({ lines: [], resources: {}, ignored: [] })
  })

  it('keeps a line of which something counts, and names what does not', () => {
    expect(readDirectives(script('#SBATCH -J x -n 4'))).toMatchObject({
      lines: ['#SBATCH -J x -n 4'],
      ignored: [{ line: '#SBATCH -J x -n 4' }],
    })
  })

  it.each([
    ['#SBATCH --job-name=my job', '"job" is no option'],
    ['#SBATCH --array=1-10', 'make the index a factor'],
    ['#SBATCH -M other', 'site’s options'],
    ['#SBATCH --test-only', 'submit nothing'],
    ['#SBATCH -n 2 --wait', 'remove --wait'],
    ['#SBATCH hetjob', 'one job each'],
    ['#SBATCH -d singleton', 'options.singleton'],
    ['#SBATCH --signal=B:USR2@60', 'USR1@60'],
    ['#SBATCH -n', 'no value'],
    ['#SBATCH --requeue=yes', 'no value'],
    ['#SBATCH -y', 'no option of sbatch'],
    ['#SBATCH --me=4', 'short for several'],
    ["#SBATCH --comment='a", 'never closed'],
  ])('refuses %s', (line, why) => {
    expect(readDirectives(script(line)).fault).toContain(why)
  })

  it.each([
    '#SBATCH --signal=B:USR1@60',
    '#SBATCH --signal=USR2@60',
    '#SBATCH -d afterok:12',
    '#SBATCH --exclusive',
    '#SBATCH --newer-option=3 -n 2',
    '#SBATCH -vv',
  ])('leaves %s as it is', (line) => {
    expect(readDirectives(script(line))).toMatchObject({ lines: [line], ignored: [] })
    expect(readDirectives(script(line)).fault).toBeUndefined()
  })

  it.each([
    '#SBATCH --output=/dev/null',
    '#SBATCH -o ../log',
    '#SBATCH -o stdout',
    '#SBATCH -o exit.json',
    '#SBATCH --wait',
    '#PBS -l nodes=2',
  ])('says that %s is not obeyed', (line) => {
    expect(readDirectives(script(line))).toMatchObject({ lines: [], ignored: [{ line }] })
  })

  it('never throws, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), anyText(), fc.constantFrom('#SBATCH ', '-n', '--mem=', '"', "'", '\\', '\n', '#', '%j'))),
        (parts) => {
          const text = parts.join('')
          for (const each of [text, `#SBATCH ${text}`, `#!/bin/sh\n#SBATCH -o "${text}"\n`])
            expect(readDirectives(each).ignored).toBeInstanceOf(Array)
        },
      ),
    )
  })
})

describe('directiveWord', () => {
  it.each([
    ['main', 'main'],
    ['two words', '"two words"'],
    ['a"#b\\z', '"a\\"#b\\\\z"'],
    ['', '""'],
    ['ib&avx512', 'ib&avx512'],
    ['a\n#SBATCH --hold', '"a #SBATCH --hold"'],
  ])('writes %j', (value, text) => {
    expect(directiveWord(value)).toBe(text)
  })

  it('writes what is read back as one word', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.oneof(fc.constantFrom(' ', '"', "'", '\\', '#', '$', '='), fc.string({ minLength: 1, maxLength: 1 })) }),
        (value) => {
          fc.pre(!/[\x00-\x1f\x7f]/.test(value))
          expect(splitDirective(` --comment=${directiveWord(value)} -n 2`)).toEqual({ words: [`--comment=${value}`, '-n', '2'] })
        },
      ),
    )
  })
})

describe('readWalltime', () => {
  it.each([
    ['90', 90],
    ['0:05', 1],
    ['30:00', 30],
    ['30:01', 31],
    ['01:30:00', 90],
    ['2-0', 2880],
    ['1-02:30', 1590],
    ['1-02:30:01', 1591],
  ])('reads %s', (text, minutes) => {
    expect(readWalltime(text)).toBe(minutes * 60_000)
  })

  it.each(['infinite', 'UNLIMITED', '0', '-1', 'abc', '', '1-2-3', '1:2:3:4'])('refuses %j', (text) => {
    expect(readWalltime(text)).toBeUndefined()
  })
})
