import { deepStrictEqual, ok, strictEqual } from 'node:assert/strict'
import { basename, join } from 'node:path'
import type { JobObservation, JobSpec } from '../../model/job.js'
import { makeJob, recordOf, submit, waitForFile, waitUntilEnded } from '../steps.js'
import type { SchedulerCase, SchedulerWorld } from '../types.js'

/** Values that a careless script would take apart, execute or lose. */
const HOSTILE: Readonly<Record<string, string>> = {
  QUOTES: `it's "quoted" \\ and \\n stays`,
  COMMAND: '$(touch pwned) `touch pwned` ; touch pwned & | > pwned',
  LINES: 'one\ntwo\n\n#SBATCH --hold\nthree\n',
  SPACES: '  two  spaces\tand a tab ',
  EMPTY: '',
  DASH: '-rf',
  PATH_LIKE: '../../*?[a]~',
  UNICODE: 'é ü 漢字 🧪 e\u0301',
  CONTROL: 'bell\u0007 return\r escape\u001b[31m',
  LONG: 'x'.repeat(5_000),
  PERCENT: '%s %d %n !! ${HOME} $HOME $$',
}

/**
 * Runs a job to the end of its walltime. One that has not written `up` by then says nothing, and gets a longer one: a busy machine may not
 * even have begun its script.
 */
async function runToWalltime(
  world: SchedulerWorld,
  lines: string,
  graceMs: number,
): Promise<{ readonly job: JobSpec; readonly observation: JobObservation | undefined }> {
  const { lab } = world
  const shortest = lab.shortestWalltimeMs ?? 60_000
  for (let walltimeMs = shortest; ; walltimeMs *= 4) {
    const job = await makeJob(world, lines, { resources: { walltimeMs }, graceMs })
    const handles = await submit(world, job)
    const patient = { ...world, lab: { ...lab, patienceMs: 3 * walltimeMs + 60_000 } }
    const [observation] = await waitUntilEnded(patient, handles)
    if (walltimeMs > 10 * shortest || (await lab.readFile(join(job.directory, 'up'))) !== undefined) return { job, observation }
  }
}

export const runCases: readonly SchedulerCase[] = [
  {
    id: 'run-directory',
    title: 'a job runs in its directory and leaves its output there, the two streams apart',
    why: 'Whoever reads results must find them in the attempt’s own directory; `2>&1 >file` loses errors.',
    async run(world) {
      const job = await makeJob(world, 'pwd -P >where; echo out; echo err >&2; cat')
      const handles = await submit(world, job)
      await waitUntilEnded(world, handles)
      strictEqual(basename((await world.lab.readFile(join(job.directory, 'where')))?.trimEnd() ?? ''), basename(job.directory))
      strictEqual(await world.lab.readFile(join(job.directory, 'stdout')), 'out\n')
      strictEqual(await world.lab.readFile(join(job.directory, 'stderr')), 'err\n')
    },
  },
  {
    id: 'run-environment',
    title: 'environment values arrive byte for byte, and nothing in them is executed',
    why: 'Parameter values come from users’ data: whatever is in them, the program must receive it and the shell must not.',
    async run(world) {
      const names = Object.keys(HOSTILE)
      const job = await makeJob(world, names.map((name) => `printf %s "$${name}" >value.${name}`).join('\n'), { environment: HOSTILE })
      const handles = await submit(world, job)
      await waitUntilEnded(world, handles)
      for (const name of names) strictEqual((await world.lab.readFile(join(job.directory, `value.${name}`))) ?? '', HOSTILE[name])
      strictEqual(await world.lab.readFile(join(job.directory, 'pwned')), undefined)
    },
  },
  {
    id: 'run-script-bytes',
    title: 'the script runs as it was written, with any shebang and without a final line end',
    why: 'Templates hold whatever their authors wrote; a lost last line is a job that did nothing.',
    async run(world) {
      const job = await makeJob(world, '')
      const script = `#!/usr/bin/env sh\n# é "$(touch pwned)" \\\nprintf '%s' "$0" >name\nprintf 'last'`
      const handles = await submit(world, { ...job, script })
      await waitUntilEnded(world, handles)
      strictEqual(await world.lab.readFile(join(job.directory, 'stdout')), 'last')
      ok((await world.lab.readFile(join(job.directory, 'name')))?.includes('job.sh'))
    },
  },
  {
    id: 'run-exit-code',
    title: 'the exit record keeps the script’s exit code, and says 128 + n when signal n ended it',
    why: 'An exit code that becomes 0, 1 or a raw wait status makes failures of successes and the reverse.',
    async run(world) {
      const expected: readonly (readonly [string, number])[] = [
        ['true', 0],
        ['exit 1', 1],
        ['exit 7', 7],
        ['exit 255', 255],
        ['kill -KILL $$', 137],
        ['kill -SEGV $$', 139],
      ]
      const jobs = await Promise.all(expected.map(([lines]) => makeJob(world, lines)))
      const handles = await submit(world, ...jobs)
      await waitUntilEnded(world, handles)
      for (const [index, job] of jobs.entries()) {
        const record = await recordOf(world, job)
        deepStrictEqual([expected[index]?.[0], record.exitCode, record.reason], [expected[index]?.[0], expected[index]?.[1], 'exited'])
      }
    },
  },
  {
    id: 'run-times',
    title: 'the exit record has the times and the host of the run',
    why: 'Timings are results; a record without them cannot be told from one of an earlier attempt.',
    async run(world) {
      const before = Date.now() / 1000
      const job = await makeJob(world, 'sleep 0.2 2>/dev/null || sleep 1')
      const handles = await submit(world, job)
      await waitUntilEnded(world, handles)
      const { startedAt, endedAt, host } = await recordOf(world, job)
      ok(startedAt > before - 5 && startedAt < Date.now() / 1000 + 5, `started at ${startedAt}`)
      ok(endedAt - startedAt >= 0.1 && endedAt - startedAt < 60, `from ${startedAt} to ${endedAt}`)
      ok(host.length > 0)
    },
  },
  {
    id: 'run-tag',
    title: 'a job knows its own tag',
    why: 'A job that writes into a ledger, or names its files, must be able to say which attempt it is.',
    async run(world) {
      const job = await makeJob(world, 'printf %s "$CAHIER_TAG" >tag')
      await waitUntilEnded(world, await submit(world, job))
      strictEqual(await world.lab.readFile(join(job.directory, 'tag')), job.tag)
    },
  },
  {
    id: 'run-walltime',
    title: 'at the end of its walltime a job is asked to end, and the record says why',
    needs: ['shortestWalltimeMs'],
    why: 'A job that only knows KILL cannot write a checkpoint, and a timeout that looks like a failure is not run again longer.',
    async run(world) {
      const lines = `trap 'echo asked >checkpoint; exit 5' TERM\necho up >up; while :; do sleep 1 & wait $!; done`
      const { job, observation } = await runToWalltime(world, lines, 5_000)
      strictEqual(await world.lab.readFile(join(job.directory, 'checkpoint')), 'asked\n')
      const record = await recordOf(world, job)
      deepStrictEqual([record.reason, record.exitCode], ['timeout', 5])
      if (world.supports.accounting === true) strictEqual(observation?.end, 'timed-out')
    },
  },
  {
    id: 'run-walltime-forced',
    title: 'a job that does not end when asked is killed after the grace',
    needs: ['shortestWalltimeMs'],
    why: 'A job that ignores TERM must not hold its cores for ever.',
    async run(world) {
      const { job } = await runToWalltime(world, `trap '' TERM\necho up >up; while :; do sleep 1; done`, 1_000)
      const record = await world.scheduler.exitRecord(job)
      if (record !== undefined) deepStrictEqual([record.reason, record.exitCode], ['timeout', 137])
    },
  },
  {
    id: 'run-record-last',
    title: 'there is no exit record while the script runs',
    why: 'A record that comes before the end lets results be read while they are written.',
    async run(world) {
      const job = await makeJob(world, 'touch up; echo go >up; until [ -e stop ]; do sleep 0.05 2>/dev/null || sleep 1; done')
      const handles = await submit(world, job)
      await waitForFile(world, job, 'up')
      strictEqual(await world.scheduler.exitRecord(job), undefined)
      await world.scheduler.cancel(handles)
      await waitUntilEnded(world, handles)
    },
  },
]
