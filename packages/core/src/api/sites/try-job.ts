import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { JobObservation } from '../../model/job.js'
import type { SiteFinding } from '../../model/site-report.js'
import type { Scheduler } from '../../ports/scheduler.js'
import { formatDuration } from '../../units.js'
import type { SiteAccess } from '../jobs/site-access.js'
import { submitTo } from '../jobs/submit-job.js'
import type { CheckSiteOptions } from './check-site.js'
import { failed, ok, warning } from './findings.js'

const JOB_TIMEOUT_MS = 300_000
/** A file system of several machines shows a new file so late at most. */
const RECORD_GRACE_MS = 15_000
const GREETING = 'cahier was here'

/** The whole way of a job: submitted, started on a node, its output and its record seen here. */
export async function tryJob(access: SiteAccess, scheduler: Scheduler, options: CheckSiteOptions): Promise<SiteFinding[]> {
  const { clock, files, processes } = access
  const { signal, jobTimeoutMs = JOB_TIMEOUT_MS } = options
  const begun = clock.monotonic()
  const seconds = (): string => `${((clock.monotonic() - begun) / 1000).toFixed(1)} s`
  const script = `#!/bin/sh\necho '${GREETING}'\n`
  const job = await submitTo(access, { name: 'check', script, resources: { cores: 1, walltimeMs: 60_000 } }, options)
  const handle = { scheduler: scheduler.name, nativeId: job.nativeId, tag: job.tag }
  const place = { directory: job.siteDirectory, tag: job.tag }
  let seen: JobObservation | undefined
  let goneSince: number | undefined
  for (;;) {
    const record = await scheduler.exitRecord(place, { signal })
    if (record !== undefined) {
      const [text] = await files.read([`${job.siteDirectory}/stdout`], { signal })
      rmSync(job.directory, { recursive: true, force: true })
      if (!files.isShared) await (await processes.start({ command: ['rm', '-rf', '--', job.siteDirectory], timeoutMs: 30_000 })).result
      const where = `job ${job.nativeId} ran on ${record.host}`
      if (record.exitCode === 0 && text === `${GREETING}\n`) return [ok('job', `${where}, and its record was seen after ${seconds()}`)]
      return [failed('job', `${where}, and ended with exit code ${record.exitCode} and the output ${JSON.stringify(text ?? '')}`)]
    }
    ;[seen] = await scheduler.observe([handle], { signal })
    const now = clock.monotonic()
    if (seen?.state === 'ended' || seen?.state === 'not-visible') goneSince ??= now
    else goneSince = undefined
    if (goneSince !== undefined && now - goneSince > RECORD_GRACE_MS) return [await noRecord(access, job, seen)]
    if (goneSince === undefined && seen?.state !== 'running' && now - begun > jobTimeoutMs) {
      await scheduler.cancel([handle], { signal })
      const reason = seen?.reason === undefined ? '' : ` (${seen.reason})`
      return [
        warning(
          'job',
          `job ${job.nativeId} still waited after ${formatDuration(jobTimeoutMs)}${reason}, and was canceled: the rest is not known`,
          'Try again when the queue is shorter',
        ),
      ]
    }
    await clock.sleep(500, { signal })
  }
}

async function noRecord(
  { files, site }: SiteAccess,
  { nativeId, siteDirectory }: { readonly nativeId: string; readonly siteDirectory: string },
  seen: JobObservation | undefined,
): Promise<SiteFinding> {
  const [words] = await files.read([join(siteDirectory, 'scheduler.log')]).catch(() => [undefined])
  const said = words === undefined || words.trim() === '' ? '' : `; the scheduler says: ${words.trim().split('\n').at(-1)}`
  const end = `${seen?.rawState ?? 'gone'}${seen?.reason === undefined ? '' : `, ${seen.reason}`}`
  return failed('job', `job ${nativeId} ended (${end}) and left no record in ${siteDirectory}${said}`, [
    `Its nodes must see that directory under this name: set workDirectory of ${site.name} to a place that all nodes have`,
  ])
}
