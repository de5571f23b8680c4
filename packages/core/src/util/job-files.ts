/** The list of the files that a job left, made by its wrapper. */
export const MANIFEST_FILE = 'manifest'

/** In the directory of a job that was given up before it had begun: a start that comes after all does nothing. */
export const GIVEN_UP_FILE = 'given-up'

/** A member of a pack whose directory holds this file is not begun, and ended where it runs. */
export const CANCEL_FILE = 'cancel'

/** In a job's directory: which submissions it was part of, one line `<group tag> <element>[/<member>]` each. */
export const SUBMISSION_FILE = 'submission'

/** In a job's directory: what the scheduler itself, its nodes included, has to say about the job. */
export const SCHEDULER_LOG = 'scheduler.log'

/** In a job's directory, and results all the same: they come home though they stand in no manifest. */
export const RECORD_FILES: readonly string[] = ['exit.json', MANIFEST_FILE, SUBMISSION_FILE, SCHEDULER_LOG]

/**
 * Patterns of files in a job's directory that belong to whoever runs it: its script, its wrapper, who runs it, what earlier starts of it
 * left, the order to end it, and what is on its way into the directory. They stay where they are.
 */
export const WORKING_FILES: readonly string[] = [
  'job.sh',
  'wrapper.sh',
  'running',
  'running.[0-9]*',
  'exit.[0-9]*.json',
  `${MANIFEST_FILE}.[0-9]*`,
  CANCEL_FILE,
  GIVEN_UP_FILE,
  '.cahier-*',
]
