import { describe, expect, it } from 'vitest'
import type { ProcessResult } from '../../../src/model/process.js'
import type { ProcessBackend } from '../../../src/ports/process-backend.js'
import { LocalBackend } from '../../../src/process/local-backend.js'
import { endedProcess } from '../../../src/process/supervised-process.js'
import { SiteCommands } from '../../../src/scheduler/batch/site-commands.js'

async function withCommands<T>(timeoutMs: number, use: (commands: SiteCommands) => Promise<T>): Promise<T> {
  await using processes = new LocalBackend()
  return await use(new SiteCommands({ processes, timeoutMs, scheduler: 'fake' }))
}

/** A site that is not reached, with this code. */
function unreachable(code: string): ProcessBackend {
  return {
    start: () => Promise.resolve(endedProcess('unreachable', { code, message: 'no way there' })),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

describe('commands of a scheduler', () => {
  it('give their whole answer, with standard input and environment', async () => {
    const answer = await withCommands(20_000, (commands) =>
      commands.ask({
        argv: ['sh', '-c', 'cat; echo "$MINE$PATH_INFO"; echo err >&2; exit 3'],
        stdin: 'in ',
        env: { MINE: 'x', PATH_INFO: undefined },
      }),
    )
    expect(answer).toEqual({ exitCode: 3, timedOut: false, stdout: 'in x\n', stderr: 'err\n' })
  })

  it('keep an answer of megabytes whole', async () => {
    const { stdout } = await withCommands(60_000, (commands) => commands.ask({ argv: ['sh', '-c', 'yes 0123456789 | head -n 400000'] }))
    expect(stdout).toHaveLength(4_400_000)
  })

  it('keep what was printed before our time limit', async () => {
    const ask = (timeoutMs: number) => withCommands(timeoutMs, (commands) => commands.ask({ argv: ['sh', '-c', 'echo 42; exec sleep 60'] }))
    // A busy machine may not have begun the shell by then.
    let answer = await ask(500)
    if (answer.stdout === '') answer = await ask(20_000)
    expect(answer).toMatchObject({ exitCode: undefined, timedOut: true, stdout: '42\n' })
  })

  it('are missing where there is no such program', async () => {
    const asked = withCommands(1_000, (commands) => commands.ask({ argv: ['no-such-queue'] }))
    await expect(asked).rejects.toMatchObject({ code: 'E_SCHEDULER_MISSING', data: { program: 'no-such-queue' } })
  })

  it.each<[string, ProcessResult['outcome'], boolean]>([
    ['E_LOGIN_NEEDED', 'unreachable', true],
    ['E_HOST_TIMEOUT', 'unreachable', true],
    ['E_CONNECTION_LOST', 'unreachable', false],
    ['E_HELPER', 'unreachable', false],
  ])('that end with %s are silence, with that code, and certainly not begun: %s %s', async (code, _outcome, isUnsent) => {
    const commands = new SiteCommands({ processes: unreachable(code), timeoutMs: 1_000, scheduler: 'fake' })
    expect(await commands.try({ argv: ['fq-sub'] })).toMatchObject({ isUnsent, error: { code: 'E_SCHEDULER_SILENT', data: { code } } })
    await expect(commands.ask({ argv: ['fq-sub'] })).rejects.toMatchObject({ code: 'E_SCHEDULER_SILENT', data: { code } })
  })

  it('that are given up reject with the reason', async () => {
    const control = new AbortController()
    const asked = withCommands(60_000, (commands) => commands.ask({ argv: ['sleep', '60'] }, { signal: control.signal }))
    setTimeout(() => control.abort(new Error('enough')), 50)
    await expect(asked).rejects.toThrow('enough')
  })
})
