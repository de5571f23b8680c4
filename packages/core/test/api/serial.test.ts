import { spawnSync } from 'node:child_process'
import { afterEach, describe, expect, it } from 'vitest'
import { Process, Serial } from '../../src/index.js'

/** A line whose other end we hold: `script` makes the pseudo terminal; nothing reads or changes what goes through it. */
async function openLine(): Promise<{ device: string; other: Process }> {
  const other = new Process(['script', '-q', '-f', '-E', 'never', '-c', 'echo "line:$(tty):"; exec sleep 1000', '/dev/null'], {
    stdin: 'pipe',
  }).start()
  const { match } = await other.expect(/line:(.*):/, { timeout: '20s' })
  return { device: match?.[1] ?? '', other }
}

const hasScript = spawnSync('script', ['-q', '-e', '-f', '-E', 'never', '-c', 'true', '/dev/null'], { stdio: 'ignore' }).status === 0
const open: Process[] = []
afterEach(async () => {
  for (const process of open.splice(0).reverse()) await process[Symbol.asyncDispose]()
})

describe(`Serial${hasScript ? '' : ' (needs script of util-linux 2.36 or later)'}`, () => {
  it.skipIf(!hasScript)('automates a login at a console: nothing is echoed, nothing is changed', async () => {
    const { device, other } = await openLine()
    open.push(other)
    const console = new Serial(device, { speed: 115_200 }).start()
    open.push(console)
    await console.write('\r')
    await other.expect('\r', { timeout: '20s' })
    await other.write('host login: ')
    await console.expect('login: ', { timeout: '20s' })
    await console.write('root\r')
    await other.expect('root\r', { timeout: '20s' })
    await other.write('a\r\nb\tc \x01\x11\x13 # ')
    const { match } = await console.expect(/a.*# /s, { timeout: '20s' })
    expect(match?.[0]).toBe('a\r\nb\tc \x01\x11\x13 # ')
    expect(console.stdout).toBe('host login: a\r\nb\tc \x01\x11\x13 # ')
    const settings = await new Process(['stty', '-a', '-F', device]).run()
    expect(settings.stdout).toMatch(/speed 115200 baud/)
    expect(settings.stdout).toMatch(/-parenb .*cs8 .*-cstopb.* clocal/s)
    expect(settings.stdout).toMatch(/ -icanon .* -echo /s)
    await console.kill().wait({ timeout: '20s' })
    expect(console).toMatchObject({ ended: true, ok: true })
    expect(console.result?.survivors).toEqual([])
  })

  it.skipIf(!hasScript)('ends when the device goes away', async () => {
    const { device, other } = await openLine()
    open.push(other)
    const console = new Serial(device, { speed: 9_600, settings: ['-hupcl'], nolog: ['exit-code'] }).start()
    open.push(console)
    await console.write('x')
    await other.expect('x', { timeout: '20s' })
    await other.kill().wait()
    await console.wait({ timeout: '20s' })
    expect(console.ended).toBe(true)
  })

  it.each([
    ['/dev/null', 9_600],
    ['/dev/no-such-line', 9_600],
    ['/etc/passwd', 9_600],
    ['/dev/$(touch x) y', 9_600],
  ])('cannot be %s, and says so', async (device, speed) => {
    const line = await new Serial(device, { speed, nolog: ['exit-code'] }).run()
    expect(line).toMatchObject({ ok: false, error: false })
    expect(line.exitCode).toBeGreaterThan(0)
    expect(line.stderr).toContain(device)
  })

  it.each([
    ['ttyS0', 9_600],
    ['', 9_600],
    ['-F', 9_600],
    ['/dev/ttyS0', 0],
    ['/dev/ttyS0', 9.6],
  ])('refuses %j at %j bits per second', (device, speed) => {
    expect(() => new Serial(device, { speed })).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })

  it('knows its host', () => {
    expect(new Serial('/dev/ttyS0', { speed: 9_600, host: 'alice@node1' })).toMatchObject({
      host: { address: 'node1', user: 'alice' },
      device: '/dev/ttyS0',
      name: 'serial /dev/ttyS0',
    })
  })
})
