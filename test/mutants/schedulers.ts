import type { ExitRecord, JobHandle, JobObservation, JobPlace, JobSpec, SubmitOutcome } from '../../packages/core/src/model/job.js'
import type { CallOptions, CancelOutcome, Scheduler, SchedulerSupports } from '../../packages/core/src/ports/scheduler.js'

/** A correct scheduler behind which each mutant hides its one fault. */
class Honest implements Scheduler {
  protected readonly inner: Scheduler

  constructor(inner: Scheduler) {
    this.inner = inner
  }

  get name(): string {
    return this.inner.name
  }

  get supports(): SchedulerSupports {
    return this.inner.supports
  }

  open(options?: CallOptions): Promise<void> {
    return this.inner.open(options)
  }

  submit(jobs: readonly JobSpec[], options?: CallOptions): Promise<readonly SubmitOutcome[]> {
    return this.inner.submit(jobs, options)
  }

  find(jobs: readonly JobPlace[], options?: CallOptions): Promise<ReadonlyMap<string, JobHandle>> {
    return this.inner.find(jobs, options)
  }

  observe(handles: readonly JobHandle[], options?: CallOptions): Promise<readonly JobObservation[]> {
    return this.inner.observe(handles, options)
  }

  cancel(handles: readonly JobHandle[], options?: CallOptions): Promise<readonly CancelOutcome[]> {
    return this.inner.cancel(handles, options)
  }

  async changed(options?: CallOptions): Promise<void> {
    await this.inner.changed?.(options)
  }

  exitRecord(job: Pick<JobSpec, 'directory' | 'tag'>, options?: CallOptions): Promise<ExitRecord | undefined> {
    return this.inner.exitRecord(job, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]()
  }
}

function withScript(jobs: readonly JobSpec[], change: (job: JobSpec) => string): JobSpec[] {
  return jobs.map((job) => (job.script.startsWith('#!') ? { ...job, script: change(job) } : job))
}

export interface Mutant {
  /** What it does wrong. */
  readonly fault: string
  /** The case that must notice. */
  readonly caughtBy: string
  readonly make: (inner: Scheduler) => Scheduler
}

export const schedulerMutants: readonly Mutant[] = [
  {
    fault: 'gives the outcomes of a submission back to front',
    caughtBy: 'submit-order',
    make: (inner) =>
      new (class extends Honest {
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return [...(await super.submit(jobs, options))].reverse()
        }
      })(inner),
  },
  {
    fault: 'throws where one job of several is invalid',
    caughtBy: 'submit-invalid',
    make: (inner) =>
      new (class extends Honest {
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          const outcomes = await super.submit(jobs, options)
          if (outcomes.some(({ outcome }) => outcome === 'invalid')) throw new Error('Batch job submission failed')
          return outcomes
        }
      })(inner),
  },
  {
    fault: 'returns an error as if it were an id',
    caughtBy: 'submit-handle',
    make: (inner) =>
      new (class extends Honest {
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          const outcomes = await super.submit(jobs, options)
          return outcomes.map((one) => ('handle' in one ? { ...one, handle: { ...one.handle, nativeId: 'Submitted' } } : one))
        }
      })(inner),
  },
  {
    fault: 'writes the name of a job into its script',
    caughtBy: 'submit-hostile-name',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            withScript(jobs, ({ script, name }) => script.replace('\n', () => `\n# ${name}\n`)),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'sends jobs though it was told to stop',
    caughtBy: 'submit-aborted',
    make: (inner) =>
      new (class extends Honest {
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          const outcomes = await super.submit(jobs)
          options?.signal?.throwIfAborted()
          return outcomes
        }
      })(inner),
  },
  {
    fault: 'loses every hundredth job of a batch',
    caughtBy: 'submit-many',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            jobs.map((job, index) => (index % 100 === 99 ? { ...job, script: '#!/bin/sh\n' } : job)),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'finds jobs whose tag only begins with the one asked for',
    caughtBy: 'find-exact',
    make: (inner) =>
      new (class extends Honest {
        override async find(jobs: readonly JobPlace[], options?: CallOptions) {
          const tags = jobs.map(({ tag }) => tag)
          const found = new Map(await super.find([...jobs, ...jobs.map((job) => ({ ...job, tag: `${job.tag}0` }))], options))
          for (const tag of tags) {
            const longer = found.get(`${tag}0`)
            if (longer !== undefined) found.set(tag, longer)
          }
          for (const tag of found.keys()) if (!tags.includes(tag)) found.delete(tag)
          return found
        }
      })(inner),
  },
  {
    fault: 'writes both streams into one file',
    caughtBy: 'run-directory',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            withScript(jobs, ({ script }) => script.replace('\n', '\nexec 2>&1\n')),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'pastes values between double quotes',
    caughtBy: 'run-environment',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            withScript(jobs, ({ script, environment = {} }) => {
              const lines = Object.entries(environment).map(([name, value]) => `export ${name}="${value}"`)
              return script.replace('\n', () => `\n${lines.join('\n')}\n`)
            }),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'knows only success and failure',
    caughtBy: 'run-exit-code',
    make: (inner) =>
      new (class extends Honest {
        override async exitRecord(job: JobSpec, options?: CallOptions) {
          const record = await super.exitRecord(job, options)
          return record === undefined ? undefined : { ...record, exitCode: Math.min(1, record.exitCode) }
        }
      })(inner),
  },
  {
    fault: 'ignores the walltime’s reason',
    caughtBy: 'run-walltime',
    make: (inner) =>
      new (class extends Honest {
        override async exitRecord(job: JobSpec, options?: CallOptions) {
          const record = await super.exitRecord(job, options)
          return record === undefined ? undefined : { ...record, reason: 'exited' as const }
        }
      })(inner),
  },
  {
    fault: 'says pending again of a job that runs',
    caughtBy: 'observe-forward',
    make: (inner) =>
      new (class extends Honest {
        #running = 0
        override async observe(handles: readonly JobHandle[], options?: CallOptions) {
          const observations = await super.observe(handles, options)
          return observations.map((one) => {
            if (one.state !== 'running') return one
            this.#running += 1
            return this.#running === 3 ? { ...one, state: 'pending' as const } : one
          })
        }
      })(inner),
  },
  {
    fault: 'fails the whole query for one job that is not known',
    caughtBy: 'observe-stranger',
    make: (inner) =>
      new (class extends Honest {
        override async observe(handles: readonly JobHandle[], options?: CallOptions) {
          const observations = await super.observe(handles, options)
          if (observations.some(({ state }) => state === 'not-visible')) throw new Error('Invalid job id specified')
          return observations
        }
      })(inner),
  },
  {
    fault: 'takes absence from the queue for success',
    caughtBy: 'fault-purged',
    make: (inner) =>
      new (class extends Honest {
        override async observe(handles: readonly JobHandle[], options?: CallOptions) {
          const observations = await super.observe(handles, options)
          return observations.map((one) =>
            one.state === 'not-visible' ? { ...one, state: 'ended' as const, end: 'completed' as const } : one,
          )
        }
      })(inner),
  },
  {
    fault: 'looks at ids only',
    caughtBy: 'observe-own-tag',
    make: (inner) =>
      new (class extends Honest {
        #tags = new Map<string, string>()
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          const outcomes = await super.submit(jobs, options)
          for (const one of outcomes) if ('handle' in one) this.#tags.set(one.handle.nativeId, one.handle.tag)
          return outcomes
        }
        override async observe(handles: readonly JobHandle[], options?: CallOptions) {
          const observations = await super.observe(
            handles.map((handle) => ({ ...handle, tag: this.#tags.get(handle.nativeId) ?? handle.tag })),
            options,
          )
          return observations.map((one, index) => ({ ...one, handle: handles[index] as JobHandle }))
        }
      })(inner),
  },
  {
    fault: 'gives the record of whoever used the directory before',
    caughtBy: 'record-own',
    make: (inner) =>
      new (class extends Honest {
        #tags = new Map<string, string>()
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          for (const { directory, tag } of jobs) this.#tags.set(directory, tag)
          return super.submit(jobs, options)
        }
        override exitRecord({ directory, tag }: JobSpec, options?: CallOptions) {
          return super.exitRecord({ directory, tag: this.#tags.get(directory) ?? tag }, options)
        }
      })(inner),
  },
  {
    fault: 'takes a cancel and does nothing',
    caughtBy: 'cancel-running',
    make: (inner) =>
      new (class extends Honest {
        override async cancel(handles: readonly JobHandle[]) {
          return handles.map((handle) => ({ handle, outcome: 'requested' as const }))
        }
      })(inner),
  },
  {
    fault: 'says of an unknown job that its cancel was taken',
    caughtBy: 'cancel-stranger',
    make: (inner) =>
      new (class extends Honest {
        override async cancel(handles: readonly JobHandle[], options?: CallOptions) {
          return (await super.cancel(handles, options)).map((one) => ({ ...one, outcome: 'requested' as const }))
        }
      })(inner),
  },
  {
    fault: 'throws when a job to cancel has ended',
    caughtBy: 'cancel-ended',
    make: (inner) =>
      new (class extends Honest {
        override async cancel(handles: readonly JobHandle[], options?: CallOptions) {
          const outcomes = await super.cancel(handles, options)
          if (outcomes.some(({ outcome }) => outcome === 'ended')) throw new Error('Job/step already completing or completed')
          return outcomes
        }
      })(inner),
  },
  {
    fault: 'takes every dependency for afterany',
    caughtBy: 'depend-afterok-failed-never',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            jobs.map((job) => ({ ...job, dependencies: (job.dependencies ?? []).map(({ on }) => ({ kind: 'afterany' as const, on })) })),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'drops dependencies that it does not declare',
    caughtBy: 'depend-undeclared',
    make: (inner) =>
      new (class extends Honest {
        override get supports() {
          return { ...super.supports, dependencies: false }
        }
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            jobs.map((job) => ({ ...job, dependencies: [] })),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'never settles where it does not declare to tell changes',
    caughtBy: 'push-undeclared',
    make: (inner) =>
      new (class extends Honest {
        override get supports() {
          return { ...super.supports, push: false }
        }
        override async changed(options?: CallOptions) {
          await new Promise((_, reject) => options?.signal?.addEventListener('abort', () => reject(options.signal?.reason)))
        }
      })(inner),
  },
  {
    fault: 'takes silence for an empty queue',
    caughtBy: 'fault-silent',
    make: (inner) =>
      new (class extends Honest {
        override observe(handles: readonly JobHandle[], options?: CallOptions) {
          return super
            .observe(handles, options)
            .catch(() => handles.map((handle) => ({ handle, state: 'not-visible' as const, rawState: '' })))
        }
      })(inner),
  },
  {
    fault: 'calls a submission rejected that was only not answered',
    caughtBy: 'fault-uncertain',
    make: (inner) =>
      new (class extends Honest {
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          const outcomes = await super.submit(jobs, options)
          return outcomes.map((one) => (one.outcome === 'uncertain' ? { ...one, outcome: 'rejected' as const } : one))
        }
      })(inner),
  },
  {
    fault: 'sends a job again under its tag',
    caughtBy: 'submit-twice',
    make: (inner) =>
      new (class extends Honest {
        #calls = 0
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          this.#calls += 1
          const again = (tag: string): string => (this.#calls === 1 ? tag : `${tag}-${this.#calls}`)
          const outcomes = await super.submit(
            jobs.map((job) => ({ ...job, tag: again(job.tag) })),
            options,
          )
          return outcomes.map((one, index) => ('handle' in one ? { ...one, handle: { ...one.handle, tag: jobs[index]?.tag ?? '' } } : one))
        }
      })(inner),
  },
  {
    fault: 'takes a grace of 0 for none given',
    caughtBy: 'cancel-no-grace',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            jobs.map(({ graceMs, ...job }) => (graceMs ? { ...job, graceMs } : job)),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'calls a cancel taken that nobody answered',
    caughtBy: 'cancel-silent',
    make: (inner) =>
      new (class extends Honest {
        override cancel(handles: readonly JobHandle[], options?: CallOptions) {
          return super.cancel(handles, options).catch(() => handles.map((handle) => ({ handle, outcome: 'requested' as const })))
        }
      })(inner),
  },
  {
    fault: 'counts a dependency on a job that is forgotten as met',
    caughtBy: 'depend-forgotten',
    make: (inner) =>
      new (class extends Honest {
        override submit(jobs: readonly JobSpec[], options?: CallOptions) {
          return super.submit(
            jobs.map(({ dependencies: _forgotten, ...job }) => job),
            options,
          )
        }
      })(inner),
  },
  {
    fault: 'finds whatever is in the directory',
    caughtBy: 'find-stranger',
    make: (inner) =>
      new (class extends Honest {
        #handles = new Map<string, JobHandle>()
        override async submit(jobs: readonly JobSpec[], options?: CallOptions) {
          const outcomes = await super.submit(jobs, options)
          outcomes.forEach((one, index) => {
            if ('handle' in one) this.#handles.set(jobs[index]?.directory ?? '', one.handle)
          })
          return outcomes
        }
        override async find(jobs: readonly JobPlace[]) {
          return new Map(
            jobs.flatMap(({ directory, tag }) => {
              const handle = this.#handles.get(directory)
              return handle === undefined ? [] : [[tag, handle] as const]
            }),
          )
        }
      })(inner),
  },
]
