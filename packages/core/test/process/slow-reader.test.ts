import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { ProcessBackend } from '../../src/ports/process-backend.js'
import { HelperBackend } from '../../src/process/helper-backend.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { findRunner } from '../../src/process/runner/runner-program.js'

const has = (program: string): boolean => {
  try {
    execFileSync('/bin/sh', ['-c', `command -v ${program}`])
    return true
  } catch {
    return false
  }
}

const SUBJECTS: [name: string, make: () => ProcessBackend, present: boolean][] = [
  ['LocalBackend', () => new LocalBackend(), true],
  ['HelperBackend (perl)', () => new HelperBackend({ runner: findRunner('perl') }), has('perl')],
  ['HelperBackend (dash)', () => new HelperBackend({ runner: findRunner('sh', ['dash']) }), has('dash')],
]

const never = new Promise<void>(() => {})

for (const [name, make, present] of SUBJECTS) {
  describe.skipIf(!present)(`${name}, whose output is read slowly`, () => {
    it('gives all of it, also when the command ends long before', async () => {
      await using backend = make()
      let taken = 0
      const onOutput = async (_stream: string, chunk: Uint8Array): Promise<void> => {
        await pause(500)
        taken += chunk.length
      }
      const running = await backend.start({ command: ['head', '-c', '200000', '/dev/zero'], spillTo: false }, { onOutput })
      const result = await running.result
      expect(result).toMatchObject({ outcome: 'exited', exitCode: 0, stdout: { bytes: 200_000 } })
      expect(taken).toBeGreaterThan(0)
    })

    it('gives all that another command wrote, too', async () => {
      await using backend = make()
      let release = (): void => {}
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      const slow = await backend.start({ command: ['echo', 'slow'] }, { onOutput: () => held })
      await pause(300)
      const other = backend.start({ command: { script: 'echo one; sleep 0.3; echo two; exit 3' } })
      await pause(3000)
      release()
      expect(await (await other).result).toMatchObject({ exitCode: 3, stdout: { text: 'one\ntwo\n' } })
      expect(await slow.result).toMatchObject({ exitCode: 0, stdout: { text: 'slow\n' } })
    })

    it('ends when it is told to, and holds up nobody then', async () => {
      await using backend = make()
      let came = false
      const onOutput = (): Promise<void> => {
        came = true
        return never
      }
      const stuck = await backend.start(
        { command: { script: 'trap "" TERM; while :; do echo x; sleep 0.1; done' }, graceMs: 200 },
        { onOutput },
      )
      await expect.poll(() => came, { timeout: 30_000 }).toBe(true)
      stuck.kill()
      expect(await stuck.result).toMatchObject({ outcome: 'signaled', survivors: [] })
      const after = await backend.start({ command: ['echo', 'after'] })
      expect(await after.result).toMatchObject({ exitCode: 0, stdout: { text: 'after\n' } })
    }, 60_000)

    it('ends when it is told to after its command has ended', async () => {
      await using backend = make()
      const command = { script: 'head -c 100000 /dev/zero' }
      const stuck = await backend.start({ command, spillTo: false }, { onOutput: () => never })
      // Gone, and waited for.
      await expect.poll(() => existsSync(`/proc/${stuck.pid}`), { timeout: 30_000 }).toBe(false)
      stuck.kill()
      expect((await stuck.result).stdout.bytes).toBe(100_000)
    }, 60_000)

    it('ends at its time limit, although its reader takes nothing', async () => {
      await using backend = make()
      const stuck = await backend.start({ command: ['echo', 'x'], timeoutMs: 3_000 }, { onOutput: () => never })
      expect((await stuck.result).stdout.text).toBe('x\n')
    }, 60_000)
  })
}
