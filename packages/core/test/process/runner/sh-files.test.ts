import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { carriersOf, commandOf, killCarriers, lineOf } from './protocol-client.js'

const program = fileURLToPath(new URL('../../../assets/runner.sh', import.meta.url))
/** What the runner writes down about a command, once it runs and once it has ended. */
const WRITES = /^ *echo ("\$_pid .*") (>+"\$_dir\/p\.\$_id")$/gm

// Between opening a file and writing into it, a process may be kept waiting by the disk, or by the others.
it('ends what a command has left behind although the sh runner is slow to write down that it has ended', async () => {
  const text = readFileSync(program, 'utf8')
  expect(text.match(WRITES)).toHaveLength(2)
  const slow = text.replace(WRITES, '{ sleep 1; echo $1; } $2')
  const folder = mkdtempSync(join(tmpdir(), 'cahier-slow-'))
  const trace = randomBytes(8).toString('hex')
  const env = { ...process.env, TMPDIR: folder, CAHIER_TEST_TRACE: trace }
  const runner = spawn('sh', ['-c', slow, 'cahier', 'abcdefghijklmnop', '0', '3'], { stdio: ['pipe', 'pipe', 'ignore'], env })
  try {
    const ended = once(runner, 'exit')
    const isUp = lineOf(runner.stdout, 'up')
    // The command ends when it is told to; what it has started has left its session, and does not.
    const stubborn = 'setsid sh -c "trap \\"\\" TERM; while :; do sleep 1; done" </dev/null >/dev/null 2>&1 &'
    runner.stdin.write(`s 1 '' '' '' '' '' '' '' '' CAHIER_PROC=${trace} -- /bin/sh -c '${stubborn} echo up; while :; do sleep 1; done'\n`)
    await isUp
    runner.stdin.write('q\n')
    await ended
    // Its own helpers may need a moment to hear that it has gone.
    const isLeft = (): string[] => carriersOf(`CAHIER_PROC=${trace}`).map(commandOf)
    await expect.poll(isLeft).toEqual([])
  } finally {
    killCarriers(`CAHIER_TEST_TRACE=${trace}`)
    rmSync(folder, { recursive: true, force: true })
  }
})
