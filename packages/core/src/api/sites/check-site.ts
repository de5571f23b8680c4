import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { isCampaignError, messageOf } from '../../errors.js'
import { parseHost } from '../../model/host.js'
import type { ProcessResult } from '../../model/process.js'
import { DEFAULT_WORK_DIRECTORY } from '../../model/site.js'
import type { SchedulerFacts, SiteFinding, SiteReport } from '../../model/site-report.js'
import type { Scheduler } from '../../ports/scheduler.js'
import { connectionOf, connectionPool, mergeConnections } from '../connections.js'
import { folderOf, openAccess, type SiteAccess, type SiteAccessOptions } from '../jobs/site-access.js'
import { type NamedSite, readSites } from '../site-config.js'
import { clockFinding, factFindings, failed, ok, trialFindings, warning } from './findings.js'
import { tryJob } from './try-job.js'

export interface CheckSiteOptions extends SiteAccessOptions {
  /** Submits the smallest job, too, and waits for its record. */
  readonly job?: boolean | undefined
  /** How long that job may wait in the queue; default 5 min. */
  readonly jobTimeoutMs?: number | undefined
}

const COMMAND_TIMEOUT_MS = 30_000

/** Tries everything that a campaign would need of a site. What fails is a finding; the rest is tried all the same. */
export async function checkSite(site: NamedSite, options: CheckSiteOptions): Promise<SiteReport> {
  const findings: SiteFinding[] = []
  let facts: SchedulerFacts | undefined
  try {
    await using access = await openAccess(site.name, options)
    // Whether the adapter is there is known without the host.
    const isProvided = await noted(findings, 'scheduler', async () => {
      await access.checkScheduler()
      return true
    })
    const isReached = await checkHost(access, findings, options)
    if (isReached) {
      await noted(findings, 'clock', () => checkClock(access, findings))
      await noted(findings, 'files', () => checkFiles(access, findings, options))
      const scheduler = isProvided === true ? await noted(findings, 'scheduler', () => access.scheduler()) : undefined
      if (scheduler !== undefined) {
        facts = scheduler.facts?.()
        findings.push(...schedulerFindings(scheduler, facts, site))
        if (options.job === true) {
          const isHopeless = findings.some(({ verdict }) => verdict === 'failed')
          if (isHopeless) findings.push(warning('job', 'no job was submitted: something else failed'))
          else await noted(findings, 'job', async () => void findings.push(...(await tryJob(access, scheduler, options))))
        }
      }
    }
  } catch (error) {
    options.signal?.throwIfAborted()
    findings.push(findingOf('site', error))
  }
  return {
    site: site.name,
    ...(site.host === undefined ? {} : { host: site.host }),
    scheduler: site.scheduler,
    ...(facts === undefined ? {} : { facts }),
    findings: inOrder(findings),
    ok: findings.every(({ verdict }) => verdict !== 'failed'),
  }
}

const ORDER = ['site', 'host', 'login', 'scheduler', 'limits', 'queues', 'account', 'accounting', 'clock', 'files', 'job']

function inOrder(findings: readonly SiteFinding[]): SiteFinding[] {
  return [...findings].sort((a, b) => ORDER.indexOf(a.topic) - ORDER.indexOf(b.topic))
}

/** What was thrown becomes a finding: nothing of a site keeps the rest from being tried. */
async function noted<T>(findings: SiteFinding[], topic: string, attempt: () => Promise<T>): Promise<T | undefined> {
  try {
    return await attempt()
  } catch (error) {
    findings.push(findingOf(topic, error))
    return undefined
  }
}

function findingOf(topic: string, error: unknown): SiteFinding {
  if (!isCampaignError(error)) return failed(topic, messageOf(error))
  return failed(topic, `${error.code}: ${error.message}`, error.suggestions)
}

async function checkHost({ site, clock }: SiteAccess, findings: SiteFinding[], options: CheckSiteOptions): Promise<boolean> {
  if (site.host === undefined) {
    findings.push(ok('host', `this machine, ${hostname()}`))
    return true
  }
  const { host } = site
  const { connection } = await readSites(folderOf(options))
  const begun = clock.monotonic()
  const pooled = await noted(findings, 'host', async () => {
    const pool = await connectionPool()
    const merged = connectionOf(mergeConnections(connection, site.connection))
    return await pool.connect(parseHost(host), merged, { signal: options.signal, anew: true })
  })
  if (pooled === undefined) return false
  const seconds = ((clock.monotonic() - begun) / 1000).toFixed(1)
  const { target, connector } = pooled.connection
  findings.push(ok('login', `${target.user} on ${target.name}, in ${seconds} s (${connector})`))
  return true
}

async function checkClock(access: SiteAccess, findings: SiteFinding[]): Promise<void> {
  const { site, clock } = access
  // The clock of this machine needs no comparison with itself.
  if (site.host === undefined) return
  const before = clock.now()
  const begun = clock.monotonic()
  const result = await runThere(access, 'date +%s.%N 2>/dev/null || date +%s')
  const tookMs = clock.monotonic() - begun
  const found = /^(\d+)(?:\.(\d{1,9})\d*)?/.exec(result.stdout.text.trim())
  if (found === null) throw new Error(`"date" on ${site.host} printed ${JSON.stringify(result.stdout.text.slice(0, 80))}`)
  const [, seconds, fraction] = found
  // Without a fraction the true time lies up to a second later.
  const there = Number(seconds) * 1000 + (fraction === undefined ? 500 : Number(`0.${fraction}`) * 1000)
  const unsure = tookMs / 2 + (fraction === undefined ? 500 : 0)
  findings.push(clockFinding(there - (before + tookMs / 2), unsure, site.host))
}

async function checkFiles(access: SiteAccess, findings: SiteFinding[], options: CheckSiteOptions): Promise<void> {
  const { site, files } = access
  const name = `.cahier-check-${randomBytes(6).toString('hex')}`
  const { signal } = options
  if (files.isShared) {
    const folder = folderOf(options)
    const file = join(folder, name)
    try {
      writeFileSync(file, name)
    } catch (error) {
      findings.push(failed('files', `nothing can be written in ${folder}: ${messageOf(error)}`, ['Work in a folder of your own']))
      return
    }
    try {
      if (site.host === undefined) {
        findings.push(ok('files', 'its jobs use the files of this machine'))
        return
      }
      const seen = await runThere(access, `cat "$1"`, file)
      if (seen.stdout.text === name) findings.push(ok('files', `${site.host} sees ${folder}`))
      else {
        findings.push(
          failed('files', `${site.host} does not see the files of ${folder}, although the site says sharedFiles: true`, [
            'Leave sharedFiles out: files then travel to the workDirectory of the site',
            `Or work in a folder that both machines have, under the same name`,
          ]),
        )
      }
    } finally {
      rmSync(file, { force: true })
    }
    return
  }
  const wanted = site.workDirectory ?? DEFAULT_WORK_DIRECTORY
  const directory = await files.resolve(wanted, { signal })
  const file = `${directory}/${name}`
  await files.write([{ path: file, data: name }], { signal })
  const [text] = await files.read([file], { signal })
  await runThere(access, 'rm -f -- "$1"', file)
  const shown = wanted === directory ? wanted : `${wanted} is ${directory}`
  if (text === name) findings.push(ok('files', `${shown}: can be written`))
  else findings.push(failed('files', `${shown}: what was written there is not what is read back`, ['Name another workDirectory']))
}

function schedulerFindings(scheduler: Scheduler, facts: SchedulerFacts | undefined, site: NamedSite): SiteFinding[] {
  const findings = facts === undefined ? [ok('scheduler', scheduler.name)] : factFindings(facts, site)
  const { queue, account } = site
  // It would say again what is known already.
  if (findings.some(({ verdict }) => verdict === 'failed')) return findings
  const planned = scheduler.preview?.([
    {
      tag: 'cahier-check',
      name: 'cahier-check',
      script: '#!/bin/sh\ntrue\n',
      directory: '/tmp',
      resources: { cores: 1 },
      ...(queue === undefined ? {} : { queue }),
      ...(account === undefined ? {} : { account }),
    },
  ])
  return planned === undefined ? findings : [...findings, ...trialFindings(planned, site)]
}

/** @throws ProcessError when the host could not be asked */
async function runThere({ processes, site }: SiteAccess, script: string, ...args: readonly string[]): Promise<ProcessResult> {
  const running = await processes.start({ command: ['/bin/sh', '-c', script, 'sh', ...args], timeoutMs: COMMAND_TIMEOUT_MS })
  const result = await running.result
  if (result.outcome === 'exited') return result
  throw new Error(result.error?.message ?? `a command on ${site.host ?? 'this machine'} ended as ${result.outcome}`)
}
