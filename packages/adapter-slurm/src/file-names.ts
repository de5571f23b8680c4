/** Names in a job's directory that Cahier writes itself. */
const OWN = /^(?:stdout|stderr|running|exit|manifest|submission|job|wrapper|scheduler)(?:\.|$)/

/** What a pattern stands for, as shell text inside double quotes. */
const REPLACEMENTS: Readonly<Record<string, string>> = {
  A: '${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}',
  a: '${SLURM_ARRAY_TASK_ID:-0}',
  b: '$((${SLURM_ARRAY_TASK_ID:-0} % 10))',
  j: '${SLURM_JOB_ID}',
  J: '${SLURM_JOB_ID}',
  N: '${SLURMD_NODENAME}',
  n: '0',
  s: 'batch',
  t: '0',
  u: '${SLURM_JOB_USER:-$USER}',
}
const NUMBERS = 'AajJ'

/**
 * Turns a file name of `--output` into a shell expression for inside double quotes: `job_%j.out` is `job_${SLURM_JOB_ID}.out`.
 *
 * @param jobName - what the script calls its job, for `%x`: the job itself is named by its tag
 * @returns `why` for names that are not followed: only files in the job's own directory are
 * @source sbatch(1), "filename pattern", Slurm 22.05; transcripts/slurm-22.05/sbatch-file-names.txt
 */
export function fileNameExpression(pattern: string, jobName?: string): { readonly expression: string } | { readonly why: string } {
  if (pattern === '' || /[\x00-\x1f\x7f]/.test(pattern)) return { why: 'it names no file' }
  if (pattern.startsWith('/'))
    return { why: 'the output stays in the directory of the job, as stdout and stderr, to be kept with its results' }
  if (pattern.split('/').includes('..') || pattern.endsWith('/')) return { why: 'the output stays in the directory of the job' }
  if (OWN.test(pattern.replace(/^(?:\.\/+)*/, ''))) return { why: 'Cahier has a file of this name in the directory of the job' }
  const expression = pattern.includes('\\')
    ? // A backslash anywhere switches all patterns off, and is taken away itself.
      literal(pattern.replaceAll(/\\(.?)/gs, '$1'))
    : pattern.replaceAll(/%(\d*)([A-Za-z%])|%|[^%]+/g, (whole, width: string | undefined, letter: string | undefined) =>
        letter === undefined ? literal(whole) : replacement(whole, width ?? '', letter, jobName),
      )
  return { expression }
}

function replacement(whole: string, width: string, letter: string, jobName: string | undefined): string {
  if (letter === '%') return `${literal(width)}%`
  if (letter === 'x') return jobName === undefined ? '${SLURM_JOB_NAME}' : literal(jobName)
  const value = REPLACEMENTS[letter]
  if (value === undefined) return literal(whole)
  if (width === '' || !NUMBERS.includes(letter)) return value
  return `$(printf %0${Math.min(Number(width), 10)}d "${value}")`
}

/** Text that means itself inside double quotes. */
function literal(text: string): string {
  return text.replaceAll(/["$`\\]/g, '\\$&')
}

/**
 * A path for `--output` that means just this file.
 *
 * @source transcripts/slurm-22.05/sbatch-file-names.txt: `%%` is a percent sign, unless there is a backslash in the name
 */
export function literalFileName(path: string): string {
  return path.includes('\\') ? path.replaceAll('\\', '\\\\') : path.replaceAll('%', '%%')
}
