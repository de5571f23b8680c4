import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { fileNameExpression, literalFileName } from '../src/file-names.js'
import { transcriptText } from './transcripts.js'

/** What a shell makes of it in a job. */
function inShell(expression: string): string {
  const env = { PATH: process.env['PATH'], SLURM_JOB_ID: '37', SLURM_JOB_NAME: 's.sh', SLURM_JOB_USER: 'root', SLURMD_NODENAME: 'n1' }
  return execFileSync('sh', ['-c', `printf %s "${expression}"`], { env, encoding: 'utf8' })
}

/** `%a` of a job that is no array is 2^32 - 2 in SLURM, and 0 here; `%b` is a pattern since 23.02. */
const DIFFERENT = ['%A_%a', '%b', '%5j', '%12j']

describe('fileNameExpression', () => {
  const names = transcriptText('sbatch-file-names')
    .split('\n')
    .slice(1, -1)
    .map((line) => JSON.parse(`[${line.replace('" "', '", "')}]`) as [string, string])

  it.each(names.filter(([pattern]) => !DIFFERENT.includes(pattern)))('makes of %j the file name of SLURM', (pattern, file) => {
    const read = fileNameExpression(pattern)
    expect('expression' in read && inShell(read.expression)).toBe(file.replace('N', '37'))
  })

  it.each([
    ['%A_%a', '37_0'],
    ['%5j', '00037'],
    ['%12j.out', '0000000037.out'],
    ['logs/%x.%N', 'logs/s.sh.n1'],
    ['a $(touch x) `y` "z" $HOME', 'a $(touch x) `y` "z" $HOME'],
  ])('makes of %j %j', (pattern, file) => {
    const read = fileNameExpression(pattern)
    expect('expression' in read && inShell(read.expression)).toBe(file)
  })

  it('puts in the name that the script gives its job', () => {
    expect(fileNameExpression('%x-%j', 'my $job')).toEqual({ expression: 'my \\$job-${SLURM_JOB_ID}' })
  })

  it.each(['/dev/null', '../x', 'a/../../x', 'stdout', './exit.json', 'dir/', '', 'a\nb'])('refuses %j', (pattern) => {
    expect(fileNameExpression(pattern)).toMatchObject({ why: expect.any(String) })
  })
})

describe('literalFileName', () => {
  it.each([
    ['/runs/a/log', '/runs/a/log'],
    ['/runs/100%j/log', '/runs/100%%j/log'],
    ['/runs/a\\b%j/log', '/runs/a\\\\b%j/log'],
  ])('writes %j', (path, text) => {
    expect(literalFileName(path)).toBe(text)
  })
})
