import { messageOf } from '../errors.js'
import type { JobSpec } from '../model/job.js'
import { makeToken } from '../process/runner/bootstrap.js'
import type { RunnerFrame } from '../process/runner/frames.js'
import { LocalTransport } from '../process/runner/local-transport.js'
import type { JobRequest } from '../process/runner/requests.js'
import { RunnerLink } from '../process/runner/runner-link.js'
import { findRunner } from '../process/runner/runner-program.js'
import { wrapperSeconds } from '../scheduler/job-wrapper.js'
import { type JobStarter, SpawnStarter, type StartListener, type StartRequest } from '../scheduler/local/job-starter.js'
import { signalName } from '../util/signal-names.js'

const NOWHERE = { stdout: '/dev/null', stderr: '/dev/null' }
/** Helpers that ended by themselves before this program starts wrappers directly. */
const MOST_LOSSES = 5

/**
 * Starts jobs through the small program of `process/`, which forks at a fraction of what Node needs. In perl it plays the wrapper
 * itself; without perl it starts the wrapper script. Detached: they go on when it ends, and it ends with this program.
 */
export class HelperStarter implements JobStarter {
  readonly #listeners = new Map<number, { readonly listener: StartListener; started: boolean }>()
  readonly #direct = new SpawnStarter()
  #link: RunnerLink | undefined
  #changes = new WeakMap<object, readonly (readonly [string, string | undefined])[]>()
  #lastId = 0
  #losses = 0

  start(request: StartRequest, listener: StartListener): void {
    const link = this.#open()
    if (link === undefined) {
      this.#direct.start(request, listener)
      return
    }
    this.#lastId = (this.#lastId % 0xfffffff0) + 1
    const id = this.#lastId
    this.#listeners.set(id, { listener, started: false })
    link.ready.then(
      () => {
        if (!this.#listeners.has(id)) return
        const environment = [...this.#changesTo(request.base), ...Object.entries(request.extra)]
        if (link.requests.job !== undefined) {
          link.send((out) => link.requests.job?.(out, jobRequest(id, request.job, environment)))
          return
        }
        let words: readonly [string, ...string[]]
        try {
          words = request.command()
        } catch (error) {
          this.#fail(id, messageOf(error))
          return
        }
        const spec = { command: words, cwd: '/', outputFiles: NOWHERE, detach: true }
        const refused = link.requests.refuse(spec, environment)
        if (refused !== undefined) {
          this.#listeners.delete(id)
          this.#direct.start(request, listener)
          return
        }
        link.send((out) => link.requests.start(out, { id, words, spec, environment }))
      },
      (error: unknown) => this.#fail(id, messageOf(error)),
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listeners.clear()
    await this.#link?.close({ patient: true })
  }

  #open(): RunnerLink | undefined {
    if (this.#link !== undefined && !this.#link.lost) return this.#link
    if (this.#losses >= MOST_LOSSES) return undefined
    this.#changes = new WeakMap()
    const runner = findRunner()
    const token = makeToken()
    const link: RunnerLink = new RunnerLink(
      { transport: new LocalTransport(runner, token), kind: runner.kind, token, leaseMs: 0 },
      { onFrame: (frame) => this.#take(link, frame), onLost: () => this.#lose() },
    )
    this.#link = link
    return link
  }

  #take(link: RunnerLink, { type, id, payload }: RunnerFrame): void {
    const entry = this.#listeners.get(id)
    if (entry === undefined) return
    if (type === 'S') {
      entry.started = true
      entry.listener.started(Number(payload.toString('latin1')))
    } else if (type === 'F') {
      this.#listeners.delete(id)
      // After `S` the fork existed but did not become the shell: nothing of the job has run.
      entry.listener.failed(payload.toString('utf8'))
    } else if (type === 'X') {
      this.#listeners.delete(id)
      link.send((out) => link.requests.forget(out, id))
      const [exitCode, signal] = payload.toString('latin1').split(' ').map(Number)
      entry.listener.ended(signal ? { signal: signalName(signal) ?? `SIG${signal}` } : { exitCode })
    }
  }

  #lose(): void {
    this.#losses += 1
    const listeners = [...this.#listeners.values()]
    this.#listeners.clear()
    for (const { listener } of listeners) listener.lost()
  }

  #fail(id: number, message: string): void {
    const entry = this.#listeners.get(id)
    this.#listeners.delete(id)
    entry?.listener.failed(message)
  }

  /** From the environment that the helper has to this one; worked out once for the many jobs of one submitter. */
  #changesTo(base: Readonly<Record<string, string>>): readonly (readonly [string, string | undefined])[] {
    const known = this.#changes.get(base)
    if (known !== undefined) return known
    const own = process.env
    const changes: (readonly [string, string | undefined])[] = []
    for (const [name, value] of Object.entries(base)) if (own[name] !== value) changes.push([name, value])
    for (const name of Object.keys(own)) if (!(name in base)) changes.push([name, undefined])
    this.#changes.set(base, changes)
    return changes
  }
}

function jobRequest(id: number, job: JobSpec, environment: JobRequest['environment']): JobRequest {
  const { walltime, grace } = wrapperSeconds(job)
  return {
    id,
    tag: job.tag,
    directory: job.directory,
    startNumber: 1,
    walltimeSeconds: walltime,
    graceSeconds: grace,
    environment,
    variables: job.environment ?? {},
  }
}
