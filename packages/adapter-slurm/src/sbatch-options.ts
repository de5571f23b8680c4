/** Whether an option of sbatch takes a value: always, never, or only after `=`. */
export type OptionValue = 'required' | 'none' | 'optional'

const REQUIRED =
  'account acctg-freq array batch bb bbf begin chdir cluster-constraint clusters comment constraint container container-id core-spec cores-per-socket cpu-freq cpus-per-gpu cpus-per-task deadline delay-boot dependency distribution error exclude export export-file extra extra-node-info gid gpu-bind gpu-freq gpus gpus-per-node gpus-per-socket gpus-per-task gres gres-flags hint input job-name kill-on-invalid-dep licenses mail-type mail-user mcs-label mem mem-bind mem-per-cpu mem-per-gpu mincpus network nodefile nodelist nodes ntasks ntasks-per-core ntasks-per-gpu ntasks-per-node ntasks-per-socket ntasks-per-tres open-mode output partition power prefer priority profile qos reservation segment signal sockets-per-node switches thread-spec threads-per-core time time-min tmp tres-bind tres-per-task uid umask wait-all-nodes wckey wrap'
const NONE =
  'consolidate-segments contiguous external-launcher help hold ignore-pbs no-requeue overcommit oversubscribe parsable quiet reboot requeue share spread-job spread-segments stepmgr test-only usage use-min-nodes verbose version wait'
const OPTIONAL = 'exclusive get-user-env nice no-kill oom-kill-step propagate resv-ports'

/**
 * The long options of sbatch.
 *
 * @source sbatch(1), Slurm 22.05; container-id, extra, tres-per-task, tres-bind: 23.02 and 23.11; external-launcher, segment, stepmgr,
 * resv-ports, oom-kill-step: 24.05 and 24.11; consolidate-segments, spread-segments: 25.05
 */
export const LONG_OPTIONS: ReadonlyMap<string, OptionValue> = new Map([
  ...REQUIRED.split(' ').map((name) => [name, 'required'] as const),
  ...NONE.split(' ').map((name) => [name, 'none'] as const),
  ...OPTIONAL.split(' ').map((name) => [name, 'optional'] as const),
])

/** @source sbatch(1), Slurm 22.05 */
export const SHORT_OPTIONS: Readonly<Record<string, string>> = {
  A: 'account',
  a: 'array',
  B: 'extra-node-info',
  b: 'begin',
  C: 'constraint',
  c: 'cpus-per-task',
  D: 'chdir',
  d: 'dependency',
  e: 'error',
  F: 'nodefile',
  G: 'gpus',
  H: 'hold',
  h: 'help',
  i: 'input',
  J: 'job-name',
  k: 'no-kill',
  L: 'licenses',
  M: 'clusters',
  m: 'distribution',
  N: 'nodes',
  n: 'ntasks',
  O: 'overcommit',
  o: 'output',
  p: 'partition',
  Q: 'quiet',
  q: 'qos',
  S: 'core-spec',
  s: 'oversubscribe',
  t: 'time',
  V: 'version',
  v: 'verbose',
  W: 'wait',
  w: 'nodelist',
  x: 'exclude',
}

/** One option that was read: the long name, and the value where it has one. */
export interface ReadOption {
  readonly name: string
  readonly value?: string
}

/**
 * Splits what follows `#SBATCH` into words as sbatch does: blanks end a word, `"` and `'` take them in, a backslash takes the next
 * character (inside of both quotes too), and `#` outside of quotes ends the line, in the middle of a word as well. Nothing is expanded.
 *
 * @source transcripts/slurm-22.05/sbatch-directives.txt
 */
export function splitDirective(text: string): { readonly words: readonly string[] } | { readonly fault: string } {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let at = 0; at < text.length; at++) {
    const c = text[at]!
    if (c === '\\' && at + 1 < text.length) word = (word ?? '') + text[++at]!
    else if (quote !== '') {
      if (c === quote) quote = ''
      else word += c
    } else if (c === '"' || c === "'") {
      quote = c
      word ??= ''
    } else if (c === '#') break
    else if (/\s/.test(c)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else word = (word ?? '') + c
  }
  if (quote !== '') return { fault: `a quote ${quote} is opened and never closed` }
  if (word !== undefined) words.push(word)
  return { words }
}

/** A value as a word of a directive line that sbatch reads back unchanged. What would end the line is a blank. */
export function directiveWord(value: string): string {
  const line = value.replaceAll(/[\x00-\x1f\x7f]+/g, ' ')
  return /^[A-Za-z0-9_./:=,+@%^&|!<>()[\]{}*?~$-]+$/.test(line) ? line : `"${line.replaceAll(/["\\]/g, '\\$&')}"`
}

/** Reads the words of one directive line as options, as getopt_long does. */
export function readOptions(words: readonly string[]): { readonly options: readonly ReadOption[] } | { readonly fault: string } {
  const options: ReadOption[] = []
  const rest = [...words]
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === 'hetjob' || word === 'packjob')
      return { fault: 'jobs of several parts (hetjob) cannot be run by Cahier: make them one job each' }
    const fault = word.startsWith('--') && word !== '--' ? readLong(word, rest, options) : readShorts(word, rest, options)
    if (fault !== undefined) return { fault }
  }
  return { options }
}

function readLong(word: string, rest: string[], options: ReadOption[]): string | undefined {
  const equals = word.indexOf('=')
  const written = equals < 0 ? word.slice(2) : word.slice(2, equals)
  const given = equals < 0 ? undefined : word.slice(equals + 1)
  const found = longName(written)
  if (typeof found === 'object') return `--${written} is short for several options: ${found.map((name) => `--${name}`).join(', ')}`
  const kind = found === undefined ? undefined : LONG_OPTIONS.get(found)
  const name = found ?? written
  if (kind === 'none' && given !== undefined) return `--${name} takes no value`
  // Of an option of another version it is not known whether the next word is its value: what is no option of its own will be.
  const takesNext =
    given === undefined && (kind === 'required' || (kind === undefined && rest[0] !== undefined && !rest[0].startsWith('-')))
  const value = takesNext ? rest.shift() : given
  if (kind === 'required' && value === undefined) return `--${name} has no value on its line`
  options.push({ name, ...(value !== undefined && { value }) })
  return undefined
}

/** A name may be cut where it stays clear. @returns several names where it does not */
function longName(written: string): string | readonly string[] | undefined {
  if (LONG_OPTIONS.has(written)) return written
  const candidates = [...LONG_OPTIONS.keys()].filter((name) => written !== '' && name.startsWith(written))
  return candidates.length > 1 ? candidates : candidates[0]
}

function readShorts(word: string, rest: string[], options: ReadOption[]): string | undefined {
  if (!word.startsWith('-') || word === '-' || word === '--') {
    return `${JSON.stringify(word)} is no option: a value with a blank wants quotes, --comment="two words"`
  }
  for (let at = 1; at < word.length; at++) {
    const name = SHORT_OPTIONS[word[at]!]
    if (name === undefined) return `-${word[at]} is no option of sbatch`
    const kind = LONG_OPTIONS.get(name)
    const behind = word.slice(at + 1)
    if (kind === 'none') {
      options.push({ name })
      continue
    }
    const value = behind !== '' ? behind : kind === 'required' ? rest.shift() : undefined
    if (kind === 'required' && value === undefined) return `-${word[at]} has no value on its line`
    options.push({ name, ...(value !== undefined && { value }) })
    return undefined
  }
  return undefined
}
