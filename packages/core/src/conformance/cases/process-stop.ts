import { ok, strictEqual } from 'node:assert/strict'
import { join } from 'node:path'
import type { ProcessResult } from '../../model/process.js'
import { allGone, type ExpectedFields, hasFields, linesOf, run, runToLimit, shell, soon, textOf, track } from '../process-steps.js'
import type { ProcessCase, ProcessWorld } from '../process-types.js'

/** Sleeps in small steps for at most a minute, so that whatever is not ended here ends by itself. */
const LINGER = 'n=0; while [ $n -lt 600 ]; do n=$((n+1)); sleep 0.1 2>/dev/null || sleep 1; done'
/** Shell that leaves children of all kinds, says how many, and lingers. */
const TREE = `sleep 60 &
(${LINGER}) &
( ( exec sleep 61 ) & )
setsid sh -c '${LINGER}' &
sh -c 'setsid sleep 62 & exit 0'
sleep 0.2 2>/dev/null || sleep 1
echo up >>up
${LINGER}`
/** Longer than a busy machine takes to end a tree that is given no grace. */
const GRACE_MS = 5_000
const STUBBORN_TREE = `trap '' TERM HUP INT
setsid sh -c 'trap "" TERM HUP INT; ${LINGER}' &
(trap '' TERM HUP INT; ${LINGER}) &
sleep 0.2 2>/dev/null || sleep 1
echo up >>up
${LINGER}`

/** That it was ended by this signal, as far as the backend knows of signals. */
function wasEnded(world: ProcessWorld, result: ProcessResult, expected: ExpectedFields): void {
  if (world.supports.namedSignals === true) {
    hasFields(result, expected)
    return
  }
  const { outcome, forced } = expected
  strictEqual(result.forced, forced)
  ok(outcome === 'signaled' ? result.exitCode !== 0 : result.outcome === outcome, `it seems to have ended well: ${JSON.stringify(result)}`)
}

/** Whether what runs in this directory has said there that it is ready. */
function isUp(world: ProcessWorld, directory: string): () => Promise<boolean> {
  return async () => (await textOf(world, join(directory, 'up'))) === 'up\n'
}

export const stopCases: readonly ProcessCase[] = [
  {
    id: 'process-timeout',
    title: 'a process that has reached its time limit is ended and says so',
    why: 'A command that hangs must not hang its caller.',
    async run(world) {
      const result = await run(world, { command: ['sleep', '60'], timeoutMs: 300 })
      wasEnded(world, result, { outcome: 'timed-out', exitCode: undefined, signal: 'SIGTERM', forced: false, survivors: [] })
      ok(result.durationMs >= 290 && result.durationMs < 30_000, `${result.durationMs} ms`)
    },
  },
  {
    id: 'process-timeout-none',
    title: 'a time limit of 0 is none, and one that is not reached changes nothing',
    why: 'An option of 0 that means "at once" ends what it should let live.',
    async run(world) {
      hasFields(await run(world, shell('sleep 0.2 2>/dev/null || sleep 1; exit 4', { timeoutMs: 0 })), { outcome: 'exited', exitCode: 4 })
      hasFields(await run(world, shell('exit 5', { timeoutMs: 20_000 })), { outcome: 'exited', exitCode: 5 })
    },
  },
  {
    id: 'process-timeout-own-code',
    title: 'a program that tidies up at its time limit keeps its exit code',
    why: 'The grace is there to be used.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const script = `trap 'echo tidy >tidy; exit 7' TERM; echo up >up; ${LINGER}`
      const spec = { ...shell(script, { cwd: directory, graceMs: 20_000 }), timeoutMs: 700 }
      hasFields(await runToLimit(world, spec, isUp(world, directory)), { outcome: 'timed-out', exitCode: 7 })
      strictEqual(await textOf(world, join(directory, 'tidy')), 'tidy\n')
    },
  },
  {
    id: 'process-timeout-tree',
    title: 'at the time limit the whole tree is gone: children, what changed its session, what forked twice',
    declared: 'wholeTree',
    needs: ['findProcesses'],
    why: 'Orphans compute on and write into the results of the next attempt.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const { env, living } = track(world)
      const spec = { ...shell(TREE, { cwd: directory, env, graceMs: 1_000 }), timeoutMs: 1_000 }
      const result = await runToLimit(world, spec, isUp(world, directory))
      hasFields(result, { outcome: 'timed-out', survivors: [] })
      strictEqual(await textOf(world, join(directory, 'up')), 'up\n')
      await allGone(world, living)
    },
  },
  {
    id: 'process-kill-tree',
    title: 'what ignores SIGTERM is killed after the grace, in the whole tree, and that is told',
    declared: 'wholeTree',
    needs: ['findProcesses'],
    why: 'A stop that is ignored is no stop.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const { env, living } = track(world)
      const running = await world.backend.start(shell(STUBBORN_TREE, { cwd: directory, env }))
      await linesOf(world, join(directory, 'up'), 1)
      ok((await living()).length >= 3, 'the lab does not find the processes')
      const asked = performance.now()
      running.kill({ graceMs: GRACE_MS })
      wasEnded(world, await soon(world, running.result, 'the end of a killed process'), {
        outcome: 'signaled',
        signal: 'SIGKILL',
        forced: true,
        survivors: [],
      })
      ok(performance.now() - asked >= GRACE_MS - 100, 'it was killed before the grace was over')
      await allGone(world, living)
    },
  },
  {
    id: 'process-kill',
    title: 'kill sends SIGTERM and the process is signaled, not canceled',
    why: 'Ended on purpose and given up are told apart by who asked.',
    async run(world) {
      const running = await world.backend.start({ command: ['sleep', '60'] })
      running.kill()
      wasEnded(world, await soon(world, running.result, 'the end of sleep'), { outcome: 'signaled', signal: 'SIGTERM', forced: false })
      running.kill()
      running.kill({ signal: 'SIGKILL' })
    },
  },
  {
    id: 'process-kill-now',
    title: 'SIGKILL ends at once, without a grace',
    why: 'Who asks for SIGKILL has waited long enough.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const running = await world.backend.start(shell(`trap '' TERM; echo up >up; ${LINGER}`, { cwd: directory, graceMs: 60_000 }))
      await linesOf(world, join(directory, 'up'), 1)
      running.kill({ signal: 'SIGKILL' })
      wasEnded(world, await soon(world, running.result, 'the end by SIGKILL'), { outcome: 'signaled', signal: 'SIGKILL', forced: false })
    },
  },
  {
    id: 'process-kill-stopped',
    title: 'a process that is suspended is ended all the same',
    why: 'SIGTERM waits for ever in front of a process that sleeps by SIGSTOP.',
    async run(world) {
      const running = await world.backend.start(shell('kill -STOP $$; exit 9'))
      running.kill({ graceMs: 3_000 })
      const result = await soon(world, running.result, 'the end of a suspended process')
      ok(['SIGTERM', 'SIGKILL', undefined].includes(result.signal), JSON.stringify(result))
    },
  },
  {
    id: 'process-signal',
    title: 'a signal that does not ask for the end is delivered, and the process goes on',
    why: 'SIGUSR1 asks a solver for a checkpoint, not for its end.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const script = `trap 'echo usr1 >>seen' USR1; echo up >up; until [ -e go ]; do sleep 0.1 2>/dev/null || sleep 1; done; exit 6`
      const running = await world.backend.start(shell(script, { cwd: directory, graceMs: 100 }))
      await linesOf(world, join(directory, 'up'), 1)
      running.kill({ signal: 'SIGUSR1' })
      strictEqual((await linesOf(world, join(directory, 'seen'), 1))[0], 'usr1')
      await run(world, shell(': >go', { cwd: directory }))
      hasFields(await soon(world, running.result, 'the end after a signal'), {
        outcome: 'exited',
        exitCode: 6,
        signal: undefined,
        forced: false,
      })
    },
  },
  {
    id: 'process-cancel-before',
    title: 'what was given up before its start never runs',
    why: 'A queue that is told to stop must not go on starting.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const result = await run(world, shell('echo ran >ran', { cwd: directory }), { signal: AbortSignal.abort() })
      hasFields(result, { outcome: 'canceled', exitCode: undefined, startedAt: undefined })
      strictEqual((await run(world, shell('echo after', { cwd: directory }))).stdout.text, 'after\n')
      strictEqual(await textOf(world, join(directory, 'ran')), '')
    },
  },
  {
    id: 'process-cancel-running',
    title: 'what is given up while it runs is ended, and the outcome says canceled',
    needs: ['findProcesses'],
    why: 'Ctrl-C must reach what runs.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const { env, living } = track(world)
      const controller = new AbortController()
      const running = await world.backend.start(shell(`echo up >up; ${LINGER}`, { cwd: directory, env, graceMs: 1_000 }), {
        signal: controller.signal,
      })
      await linesOf(world, join(directory, 'up'), 1)
      controller.abort()
      hasFields(await soon(world, running.result, 'the end of what was given up'), { outcome: 'canceled', survivors: [] })
      await allGone(world, living)
    },
  },
  {
    id: 'process-cancel-late',
    title: 'giving up after the end changes nothing',
    why: 'A late cancel must not turn a success into something else.',
    async run(world) {
      const controller = new AbortController()
      const running = await world.backend.start(shell('exit 3'), { signal: controller.signal })
      const before = await soon(world, running.result, 'the end')
      controller.abort()
      running.kill()
      strictEqual(await running.result, before)
      hasFields(before, { outcome: 'exited', exitCode: 3 })
    },
  },
  {
    id: 'process-stop-alone',
    title: 'stopping one process leaves the others alone',
    why: 'One shared group for everything ends the neighbours, too.',
    async run(world) {
      const directory = await world.lab.makeDirectory()
      const script = 'until [ -e go ]; do sleep 0.1 2>/dev/null || sleep 1; done; echo fine'
      const neighbour = await world.backend.start(shell(script, { cwd: directory }))
      const running = await world.backend.start({ command: ['sleep', '60'] })
      running.kill()
      await soon(world, running.result, 'the end of what was killed')
      await run(world, { command: ['sleep', '60'], timeoutMs: 100 })
      await run(world, shell(': >go', { cwd: directory }))
      const result = await soon(world, neighbour.result, 'the end of the neighbour')
      hasFields(result, { outcome: 'exited', exitCode: 0 })
      strictEqual(result.stdout.text, 'fine\n')
    },
  },
  {
    id: 'process-scope',
    title: 'leaving the scope of a process ends it and waits for its end',
    needs: ['findProcesses'],
    why: 'await using is how scripts are tidy.',
    async run(world) {
      const { env, living } = track(world)
      let over = false
      {
        await using running = await world.backend.start({ command: ['sleep', '60'], env })
        void running.result.then(() => {
          over = true
        })
      }
      ok(over, 'the scope was left before the end')
      await allGone(world, living)
    },
  },
]
