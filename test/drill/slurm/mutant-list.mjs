/** Rules of Cahier, and how each is broken: files of the compiled packages, a text in each, what stands there instead. */
const submitsAtOnce = { file: 'engine/settle.js', from: 'none >= 2', to: 'true' }
const findsNothing = {
  file: 'scheduler/batch/batch-scheduler.js',
  from: 'async find(jobs, { signal } = {}) {',
  to: 'async find(jobs, { signal } = {}) {\n        return new Map();',
}
const callsRejected = {
  file: 'scheduler/batch/submitter.js',
  from: "{ outcome: 'uncertain', code, message }",
  to: "{ outcome: 'rejected', code, message }",
}
const hasNoMarker = { file: 'scheduler/job-wrapper.js', from: 'set -C', to: 'set +C' }
const overwritesRecords = { file: 'scheduler/job-wrapper.js', from: 'cahier_requeued || exit 0', to: ':' }
const refusesNothing = { file: 'scheduler/job-wrapper.js', from: '&& ! cahier_requeued; }; then', to: '&& false; }; then' }
const hasNoPatience = {
  file: 'scheduler/batch/batch-scheduler.js',
  from: 'graceMs: Math.max(options.lostAfter, 2 * options.pollInterval),',
  to: 'graceMs: 0,',
}
const takesAbsenceForSuccess = {
  file: 'scheduler/batch/observation.js',
  from: "state: 'not-visible', rawState: ''",
  to: "state: 'ended', end: 'completed', exitCode: 0, rawState: ''",
}
const runsNothingAgain = { file: 'scheduler/job-wrapper.js', from: 'cahier_requeued() {', to: 'cahier_requeued() {\n  return 1' }

export const MUTANTS = {
  'finds nothing and submits again at once': [findsNothing, submitsAtOnce],
  'takes uncertain for rejected and lets every start run': [callsRejected, hasNoMarker, overwritesRecords, refusesNothing],
  'takes absence for success': [takesAbsenceForSuccess, hasNoPatience],
  'runs nothing that was put back': [runsNothingAgain],
}
