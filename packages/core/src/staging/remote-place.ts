import { createHash } from 'node:crypto'
import { join, posix } from 'node:path'
import { ConfigError, TransferError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { CallOptions } from '../ports/scheduler.js'
import type { SiteFiles } from '../ports/site-files.js'
import type { FetchedAttempt, FetchOutcome, SitePlace, StagedAttempt } from '../ports/site-place.js'
import { byteName } from '../util/byte-names.js'
import { SCHEDULER_LOG, SUBMISSION_FILE, WORKING_FILES } from '../util/job-files.js'
import { shellQuote } from '../util/shell-quote.js'
import { TAR_END, tarHeader, tarPadding } from '../util/tar-write.js'
import { FetchPatterns } from './fetch-patterns.js'
import { alreadyHome, HomeSink } from './home-sink.js'
import type { PlacedInput } from './placed-input.js'
import { bringInputs, type KeyedInput, keyInputs } from './remote-inputs.js'
import { exchange, makeToken, siteError } from './site-shell.js'
import { controlBlock, TarReader } from './tar-read.js'

/** Directories that one command is asked for. */
const PER_COMMAND = 100
const TIMEOUT_MS = 600_000
/** How often a record without its manifest is taken for news that came too early. */
const MANIFEST_TRIES = 3
/** What comes home of the words of a scheduler about an array. */
const LOG_BYTES = 8192
export interface RemotePlaceOptions {
  readonly files: SiteFiles
  readonly processes: ProcessBackend
  readonly clock: Clock
  /** Absolute, here. */
  readonly runDirectory: string
  /** For humans; a part of the root's name. */
  readonly runName: string
  /** Unique. */
  readonly runId: string
  /** As the site's configuration says it: `~/cahier-runs`, `$WORK/cahier`. */
  readonly workDirectory: string
  readonly inputs: readonly PlacedInput[]
  /** Names and patterns of what comes home, see {@link FetchPatterns}; absent: all that a job left. */
  readonly fetch?: readonly string[] | undefined
}

/**
 * The files of a run at a site that does not see ours: `<workDirectory>/<run name>-<run id>` stands for the run directory, and
 * `<workDirectory>/inputs` keeps input files by their content, for all runs.
 */
export class RemotePlace implements SitePlace {
  readonly isShared = false
  readonly #options: RemotePlaceOptions
  readonly #patterns: FetchPatterns
  readonly #token = makeToken()
  #work: string | undefined
  #inputs: readonly KeyedInput[] = []
  /** Attempts whose record came without a manifest, and how often. */
  readonly #early = new Map<string, number>()

  constructor(options: RemotePlaceOptions) {
    this.#options = options
    this.#patterns = new FetchPatterns(options.fetch, ['parameters.json', ...options.inputs.map(({ name }) => name)])
    checkName(`${options.runName}-${options.runId}`, 'the directory of a run')
    for (const { name } of options.inputs) checkName(name, 'an input file in the directory of a job')
  }

  /** Only after {@link open}. */
  get root(): string {
    return posix.join(this.#folder, `${this.#options.runName}-${this.#options.runId}`)
  }

  get #folder(): string {
    if (this.#work === undefined) throw new Error('the place was not opened')
    return this.#work
  }

  get #store(): string {
    return posix.join(this.#folder, 'inputs')
  }

  async open({ signal }: CallOptions = {}): Promise<void> {
    const { files, processes, clock, workDirectory, inputs } = this.#options
    this.#inputs = await keyInputs(inputs, signal)
    this.#work = await files.resolve(workDirectory, { signal })
    const store = { processes, clock, folder: this.#store, token: this.#token }
    await bringInputs(store, this.#inputs, this.#renderPreparation(), signal)
  }

  /** Small inputs under their own names, ready to be copied all at once. */
  get #copies(): readonly KeyedInput[] {
    return this.#inputs.filter(({ isLinked }) => !isLinked)
  }

  /** One folder for each set of contents: a run may get other inputs in its middle. */
  get #copyFolder(): string {
    const digest = this.#copies.map(({ key, name }) => `${key} ${name}`).join('\n')
    return posix.join(this.root, `.inputs-${createHash('sha256').update(digest).digest('hex').slice(0, 16)}`)
  }

  #renderPreparation(): string {
    const folder = shellQuote(this.#copyFolder)
    const lines = [`mkdir -p ${shellQuote(this.root)}${this.#copies.length === 0 ? '' : ` ${folder}`} || exit 1`]
    for (const { key, name, mode } of this.#copies) {
      const to = shellQuote(posix.join(this.#copyFolder, name))
      const temporary = shellQuote(posix.join(this.#copyFolder, `.${this.#token}`))
      const rights = (mode & 0o777).toString(8)
      const from = shellQuote(posix.join(this.#store, key))
      lines.push(`[ -f ${to} ] || { cp ${from} ${temporary} && chmod ${rights} ${temporary} && mv -f ${temporary} ${to}; } || exit 1`)
    }
    return lines.join('\n')
  }

  async stage(attempts: readonly StagedAttempt[], { signal }: CallOptions = {}): Promise<void> {
    if (attempts.length === 0) return
    const { processes, clock } = this.#options
    const what = `make ${attempts.length === 1 ? 'the directory of a job' : `the directories of ${attempts.length} jobs`} in ${this.root}`
    const program = [this.#renderPlacing()]
    for (let at = 0; at < attempts.length; at += PER_COMMAND) {
      const directories = attempts.slice(at, at + PER_COMMAND).map(({ directory }) => shellQuote(checkDirectory(directory)))
      program.push([`mkdir -p ${directories.join(' ')} || exit 1`, ...directories.map((directory) => `s ${directory}`)].join('\n'))
    }
    program.push('tar xof - -m || exit 1\nexit $e')
    const payload = attempts.flatMap(({ directory, parameters }) => {
      const data = Buffer.from(parameters)
      return [tarHeader(byteName(`${directory}/parameters.json`), data.length, 0o644, clock.now()), data, tarPadding(data.length)]
    })
    const answer = await exchange(processes, { program, payload: [...payload, TAR_END], signal, what, timeoutMs: TIMEOUT_MS })
    if (answer.exitCode !== 0) throw siteError(what, answer)
  }

  /** Shell function `s`, which gives the directory of an attempt its input files. */
  #renderPlacing(): string {
    const lines: string[] = []
    if (this.#copies.length > 0) {
      const copies = this.#copies.map(({ name }) => shellQuote(posix.join(this.#copyFolder, name)))
      lines.push(`  cp -f ${copies.join(' ')} "$1/" </dev/null || e=1`)
    }
    for (const { key, name } of this.#inputs.filter(({ isLinked }) => isLinked)) {
      const from = shellQuote(posix.join(this.#store, key))
      const to = `"$1"/${shellQuote(name)}`
      lines.push(`  ln -f ${from} ${to} 2>/dev/null || ln -sf ${from} ${to} 2>/dev/null || cp -f ${from} ${to} </dev/null || e=1`)
    }
    return [`cd ${shellQuote(this.root)} || exit 1`, 'e=0', 's() {', '  :', ...lines, '}'].join('\n')
  }

  async fetch(attempts: readonly FetchedAttempt[], { signal }: CallOptions = {}): Promise<readonly FetchOutcome[]> {
    const { runDirectory } = this.#options
    const here = attempts.map(({ directory }) => join(runDirectory, checkDirectory(directory)))
    const known = await Promise.all(here.map((directory) => alreadyHome(directory, this.#patterns)))
    const asked = attempts.flatMap((attempt, index) => (known[index] === undefined ? [{ ...attempt, index }] : []))
    const landed = asked.length === 0 ? new Map<number, FetchOutcome>() : await this.#fetch(asked, here, signal)
    return attempts.map((_, index) => known[index] ?? landed.get(index) ?? { ok: false, detail: 'the site sent nothing of it' })
  }

  async #fetch(
    asked: readonly (FetchedAttempt & { readonly index: number })[],
    here: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<Map<number, FetchOutcome>> {
    const what = `fetch the files of ${asked.length === 1 ? 'a job' : `${asked.length} jobs`} from ${this.root}`
    const arrivals = here.map((directory) => ({ directory, isPatient: (this.#early.get(directory) ?? 0) >= MANIFEST_TRIES }))
    const sink = new HomeSink(arrivals, this.#patterns)
    const reader = new TarReader(sink)
    const program = [this.#renderSending()]
    for (let at = 0; at < asked.length; at += PER_COMMAND) {
      program.push(
        asked
          .slice(at, at + PER_COMMAND)
          .map(({ directory, index }) => `a ${index} ${shellQuote(posix.join(this.root, directory))}`)
          .join('\n'),
      )
    }
    program.push('exit 0')
    try {
      const answer = await exchange(this.#options.processes, { program, signal, what, onOutput: (chunk) => reader.push(chunk) })
      if (answer.exitCode !== 0 || !reader.isWhole) throw fetchError(what, answer)
    } finally {
      await sink.close()
    }
    return new Map(
      [...sink.landed].map(([index, { outcome, lacksManifest }]) => {
        const directory = here[index] as string
        if (lacksManifest) this.#early.set(directory, (this.#early.get(directory) ?? 0) + 1)
        else this.#early.delete(directory)
        return [index, outcome]
      }),
    )
  }

  /**
   * Shell function `w`, which leaves the last words of the scheduler in the directory of a job that did not end well. About the jobs of
   * one submission it writes into one file, which stays where it is: of one that never began there is nothing else to be known.
   */
  #renderWords(): string {
    return `w() {
  [ -f ${SUBMISSION_FILE} ] && [ ! -e ${SCHEDULER_LOG} ] || return 0
  x=
  [ ! -f exit.json ] || read -r x <exit.json
  case $x in *'"exitCode":0,'*) return 0 ;; esac
  g=
  while read -r t x; do g=$t; done <${SUBMISSION_FILE}
  case $g in '' | *[!A-Za-z0-9_-]*) return 0 ;; esac
  f=${shellQuote(posix.join(this.root, 'submissions'))}/$g.log
  [ -s "$f" ] || return 0
  { printf '# the end of %s\\n' "$f" && tail -c ${LOG_BYTES} "$f"; } >${SCHEDULER_LOG}
} </dev/null 2>/dev/null`
  }

  /** Shell function `a`, which sends the files of an attempt as an archive between two blocks that say whose they are. */
  #renderSending(): string {
    const prunes = WORKING_FILES.map((name) => `-path ${shellQuote(`./${name}`)} -prune -o`).join(' ')
    return `${this.#renderWords()}
a() {
  if cd "$2" 2>/dev/null; then
    w
    ${controlBlock('begin $1')}
    find . ${prunes} ${this.#patterns.findOthers()} -type f -exec tar cf - -- {} + </dev/null
    ${controlBlock('end $1 $?')}
  else
    ${controlBlock('absent $1')}
  fi
}`
  }
}

function checkName(name: string, what: string): void {
  if (name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0')) return
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(name)} is no name for ${what}`)
}

/** A relative directory that stays below the root and is no option. */
function checkDirectory(directory: string): string {
  const isInside = posix.normalize(directory) === directory && !/^(\/|-|\.\.(\/|$)|\.$)|\/$|\0/.test(directory)
  if (isInside && directory !== '') return directory
  throw new ConfigError('E_ARGUMENT', `${JSON.stringify(directory)} is no directory below that of the run`)
}

function fetchError(what: string, { exitCode, stderr }: { readonly exitCode: number; readonly stderr: string }): TransferError {
  return new TransferError('E_FETCH', `cannot ${what}: ${stderr.trim().split('\n').at(-1) || `exit code ${exitCode}`}`, {
    suggestions: ['See that the site has find and tar'],
    data: { exitCode, stderr: stderr.slice(-2000) },
  })
}
