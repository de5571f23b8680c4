/**
 * The one table of error codes. The documentation page `docs/reference/errors.md` is made from it; a code is never reused.
 *
 * Add a code in alphabetical order inside its family, with the sentence that a user would search for.
 */
export const ERROR_CODES = {
  // ConfigError
  E_ARGUMENT: 'A function or a command was given a value that it cannot use.',
  E_CAMPAIGN_CHANGED: 'The campaign file differs from the one that this run directory was started with.',
  E_CAMPAIGN_INVALID: 'The campaign file does not fit the schema.',
  E_CAMPAIGN_NOT_FOUND: 'There is no campaign file at the place named.',
  E_CAMPAIGN_UNREADABLE: 'The campaign file exists and cannot be loaded.',
  E_FACTOR_COLLISION: 'Two factors of one combination have the same name.',
  E_FACTOR_EMPTY: 'A factor has no level.',
  E_FACTOR_VALUE: 'A level has a value that cannot be part of a combination.',
  E_NOT_FOUND: 'The run, work item or name asked for does not exist.',
  E_NOT_SUPPORTED: 'This adapter or driver does not offer what was asked.',
  E_SITE_INVALID: 'A cahier.config cannot be loaded, or what it says does not fit the schema.',
  E_TEMPLATE: 'A template cannot be read or rendered.',
  E_TEMPLATE_NAME: 'A template uses a name that the combination does not have.',
  E_TEMPLATE_UNSAFE: 'A value cannot be written safely at this place of a template.',
  E_UNIT: 'A duration or a size cannot be read.',
  E_HOST_SET: 'A host set cannot be read.',
  // AdapterError
  E_ADAPTER_API: 'An adapter was made for another version of the adapter interface.',
  E_ADAPTER_INVALID: 'A package does not hold the adapter that its manifest promises.',
  E_ADAPTER_LOAD: 'An adapter package failed while it was imported.',
  E_ADAPTER_MISSING: 'No installed package provides the adapter asked for.',
  E_ADAPTER_OPTIONS: 'An option of an adapter is unknown or has a wrong value.',
  E_WIRING: 'A service that is needed was not bound, or bindings form a cycle.',
  // ProcessError
  E_ABORTED: 'The operation was given up because its signal was aborted.',
  E_CONNECTION_LOST: 'The connection to a host was cut while a command ran there, and could not be taken up again in time.',
  E_DIRECTORY: 'The working directory of a process does not exist or may not be entered.',
  E_EXPECT: 'The text waited for did not appear in the output.',
  E_FORWARD: 'A port could not be forwarded through a host.',
  E_HELPER: 'The helper that starts processes ended or answered nonsense.',
  E_HOST_DROPPED:
    'The server closed the connection before the login, again and again: it has too many logins at once, or bars this machine.',
  E_HOST_KEY_CHANGED: 'The host shows another key than the one that is known for it.',
  E_HOST_KEY_REVOKED: 'The host shows a key that is marked as revoked.',
  E_HOST_KEY_UNKNOWN: 'No key is known for the host, so nobody can say who answers there.',
  E_HOST_NAME: 'The name of the host is not known to this machine.',
  E_HOST_PROTOCOL: 'What answers at the port does not speak ssh, or not in a way that we share.',
  E_HOST_REFUSED: 'Nothing listens at the port of the host.',
  E_HOST_TIMEOUT: 'The host did not answer in time.',
  E_HOST_UNREACHABLE: 'There is no way to the host in the network.',
  E_LOGIN_NEEDED: 'The host wants a password, a passphrase or a code, and nobody can be asked.',
  E_LOGIN_REFUSED: 'The host does not let us in with the keys that we have.',
  E_PROCESS_STATE: 'The process is not in a state in which this can be done.',
  E_PROGRAM_NOT_FOUND: 'The program to run does not exist or may not be executed.',
  E_RUNNER: 'The runner could not be started on a host, or answered nonsense.',
  E_SSH_CONFIG: 'The ssh configuration asks for something that cannot be done, or cannot be read.',
  E_STDIN: 'Text could not be written to a process.',
  // SchedulerError
  E_JOB_INVALID: 'The scheduler would never accept this job.',
  E_ORDER_REFUSED: 'The scheduler refused an order about a job: to end, hold, release or requeue it.',
  E_SCHEDULER_BREAKER: 'Several jobs failed in the same way, so no more were started.',
  E_SCHEDULER_MISSING: 'The commands of the scheduler are not on the machine through which the site is used.',
  E_SCHEDULER_SILENT: 'The scheduler does not answer.',
  E_SUBMIT_REJECTED: 'The scheduler did not take the job; nothing was queued.',
  E_SUBMIT_UNCERTAIN: 'A submission failed in a way that leaves open whether a job was queued.',
  E_SUBMIT_UNREADABLE: 'The scheduler answered a submission, but not with a job id.',
  E_UPSTREAM_FAILED: 'A job that this one depends on has ended in a way that never lets it start.',
  // TransferError
  E_FETCH: 'The results of a job could not be brought home.',
  E_STAGE: 'Input files could not be brought to a site.',
  E_TRANSFER: 'Files could not be copied.',
  // StoreError
  E_CLAIM_LOST: 'The right to a combination expired and went to another worker.',
  E_JOURNAL_DAMAGED: 'The journal was changed or cut in the middle.',
  E_JOURNAL_NEWER: 'The journal was written by a newer version of Cahier.',
  E_LOCK_TIMEOUT: 'The lock of the journal could not be had in time.',
  E_RUN_DIRECTORY: 'The run directory cannot be made, read or written.',
  E_RUN_HELD: 'Another controller drives this run.',
  E_STORE_FULL: 'The disk or the quota is full.',
  E_STORE_IO: 'The journal cannot be read or written.',
} as const satisfies Record<string, string>

export type ErrorCode = keyof typeof ERROR_CODES
