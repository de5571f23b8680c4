/** Rules of Cahier, and how each is broken: a file of the compiled packages, a text in it, what stands there instead. */
export const MUTANTS = {
  'submits again at once': {
    file: 'engine/settle.js',
    from: 'if (open.none >= 2) {',
    to: 'if (true) {',
  },
  'finds nothing': {
    file: 'scheduler/batch/batch-scheduler.js',
    from: 'async find(jobs, { signal } = {}) {',
    to: 'async find(jobs, { signal } = {}) {\n        return new Map();',
  },
  'takes uncertain for rejected': {
    file: 'scheduler/batch/submitter.js',
    from: "{ outcome: 'uncertain', code, message }",
    to: "{ outcome: 'rejected', code, message }",
  },
  'lets every start run': {
    file: 'scheduler/job-wrapper.js',
    from: 'set -C',
    to: 'set +C',
  },
  'has no patience': {
    file: 'scheduler/batch/batch-scheduler.js',
    from: 'graceMs: Math.max(options.lostAfter, 2 * options.pollInterval),',
    to: 'graceMs: 0,',
  },
  'takes silence for an empty queue': {
    file: 'scheduler/batch/status.js',
    from: "if ('silent' in answer)",
    to: "if ('silent' in answer) answer.rows = [];\n            if (false)",
  },
  'takes absence for success': {
    file: 'scheduler/batch/observation.js',
    from: "state: 'not-visible', rawState: ''",
    to: "state: 'ended', end: 'completed', exitCode: 0, rawState: ''",
  },
  'takes a job that was told to end for ended': {
    file: 'engine/conclude.js',
    from: 'if (isAlive(observation))',
    to: 'if (false)',
  },
  'runs no job that was put back': {
    file: 'scheduler/job-wrapper.js',
    from: 'cahier_requeued() {',
    to: 'cahier_requeued() {\n  return 1',
  },
}
