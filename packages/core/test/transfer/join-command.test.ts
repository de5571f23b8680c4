import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { joinCommand } from '../../src/transfer/agent/join-command.js'
import { makeDeferred } from '../../src/util/async.js'

const BYTES = 3_000_000
const content = Buffer.alloc(BYTES, 'What goes there, and what comes back. ')
const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
const isThere = (program: string, ...words: string[]): boolean => spawnSync(program, words).status === 0

/** A socket in a new folder; what is called takes the caller. */
async function listen(take: (socket: Socket) => void): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-join-'))
  const server = createServer({ allowHalfOpen: true }, take)
  onTestFinished(() => {
    server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const path = join(folder, 'link')
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return path
}

/** To its end; unlike `for await`, this does not close a socket that is still written to. */
function whole(stream: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  return new Promise((resolve) => stream.once('end', () => resolve(Buffer.concat(chunks))))
}

describe.each([
  ['pl', 'perl', '-e', '1'],
  ['py', 'python3', '-c', '1'],
] as const)('a join in %s', (kind, program, ...words) => {
  const runIt = it.runIf(isThere(program, ...words))
  const needs = isThere(program, ...words) ? '' : ` (needs ${program})`

  for (const shell of ['sh', 'bash', 'csh', 'tcsh', 'fish', 'zsh', 'busybox']) {
    const start = shell === 'busybox' ? ['busybox', 'sh', '-c'] : [shell, '-c']
    const can = isThere(start[0] as string, ...start.slice(1), 'true')
    it.runIf(can && needs === '')(`carries bytes both ways, started through ${shell}${can ? needs : ` (needs ${shell})`}`, async () => {
      const heard = makeDeferred<Buffer>()
      const path = await listen((socket) => {
        // It says much before it hears anything, and ends when it has heard everything.
        socket.write(content)
        void whole(socket).then((data) => {
          socket.end('bye')
          heard.resolve(data)
        })
      })
      const child = spawn(start[0] as string, [...start.slice(1), joinCommand(kind, path)], { stdio: ['pipe', 'pipe', 'inherit'] })
      child.stdin.end(content)
      const back = whole(child.stdout)
      const ended = new Promise((end) => child.once('close', end))
      expect(sha256(await heard.promise)).toBe(sha256(content))
      expect(sha256(await back)).toBe(sha256(Buffer.concat([content, Buffer.from('bye')])))
      expect(await ended).toBe(0)
    })
  }

  runIt(`ends when the agent closes the socket, though its own input is open${needs}`, async () => {
    const path = await listen((socket) => socket.end('short'))
    const child = spawn('sh', ['-c', joinCommand(kind, path)], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    expect((await whole(child.stdout)).toString()).toBe('short')
  })

  runIt(`says so when nobody listens${needs}`, () => {
    const ended = spawnSync('sh', ['-c', joinCommand(kind, '/nonexistent/link')], { encoding: 'utf8' })
    expect(ended.status).not.toBe(0)
    expect(ended.stderr).toContain('the agent does not listen any more')
  })
})

describe('joinCommand', () => {
  it.each(['/tmp/it is/link', "/tmp/'/link", 'link', '/tmp/$HOME'])('refuses the path %j', (path) => {
    expect(() => joinCommand('pl', path)).toThrow('odd name')
  })
})
