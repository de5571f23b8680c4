import type { UserDirectives } from '@cahier/core/spi'
import { fileNameExpression } from './file-names.js'
import { type ReadOption, readOptions, splitDirective } from './sbatch-options.js'
import { readAsked } from './user-resources.js'

interface DirectiveLine {
  readonly text: string
  /** Counted from 1. */
  readonly number: number
  readonly options: readonly ReadOption[]
}

const MARKER = '#SBATCH'

/** Options that Cahier gives on sbatch's command line, where they win over the script's. */
const OVERRIDDEN: Readonly<Record<string, string>> = {
  'job-name': 'the job is named by its tag, by which it is found again; for one job at a time set options.singleton',
  chdir: 'every job starts in a directory of its own',
  'open-mode': 'every start of a job has output files of its own',
  input: 'jobs read nothing from their standard input',
  parsable: 'Cahier reads the answer of sbatch',
  quiet: 'Cahier reads the answer of sbatch',
}

/** Options that would make something else of one job. */
const REFUSED: Readonly<Record<string, string>> = {
  array: 'Cahier makes the arrays, of the combinations of a campaign: make the index a factor of one, and remove --array',
  clusters: 'name the cluster in the site’s options (cluster), so that its queue is asked too',
  'test-only': 'sbatch would submit nothing',
  help: 'sbatch would submit nothing',
  usage: 'sbatch would submit nothing',
  version: 'sbatch would submit nothing',
  wrap: 'the script is the job',
}

/** Signals that the job wrapper understands as a wish to end. */
const WRAPPER_SIGNALS = /^(?:SIG)?(?:USR1|TERM|INT|10|15|2)(?:@|$)/i

/**
 * Reads the `#SBATCH` lines that sbatch would obey: those before the first command of the script.
 *
 * @param script - whole text; LF or CR LF
 * @returns lines without those that say nothing here; with `fault` what was read before it
 * @source sbatch(1), Slurm 22.05; transcripts/slurm-22.05/sbatch-directives.txt
 */
export function readDirectives(script: string): UserDirectives {
  const ignored: { line: string; why: string }[] = []
  const lines: DirectiveLine[] = []
  let fault: string | undefined
  let number = 0
  for (const text of script.split('\n').map((line) => line.replace(/\r$/, ''))) {
    number++
    if (!text.startsWith(MARKER)) {
      if (/^\s*[^#\s]/.test(text)) break
      if (/^#(?:PBS|BSUB)\b/.test(text)) ignored.push({ line: text, why: 'it is no #SBATCH line' })
      continue
    }
    const read = readLine(text)
    if ('fault' in read) {
      fault ??= `line ${number}, ${JSON.stringify(text)}: ${read.fault}`
      continue
    }
    lines.push({ text, number, options: read.options })
    fault ??= refusal(lines.at(-1)!)
  }
  const options = new Map(lines.flatMap((line) => line.options.map(({ name, value }) => [name, value ?? ''] as const)))
  const files = fileNames(lines, options, ignored)
  const kept = lines.filter((line) => saysSomething(line, ignored))
  return {
    lines: kept.map(({ text }) => text),
    ...readAsked(options),
    ...files,
    ...(fault !== undefined && { fault }),
    ignored,
  }
}

/** The options of lines that were read before, by their long names; the last one of a name counts. */
export function optionsOf(lines: readonly string[]): ReadonlyMap<string, string> {
  const options = new Map<string, string>()
  for (const line of lines) {
    const read = readLine(line)
    if ('options' in read) for (const { name, value } of read.options) options.set(name, value ?? '')
  }
  return options
}

function readLine(text: string): { readonly options: readonly ReadOption[] } | { readonly fault: string } {
  const split = splitDirective(text.slice(MARKER.length))
  return 'fault' in split ? split : readOptions(split.words)
}

function refusal({ text, number, options }: DirectiveLine): string | undefined {
  for (const { name, value = '' } of options) {
    const why = REFUSED[name] ?? refusalOfValue(name, value, options.length)
    if (why !== undefined) return `line ${number}, ${JSON.stringify(text)}: ${why}`
  }
  return undefined
}

function refusalOfValue(name: string, value: string, together: number): string | undefined {
  if (name === 'wait' && together > 1) return 'sbatch would wait for the end of the job: remove --wait'
  if (name === 'dependency' && /\bsingleton\b/.test(value)) {
    return 'singleton goes by the name of the job, and every job of Cahier has its own: set options.singleton to a name'
  }
  const batch = name === 'signal' && /^(?:R?B|BR):/i.test(value) ? value.slice(value.indexOf(':') + 1) : undefined
  if (batch !== undefined && !WRAPPER_SIGNALS.test(batch)) {
    return `the shell around the script gets this signal and would end of it: write --signal=B:USR1@60 and let the script understand TERM`
  }
  return undefined
}

/** Notes what a line says to nobody here. @returns whether something is left */
function saysSomething({ text, options }: DirectiveLine, ignored: { line: string; why: string }[]): boolean {
  const reasons = options.map(({ name }) => (name === 'wait' ? 'Cahier waits for the jobs itself' : OVERRIDDEN[name]))
  for (const why of new Set(reasons)) if (why !== undefined) ignored.push({ line: text, why })
  return options.some(({ name }, at) => reasons[at] === undefined && name !== 'output' && name !== 'error')
}

/** `--output` and `--error` as the wrapper follows them. */
function fileNames(
  lines: readonly DirectiveLine[],
  options: ReadonlyMap<string, string>,
  ignored: { line: string; why: string }[],
): Pick<UserDirectives, 'stdout' | 'stderr'> {
  const names: { stdout?: string; stderr?: string } = {}
  for (const [option, key] of [
    ['output', 'stdout'],
    ['error', 'stderr'],
  ] as const) {
    const pattern = options.get(option)
    if (pattern === undefined) continue
    const read = fileNameExpression(pattern, options.get('job-name'))
    if ('expression' in read) names[key] = read.expression
    else ignored.push({ line: lines.findLast((line) => line.options.some(({ name }) => name === option))!.text, why: read.why })
  }
  return names
}
