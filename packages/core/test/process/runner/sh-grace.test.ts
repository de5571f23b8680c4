import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { lineOf } from './protocol-client.js'

const program = fileURLToPath(new URL('../../../assets/runner.sh', import.meta.url))

// A round of its last look takes long on a busy host: here, because cat does.
it('gives commands no more than the grace when the sh runner ends, however slow the host is', { timeout: 30_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-slow-'))
  const cat = join(folder, 'cat')
  writeFileSync(cat, `#!/bin/sh\nPATH=\${PATH#*:}\nsleep 0.5\nexec cat "$@"\n`)
  chmodSync(cat, 0o755)
  const env = { ...process.env, TMPDIR: folder, PATH: `${folder}:${process.env['PATH']}` }
  const runner = spawn('sh', [program, 'abcdefghijklmnop', '0', '2'], { stdio: ['pipe', 'pipe', 'ignore'], env })
  try {
    const ended = once(runner, 'exit')
    const isUp = lineOf(runner.stdout, 'up')
    const script = `trap "" TERM; echo up; while :; do sleep 1; done`
    runner.stdin.write(`s 1 '' '' '' '' '' '' '' '' -- /bin/sh -c '${script}'\n`)
    await isUp
    const began = performance.now()
    runner.stdin.write('q\n')
    await ended
    const ms = performance.now() - began
    expect(ms).toBeGreaterThan(1500)
    // Counted in rounds, it would be 12 s.
    expect(ms).toBeLessThan(9000)
  } finally {
    runner.kill('SIGTERM')
    rmSync(folder, { recursive: true, force: true })
  }
})
