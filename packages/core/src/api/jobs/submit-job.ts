import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { finishTemplate } from '../../engine/plan.js'
import { makeRunDirectory, runName } from '../../engine/run-directory.js'
import { timingOf } from '../../engine/run-site.js'
import { ConfigError, messageOf, SchedulerError } from '../../errors.js'
import type { DependencyKind, JobDependency, JobHandle, JobResources, JobSpec, SubmitOutcome } from '../../model/job.js'
import { DEFAULT_WORK_DIRECTORY } from '../../model/site.js'
import type { Scheduler } from '../../ports/scheduler.js'
import type { SmallFile } from '../../ports/site-files.js'
import { checkJob } from '../../scheduler/check-job.js'
import { SCRIPT_FILE } from '../../scheduler/job-wrapper.js'
import { formatSize } from '../../units.js'
import { writeFileAtomic } from '../../util/atomic-file.js'
import { shellQuote } from '../../util/shell-quote.js'
import { matchJobs, nameJobs, requireList } from './choose-jobs.js'
import { JOB_FILE, JOBS_FOLDER, type JobRecord, readJobRecord, writeJobRecord } from './job-record.js'
import { settleJob } from './settle-job.js'
import { folderOf, type SiteAccess, type SiteAccessOptions } from './site-access.js'

/** A job that is submitted by itself. */
export interface JobRequest {
  /** For humans; default `job`. */
  readonly name?: string | undefined
  /** Whole text, with a `#!` line. */
  readonly script: string
  readonly environment?: Readonly<Record<string, string>>
  readonly resources?: JobResources
  readonly queue?: string | undefined
  readonly account?: string | undefined
  /** What only the site's scheduler knows: `{ qos: 'debug' }`. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Ids or directories of the jobs that must have ended well before (see `kind`). */
  readonly after?: readonly string[]
  /** Default `afterok`. */
  readonly kind?: DependencyKind
  /** Files of this machine that are copied into the job's directory. */
  readonly files?: readonly string[]
}

/** A job that the scheduler has. */
export interface SubmittedSiteJob {
  readonly nativeId: string
  readonly tag: string
  readonly name: string
  readonly site: string
  readonly scheduler: string
  /** Absolute, here: its `job.json`, and where the site sees our files everything else. */
  readonly directory: string
  /** Absolute, on the site: where it runs and leaves its files. */
  readonly siteDirectory: string
  /** Where that directory is, when it is not to be seen from here. */
  readonly host?: string
  /** True when nothing was submitted now: the scheduler had it already. */
  readonly found: boolean
}

export interface SubmitSiteJobOptions extends SiteAccessOptions {
  /** Told when a submission has to be looked up. */
  readonly onUncertain?: ((message: string) => void) | undefined
}

/** Of all input files of a job together: they go through memory and one exchange with the site. */
const MOST_INPUT_BYTES = 64 * 2 ** 20
/** So long a scheduler that says nothing is asked what became of a submission. */
const PATIENCE_MS = 60_000

/** A new job on an open site. */
export async function submitTo(access: SiteAccess, request: JobRequest, options: SubmitSiteJobOptions): Promise<SubmittedSiteJob> {
  const { site, clock, files } = access
  const { signal } = options
  const folder = folderOf(options)
  const inputs = checkInputs(folder, request.files ?? [])
  // Opened before anything is made: a site that cannot be used leaves nothing behind.
  const scheduler = await access.scheduler()
  const [option] = Object.keys(request.options ?? {})
  if (option !== undefined && scheduler.preview === undefined) {
    throw new ConfigError('E_NOT_SUPPORTED', `the scheduler ${scheduler.name} has no options for a job, so ${option} means nothing to it`)
  }
  const dependencies = await resolveParents(access, scheduler, request, folder, signal)
  const name = request.name ?? 'job'
  const place = `${runName(slug(name), clock.now())}_${randomBytes(3).toString('hex')}`
  const tag = place.replace(/[^A-Za-z0-9_-]/g, '-').replace(/^(?=[^A-Za-z])/, 'j')
  const root = files.isShared ? undefined : await files.resolve(`${site.workDirectory ?? DEFAULT_WORK_DIRECTORY}/jobs`, { signal })
  const directory = join(folder, JOBS_FOLDER, place)
  const { queue = site.queue, account = site.account } = request
  const spec: JobSpec = {
    tag,
    name,
    script: finishTemplate(request.script, site.modules),
    directory: root === undefined ? directory : `${root}/${place}`,
    resources: request.resources ?? {},
    environment: { ...request.environment, ...(files.isShared ? { CAHIER_SUBMIT_DIRECTORY: folder } : {}) },
    ...(queue === undefined ? {} : { queue }),
    ...(account === undefined ? {} : { account }),
    ...(request.options === undefined ? {} : { options: request.options }),
    ...(dependencies.length === 0 ? {} : { dependencies }),
  }
  const fault = checkJob(spec)
  if (fault !== undefined) throw new SchedulerError(fault.code, `the job ${name} cannot be submitted: ${fault.message}`)
  const made = makeRunDirectory(join(folder, JOBS_FOLDER), place)
  try {
    await putFiles(access, spec, made, inputs, signal)
  } catch (error) {
    rmSync(made, { recursive: true, force: true })
    throw error
  }
  const { tag: _tag, name: _name, script: _script, directory: _directory, ...job } = spec
  const record: JobRecord = {
    version: 1,
    tag,
    name,
    site: site.name,
    scheduler: scheduler.name,
    directory: spec.directory,
    createdAt: clock.now(),
    state: 'intent',
    job,
  }
  await writeJobRecord(made, record)
  return sendJob(access, scheduler, spec, made, record, options)
}

/** Finds out about a job that `submitTo` left without an answer, and submits it when the scheduler does not have it. */
export async function continueOn(access: SiteAccess, directory: string, options: SubmitSiteJobOptions): Promise<SubmittedSiteJob> {
  const record = requireRecord(directory)
  const scheduler = await access.scheduler()
  if (record.nativeId !== undefined) return submitted(access, directory, record, record.nativeId, true)
  const { tag, name } = record
  const place = { directory: record.directory, tag }
  const since = Math.max(0, access.clock.now() - record.createdAt)
  const { settleGraceMs } = timingOf(scheduler)
  const found = await settle(access, scheduler, place, Math.max(0, settleGraceMs - since), options.signal)
  if (found === 'open') throw stillOpen(directory, record)
  if (found !== 'none') return keep(access, directory, record, found, true)
  const script = readFileSync(join(directory, SCRIPT_FILE), 'utf8')
  return sendJob(access, scheduler, { ...record.job, tag, name, script, directory: record.directory }, directory, record, options)
}

/** @throws ConfigError `E_NOT_FOUND` */
export function requireRecord(directory: string): JobRecord {
  const record = readJobRecord(directory)
  if (record !== undefined) return record
  throw new ConfigError('E_NOT_FOUND', `${directory} is not the directory of a job: there is no ${JOB_FILE} in it`, {
    suggestions: ['Name a directory that "cahier jobs submit" printed'],
  })
}

/**
 * Submits once. Even a second submission of the same directory could not run the job twice: the wrapper takes the directory exclusively.
 */
async function sendJob(
  access: SiteAccess,
  scheduler: Scheduler,
  spec: JobSpec,
  directory: string,
  record: JobRecord,
  { signal, onUncertain }: SubmitSiteJobOptions,
): Promise<SubmittedSiteJob> {
  let outcome: SubmitOutcome | undefined
  try {
    ;[outcome] = await scheduler.submit([spec], { signal })
  } catch (error) {
    // Nothing was sent.
    await discard(access, spec, directory)
    throw error
  }
  if (outcome?.outcome === 'submitted') return keep(access, directory, record, outcome.handle, false)
  if (outcome !== undefined && outcome.outcome !== 'uncertain') {
    await discard(access, spec, directory)
    throw refused(spec, access, outcome)
  }
  const message = outcome?.message ?? 'the scheduler did not speak of this job'
  const open: JobRecord = { ...record, state: 'uncertain', message }
  await writeJobRecord(directory, open)
  onUncertain?.(message)
  const found = await settle(access, scheduler, spec, timingOf(scheduler).settleGraceMs, signal)
  if (found === 'open') throw stillOpen(directory, open)
  if (found !== 'none') return keep(access, directory, open, found, true)
  throw new SchedulerError('E_SUBMIT_REJECTED', `the job ${spec.name} was not queued on ${record.site}: ${message}`, {
    suggestions: [`Submit it again: cahier jobs submit --continue ${shellQuote(directory)}`],
    data: { directory, tag: spec.tag },
  })
}

async function settle(
  { clock }: SiteAccess,
  scheduler: Scheduler,
  place: { readonly directory: string; readonly tag: string },
  graceMs: number,
  signal: AbortSignal | undefined,
): Promise<JobHandle | 'none' | 'open'> {
  return settleJob(scheduler, place, { clock, graceMs, patienceMs: PATIENCE_MS, signal })
}

async function keep(
  access: SiteAccess,
  directory: string,
  record: JobRecord,
  { nativeId }: JobHandle,
  found: boolean,
): Promise<SubmittedSiteJob> {
  const { message: _message, ...rest } = record
  await writeJobRecord(directory, { ...rest, state: 'submitted', nativeId })
  return submitted(access, directory, record, nativeId, found)
}

function submitted(
  { site: { host }, files }: SiteAccess,
  directory: string,
  record: JobRecord,
  nativeId: string,
  found: boolean,
): SubmittedSiteJob {
  const { tag, name, site, scheduler, directory: siteDirectory } = record
  return {
    nativeId,
    tag,
    name,
    site,
    scheduler,
    directory,
    siteDirectory,
    ...(files.isShared || host === undefined ? {} : { host }),
    found,
  }
}

function refused(
  { name }: JobSpec,
  { site }: SiteAccess,
  outcome: Exclude<SubmitOutcome, { readonly outcome: 'submitted' }>,
): SchedulerError {
  const isInvalid = outcome.outcome === 'invalid'
  const code = outcome.code === 'E_UPSTREAM_FAILED' ? outcome.code : isInvalid ? 'E_JOB_INVALID' : 'E_SUBMIT_REJECTED'
  return new SchedulerError(code, `the job ${name} was not taken by ${site.name}: ${outcome.message}`, {
    suggestions: [
      isInvalid
        ? `See what ${site.name} has: cahier sites check ${site.name}`
        : 'Submit it again when some of your jobs have ended: cahier jobs list',
    ],
    data: { site: site.name, code: outcome.code },
  })
}

function stillOpen(directory: string, { site, tag, message }: JobRecord): SchedulerError {
  return new SchedulerError(
    'E_SUBMIT_UNCERTAIN',
    `whether the job was queued on ${site} is open${message === undefined ? '' : ` (${message})`}: the scheduler does not answer`,
    {
      suggestions: [`Ask again later, without submitting twice: cahier jobs submit --continue ${shellQuote(directory)}`],
      data: { directory, tag },
    },
  )
}

/** What was made for a job that nobody took. */
async function discard({ files, processes }: SiteAccess, spec: JobSpec, directory: string): Promise<void> {
  rmSync(directory, { recursive: true, force: true })
  if (files.isShared) return
  const removal = await processes.start({ command: ['rm', '-rf', '--', spec.directory], timeoutMs: 30_000 })
  // A few small files that stay behind there are no reason to hide why the job was refused.
  await removal.result
}

function slug(name: string): string {
  const text = name
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[-.]+/, '')
    .slice(0, 40)
  return text.replace(/[-._]+$/, '') || 'job'
}

interface Input {
  readonly path: string
  readonly name: string
  readonly mode: number
}

/** @throws ConfigError `E_ARGUMENT` */
function checkInputs(folder: string, files: readonly string[]): Input[] {
  const seen = new Set([SCRIPT_FILE, JOB_FILE, 'stdout', 'stderr', 'wrapper.sh', 'exit.json', 'running'])
  let bytes = 0
  return files.map((file): Input => {
    const path = resolve(folder, file)
    const stat = statSync(path, { throwIfNoEntry: false })
    if (stat === undefined) throw new ConfigError('E_ARGUMENT', `the file ${file} does not exist`)
    if (!stat.isFile()) {
      throw new ConfigError('E_ARGUMENT', `${file} is not a file`, { suggestions: ['Name files: a folder travels as an archive (tar)'] })
    }
    const name = basename(path)
    if (seen.has(name)) throw new ConfigError('E_ARGUMENT', `two files of the job would be called ${name}`)
    seen.add(name)
    bytes += stat.size
    if (bytes > MOST_INPUT_BYTES) {
      throw new ConfigError('E_ARGUMENT', `the files of the job are larger than ${formatSize(MOST_INPUT_BYTES)} together`, {
        suggestions: ['Put large files to their place on the site once, and name that place in the script'],
      })
    }
    return { path, name, mode: stat.mode & 0o777 }
  })
}

async function putFiles(
  { files }: SiteAccess,
  spec: JobSpec,
  directory: string,
  inputs: readonly Input[],
  signal: AbortSignal | undefined,
): Promise<void> {
  mkdirSync(directory, { recursive: true })
  const script: SmallFile = { path: join(directory, SCRIPT_FILE), data: spec.script, mode: 0o755 }
  await writeFileAtomic(script.path, script.data, { mode: 0o755, durable: true })
  if (files.isShared) {
    for (const { path, name } of inputs) await copyFile(path, join(directory, name))
    return
  }
  const there = inputs.map(({ path, name, mode }): SmallFile => ({ path: `${spec.directory}/${name}`, data: readInput(path), mode }))
  await files.write([{ ...script, path: `${spec.directory}/${SCRIPT_FILE}` }, ...there], { signal })
}

function readInput(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new ConfigError('E_ARGUMENT', `the file ${path} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

/**
 * The jobs that this one waits for. One whose record says already how it ended is judged here: a queue that has forgotten it would take the
 * dependency for fulfilled.
 */
async function resolveParents(
  { site }: SiteAccess,
  scheduler: Scheduler,
  { after = [], kind = 'afterok', name = 'job' }: JobRequest,
  folder: string,
  signal: AbortSignal | undefined,
): Promise<JobDependency[]> {
  if (after.length === 0) return []
  if (!scheduler.supports.dependencies) {
    throw new ConfigError('E_NOT_SUPPORTED', `the scheduler ${scheduler.name} has no dependencies between jobs`)
  }
  const parents = nameJobs(after, folder, site.name)
  const dependencies: JobDependency[] = []
  const unknown: typeof parents = []
  for (const parent of parents) {
    const { known, nativeId, selector } = parent
    if (known === undefined || nativeId === undefined) {
      unknown.push(parent)
      continue
    }
    if (known.record.site !== site.name) {
      throw new ConfigError('E_ARGUMENT', `the job ${selector} is on ${known.record.site}: a job on ${site.name} cannot wait for it`)
    }
    const { tag, directory } = known.record
    const end = await scheduler.exitRecord({ tag, directory }, { signal })
    if (end === undefined) dependencies.push({ kind, on: { scheduler: scheduler.name, nativeId, tag } })
    else if (kind !== 'afterany' && kind !== 'after' && (end.exitCode === 0) === (kind === 'afternotok')) {
      throw new SchedulerError(
        'E_UPSTREAM_FAILED',
        `the job ${name} could never start: ${selector} has ended with exit code ${end.exitCode}`,
        {
          suggestions: [`See why: cahier jobs logs ${selector} --stderr`],
        },
      )
    }
  }
  if (unknown.length === 0) return dependencies
  const listed = await requireList(scheduler)({ signal })
  for (const { job, handles } of matchJobs(unknown, listed, scheduler.name)) {
    if (handles.length === 0) {
      throw new ConfigError('E_NOT_FOUND', `${site.name} does not show a job ${job.selector}, so nothing can wait for it`, {
        suggestions: [`See its jobs: cahier jobs list --site ${site.name} --all`, 'Leave --after out if it has ended well'],
      })
    }
    dependencies.push(...handles.map((on) => ({ kind, on })))
  }
  return dependencies
}
