import type { ProcessResult, ProcessSpec } from '../../packages/core/src/model/process.js'
import type { ProcessBackend, RunningProcess, StartOptions, StopOptions } from '../../packages/core/src/ports/process-backend.js'

/** A correct backend behind which each mutant hides its one fault. */
class Honest implements ProcessBackend {
  protected readonly inner: ProcessBackend

  constructor(inner: ProcessBackend) {
    this.inner = inner
  }

  start(spec: ProcessSpec, options?: StartOptions): Promise<RunningProcess> {
    return this.inner.start(spec, options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]()
  }
}

/** A process with some of its parts replaced. */
function withParts(running: RunningProcess, parts: Partial<RunningProcess>): RunningProcess {
  return {
    pid: running.pid,
    result: running.result,
    write: (data) => running.write(data),
    closeStdin: () => running.closeStdin(),
    kill: (options) => running.kill(options),
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
    ...parts,
  }
}

function changingSpec(change: (spec: ProcessSpec) => ProcessSpec): ProcessMutant['make'] {
  return (inner) =>
    new (class extends Honest {
      override start(spec: ProcessSpec, options?: StartOptions) {
        return super.start(change(spec), options)
      }
    })(inner)
}

function changingResult(change: (result: ProcessResult, spec: ProcessSpec) => ProcessResult): ProcessMutant['make'] {
  return (inner) =>
    new (class extends Honest {
      override async start(spec: ProcessSpec, options?: StartOptions) {
        const running = await super.start(spec, options)
        return withParts(running, { result: running.result.then((result) => change(result, spec)) })
      }
    })(inner)
}

function changingRunning(change: (running: RunningProcess, spec: ProcessSpec) => Partial<RunningProcess>): ProcessMutant['make'] {
  return (inner) =>
    new (class extends Honest {
      override async start(spec: ProcessSpec, options?: StartOptions) {
        const running = await super.start(spec, options)
        return withParts(running, change(running, spec))
      }
    })(inner)
}

function without(spec: ProcessSpec, ...names: (keyof ProcessSpec)[]): ProcessSpec {
  return Object.fromEntries(Object.entries(spec).filter(([name]) => !names.includes(name as keyof ProcessSpec))) as unknown as ProcessSpec
}

export interface ProcessMutant {
  /** What it does wrong. */
  readonly fault: string
  /** The case that must notice. */
  readonly caughtBy: string
  readonly make: (inner: ProcessBackend) => ProcessBackend
}

export const processMutants: readonly ProcessMutant[] = [
  {
    fault: 'takes exit code 255 for a host that was not reached',
    caughtBy: 'process-exit-codes',
    make: changingResult((result) => (result.exitCode === 255 ? { ...result, outcome: 'unreachable', exitCode: undefined } : result)),
  },
  {
    fault: 'takes exit codes above 128 for signals',
    caughtBy: 'process-exit-codes-high',
    make: changingResult((result) =>
      (result.exitCode ?? 0) > 128 ? { ...result, outcome: 'signaled', exitCode: undefined, signal: 'SIGKILL' } : result,
    ),
  },
  {
    fault: 'gives a signal as an exit code',
    caughtBy: 'process-signals',
    make: changingResult((result) =>
      result.outcome === 'signaled' ? { ...result, outcome: 'exited', exitCode: 137, signal: undefined } : result,
    ),
  },
  {
    fault: 'takes 127 for a program that is not there',
    caughtBy: 'process-script-command-missing',
    make: changingResult((result) =>
      result.exitCode === 127
        ? {
            ...result,
            outcome: 'not-started',
            exitCode: undefined,
            error: { code: 'E_PROGRAM_NOT_FOUND', message: 'there is no such program' },
          }
        : result,
    ),
  },
  {
    fault: 'throws where a spec is refused',
    caughtBy: 'process-refuses-nul-word',
    make: (inner) =>
      new (class extends Honest {
        override async start(spec: ProcessSpec, options?: StartOptions) {
          const running = await super.start(spec, options)
          if (running.pid === undefined) throw new Error((await running.result).error?.message)
          return running
        }
      })(inner),
  },
  {
    fault: 'joins the words of an argument list for a shell',
    caughtBy: 'process-words',
    make: changingSpec((spec) => ('script' in spec.command ? spec : { ...spec, command: { script: spec.command.join(' ') } })),
  },
  {
    fault: 'leaves out empty words',
    caughtBy: 'process-words',
    make: changingSpec((spec) =>
      'script' in spec.command ? spec : { ...spec, command: spec.command.filter((word) => word !== '') as [string, ...string[]] },
    ),
  },
  {
    fault: 'puts a script on one line',
    caughtBy: 'process-script',
    make: changingSpec((spec) =>
      'script' in spec.command ? { ...spec, command: { ...spec.command, script: spec.command.script.replaceAll('\n', '; ') } } : spec,
    ),
  },
  {
    fault: 'starts in its own directory',
    caughtBy: 'process-cwd',
    make: changingSpec((spec) => without(spec, 'cwd')),
  },
  {
    fault: 'leaves variables that were to be taken away',
    caughtBy: 'process-env',
    make: changingSpec((spec) =>
      spec.env === undefined
        ? spec
        : { ...spec, env: Object.fromEntries(Object.entries(spec.env).filter(([, value]) => value !== undefined)) },
    ),
  },
  {
    fault: 'accepts text that nobody will read',
    caughtBy: 'process-stdin-after-end',
    make: changingRunning((running) => ({ write: (data) => running.write(data).catch(() => undefined) })),
  },
  {
    fault: 'sends text for stdin as UTF-8, whatever it is',
    caughtBy: 'process-stdin-text',
    make: changingSpec((spec) =>
      typeof spec.stdin === 'object' ? { ...spec, stdin: { text: Buffer.from(spec.stdin.text).toString('utf8') } } : spec,
    ),
  },
  {
    fault: 'mends output that is not UTF-8',
    caughtBy: 'process-output-bytes',
    make: (inner) =>
      new (class extends Honest {
        override start(spec: ProcessSpec, { onOutput, ...options }: StartOptions = {}) {
          return super.start(spec, {
            ...options,
            onOutput: (stream, chunk) => onOutput?.(stream, Buffer.from(Buffer.from(chunk).toString('utf8'))),
          })
        }
      })(inner),
  },
  {
    fault: 'adds the line end that is missing',
    caughtBy: 'process-output-ends',
    make: changingResult((result) =>
      result.stdout.text === '' || result.stdout.text.endsWith('\n')
        ? result
        : { ...result, stdout: { ...result.stdout, text: `${result.stdout.text}\n` } },
    ),
  },
  {
    fault: 'mixes stderr into stdout',
    caughtBy: 'process-output-apart',
    make: changingSpec((spec) =>
      'script' in spec.command ? { ...spec, command: { ...spec.command, script: `exec 2>&1\n${spec.command.script}` } } : spec,
    ),
  },
  {
    fault: 'loses the file with the whole output',
    caughtBy: 'process-output-long',
    make: changingSpec((spec) => ({ ...spec, spillTo: false })),
  },
  {
    fault: 'shows output when it is over',
    caughtBy: 'process-output-live',
    make: (inner) =>
      new (class extends Honest {
        override async start(spec: ProcessSpec, { onOutput, ...options }: StartOptions = {}) {
          const late: Parameters<NonNullable<typeof onOutput>>[] = []
          const running = await super.start(spec, { ...options, onOutput: (...chunk) => late.push(chunk) })
          const result = running.result.then((value) => {
            for (const chunk of late) onOutput?.(...chunk)
            return value
          })
          return withParts(running, { result })
        }
      })(inner),
  },
  {
    fault: 'writes output files anew instead of appending',
    caughtBy: 'process-output-files',
    make: changingSpec((spec) =>
      spec.outputFiles === undefined ? spec : { ...spec, outputFiles: { ...spec.outputFiles, append: false } },
    ),
  },
  {
    fault: 'ignores the time limit',
    caughtBy: 'process-timeout',
    make: changingSpec((spec) => without(spec, 'timeoutMs')),
  },
  {
    fault: 'takes a time limit of 0 for one that is over',
    caughtBy: 'process-timeout-none',
    make: changingSpec((spec) => (spec.timeoutMs === 0 ? { ...spec, timeoutMs: 1 } : spec)),
  },
  {
    fault: 'says that it was signaled when it was given up',
    caughtBy: 'process-cancel-running',
    make: changingResult((result) => (result.outcome === 'canceled' ? { ...result, outcome: 'signaled' } : result)),
  },
  {
    fault: 'starts what was given up before',
    caughtBy: 'process-cancel-before',
    make: (inner) =>
      new (class extends Honest {
        override start(spec: ProcessSpec, { signal: _ignored, ...options }: StartOptions = {}) {
          return super.start(spec, options)
        }
      })(inner),
  },
  {
    fault: 'kills without a grace',
    caughtBy: 'process-kill-tree',
    make: changingRunning((running) => ({ kill: (options?: StopOptions) => running.kill({ ...options, graceMs: 0 }) })),
  },
  {
    fault: 'ends only the process, not what it started',
    caughtBy: 'process-kill-tree',
    make: changingRunning((running) => ({
      kill: ({ signal = 'SIGTERM' } = {}) => {
        if (running.pid !== undefined) process.kill(running.pid, signal)
      },
    })),
  },
  {
    fault: 'takes every signal for the wish to end',
    caughtBy: 'process-signal',
    make: changingRunning((running) => ({ kill: () => running.kill() })),
  },
  {
    fault: 'leaves a scope before the process has ended',
    caughtBy: 'process-scope',
    make: changingRunning((running) => ({
      [Symbol.asyncDispose]: () => {
        running.kill()
        return Promise.resolve()
      },
    })),
  },
  {
    fault: 'gives the second of two outputs to both',
    caughtBy: 'process-many',
    make: (inner) => {
      let last: ProcessResult | undefined
      return changingResult((result) => {
        const shown = last === undefined ? result : { ...result, stdout: last.stdout }
        last = result
        return shown
      })(inner)
    },
  },
  {
    fault: 'ends detached processes, too',
    caughtBy: 'process-detached',
    make: changingSpec((spec) => without(spec, 'detach')),
  },
  {
    fault: 'leaves what runs when it ends',
    caughtBy: 'process-dispose',
    make: (inner) =>
      new (class extends Honest {
        override async [Symbol.asyncDispose]() {
          // Ended by the one who has the inner backend.
        }
      })(inner),
  },
  {
    fault: 'has no terminal where one is asked for',
    caughtBy: 'process-pty',
    make: changingSpec((spec) => without(spec, 'pty')),
  },
]
