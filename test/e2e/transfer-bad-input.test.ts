import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { BIN, cleanEnvironment, type Ended, start } from '../../packages/cli/test/cahier.js'
import { disksUnavailable, mountDisk } from '../testbed/disks.mjs'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../testbed/ssh-hosts.mjs'

interface Result {
  readonly host: string
  readonly outcome: string
  readonly bytes: number
  readonly error?: { readonly code: string; readonly message: string }
}

const VIAS = ['scp', 'chain'] as const
const UP = ['h1', 'h2', 'h3'] as const
const DOWN = 'h4'
const MORE_THAN_DISK = 4_000_000

const reason = sshHostsUnavailable()

/** Root may read everything: for it somebody else tries, who must be able to start the program. Undefined when nobody can. */
const stranger = ((): { uid?: number; gid?: number } | undefined => {
  if (process.getuid?.() !== 0) return {}
  const other = { uid: 65_534, gid: 65_534 }
  return spawnSync(process.execPath, [BIN, '--version'], { cwd: '/', env: cleanEnvironment('/nonexistent'), ...other }).status === 0
    ? other
    : undefined
})()

describe.skipIf(reason !== undefined)(`copies that meet something bad${reason === undefined ? '' : ` (${reason})`}`, () => {
  let bed: SshHosts & AsyncDisposable
  let root = ''
  let folder = ''
  beforeAll(async () => {
    bed = await startSshHosts(4)
    bed.stopHost(DOWN)
    root = realpathSync(mkdtempSync(join(tmpdir(), 'cahier-bad-copies-')))
  })
  afterAll(async () => {
    await bed?.stop()
    rmSync(root, { recursive: true, force: true })
  })
  beforeEach(() => {
    folder = mkdtempSync(join(root, 'case-'))
  })

  const cahier = (verb: string, ...args: readonly string[]) => start([verb, '-F', bed.sshConfig, '--json', ...args], { cwd: folder })
  const homeOf = (host: string): string => join(bed.directory, host, 'home')
  const source = (name: string, content: string | Uint8Array): void => writeFileSync(join(folder, name), content)
  /** A new directory in the home of every host that is up. @returns its name */
  const makeTargets = (): string => {
    const name = `target-${randomBytes(4).toString('hex')}`
    for (const host of UP) mkdirSync(join(homeOf(host), name))
    return name
  }
  const there = (host: string, target: string): string[] =>
    readdirSync(join(homeOf(host), target)).filter((name) => !name.startsWith('.cahier-'))
  const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
  const digestThere = (host: string, target: string, name: string): string | undefined =>
    there(host, target).includes(name) ? digest(readFileSync(join(homeOf(host), target, name))) : undefined

  /** Each host has the file as it was sent, or is listed as failed and has none. */
  const isRightOrListed = (results: readonly Result[], target: string, name: string, bytes: Uint8Array): void => {
    for (const { host, outcome, error } of results) {
      if (outcome === 'done' || outcome === 'skipped-same') expect([host, digestThere(host, target, name)]).toEqual([host, digest(bytes)])
      else {
        expect(error?.message.length).toBeGreaterThan(5)
        if (host !== DOWN) expect([host, there(host, target)]).toEqual([host, []])
      }
    }
  }

  it.each(['put', 'broadcast'])('%s: a source that is missing is named, and no host is asked (needs sshd)', async (verb) => {
    source('a', 'a')
    const before = bed.logins()
    const ended = await cahier(verb, 'a', 'no such file', '-w', 'h[1-3]', '--to', 'made', '--create').ended
    expect(ended.code).toBe(2)
    expect(ended.stderr + ended.stdout).toContain('no such file')
    expect(ended.stderr + ended.stdout).toContain('E_SOURCE_MISSING')
    expect(bed.logins()).toBe(before)
    for (const host of UP) expect(existsSync(join(homeOf(host), 'made'))).toBe(false)
  })

  it.skipIf(stranger === undefined)('a source that may not be read is named (needs a checkout that others may read)', async () => {
    chmodSync(root, 0o755)
    chmodSync(folder, 0o755)
    source('secret', 'secret')
    chmodSync(join(folder, 'secret'), 0)
    const env = cleanEnvironment('/nonexistent')
    const ended = spawnSync(process.execPath, [BIN, 'put', 'secret', '-w', 'h1', '--to', '.'], {
      cwd: folder,
      env,
      encoding: 'utf8',
      ...stranger,
    })
    expect([ended.status, ended.stderr]).toEqual([2, expect.stringContaining('E_SOURCE_UNREADABLE')])
    expect(ended.stderr).toContain('secret')
  })

  it('no hosts are an error of the command line (needs sshd)', async () => {
    source('a', 'a')
    const ended = await cahier('put', 'a', '-w', 'h1', '-x', 'h1', '--to', '.').ended
    expect(ended.code).toBe(2)
    expect(ended.stderr + ended.stdout).toMatch(/no host/i)
  })

  it('a host that is named twice is served once (needs sshd)', async () => {
    source('a', randomBytes(1000))
    const target = makeTargets()
    const ended = await cahier('put', 'a', '-w', 'h1,h2,h1', '--to', target).ended
    expect(ended.code).toBe(0)
    expect(resultsOf(ended).map(({ host, outcome, bytes }) => [host, outcome, bytes])).toEqual(
      ['h1', 'h2'].map((host) => [host, 'done', 1000]),
    )
    expect(there('h1', target)).toEqual(['a'])
  })

  describe.each(VIAS)('via %s', (via) => {
    const noDisks = disksUnavailable()
    it.skipIf(noDisks !== undefined)(
      `every host has its own reason: full, read-only, a directory in the way, down (${noDisks === undefined ? 'needs sshd, root' : noDisks})`,
      async () => {
        await using full = await mountDisk({ size: '2m' })
        await using locked = await mountDisk({ readOnly: true })
        const target = `link-${via}`
        symlinkSync(full.there, join(homeOf('h1'), target))
        symlinkSync(locked.there, join(homeOf('h2'), target))
        mkdirSync(join(homeOf('h3'), target, 'data', 'theirs'), { recursive: true })
        source('data', randomBytes(MORE_THAN_DISK))
        const ended = await cahier('put', 'data', '-w', 'h[1-4]', '--to', target, '--via', via).ended
        expect(resultsOf(ended).map(({ host, outcome, error }) => [host, outcome, error?.code])).toEqual([
          ['h1', 'failed', 'E_TARGET_FULL'],
          ['h2', 'failed', 'E_TARGET_DENIED'],
          ['h3', 'failed', 'E_TARGET_KIND'],
          ['h4', 'unreachable', expect.stringMatching(/^E_/)],
        ])
        expect(ended.code).toBe(255)
        expect(there('h1', target)).toEqual([])
        expect(there('h2', target)).toEqual(['theirs'])
        expect(readdirSync(join(homeOf('h3'), target, 'data'))).toEqual(['theirs'])
      },
    )

    it('names of all kinds arrive and come back (needs sshd)', async () => {
      const names = [' a  b ', '-dash', 'a\nb', "it's", '$HOME;*', '--'].map((name) => Buffer.from(name))
      const bytes = Buffer.from([0xff, 0xfe, 0x20, 0x80])
      mkdirSync(join(folder, '-d'))
      for (const name of [...names, bytes]) writeFileSync(Buffer.concat([Buffer.from(`${join(folder, '-d')}/`), name]), name)
      source('empty', '')
      source('a\nb', 'direct')
      const target = makeTargets()
      const put = await cahier('put', '-w', 'h[1-3]', '--to', target, '--via', via, '--', '-d', 'empty', 'a\nb').ended
      expect([put.code, resultsOf(put).map(({ outcome }) => outcome)]).toEqual([0, ['done', 'done', 'done']])
      const back = await cahier('get', `${target}/-d`, `${target}/empty`, '-w', 'h[1-3]', '--to', 'back/{{host}}', '--create').ended
      expect([back.code, back.stderr]).toEqual([0, expect.anything()])
      const wanted = [...names, bytes].map((name) => name.toString('latin1')).sort()
      for (const host of UP) {
        const found = readdirSync(join(folder, 'back', host, '-d'), { encoding: 'latin1' }).sort()
        expect([host, found]).toEqual([host, wanted])
        expect(readFileSync(join(folder, 'back', host, 'empty'), 'utf8')).toBe('')
        expect(readFileSync(join(homeOf(host), target, 'a\nb'), 'utf8')).toBe('direct')
      }
    })

    it('a file that is written to meanwhile is told, and lies nowhere (needs sshd)', async () => {
      source('data', Buffer.alloc(4_000_000))
      const target = makeTargets()
      const running = cahier('put', 'data', '-w', 'h[1-2]', '--to', target, '--via', via, '--limit', '1.5MB/s')
      let isOver = false
      void running.ended.finally(() => {
        isOver = true
      })
      const writer = openSync(join(folder, 'data'), 'r+')
      for (let count = 0; !isOver; count++) {
        writeSync(writer, `state ${count}`, 0)
        writeSync(writer, `state ${count}`, 1_400_000)
        await pause(40)
      }
      closeSync(writer)
      const ended = await running.ended
      expect(ended.code).toBe(1)
      for (const { host, outcome, error } of resultsOf(ended)) {
        expect([host, outcome, error?.code]).toEqual([host, 'failed', 'E_SOURCE_CHANGED'])
        expect(there(host, target)).toEqual([])
      }
    })

    it('Ctrl-C leaves nothing half, and the next time goes on (needs sshd)', async () => {
      // Six seconds and more, of which the first tenth is waited for.
      const bytes = randomBytes(9_000_000)
      source('data', bytes)
      const target = makeTargets()
      const args = ['put', 'data', '-w', 'h[1-2]', '--to', target, '--via', via] as const
      const running = cahier(...args, '--limit', '1.5MB/s')
      await arrivesThere(() => UP.slice(0, 2).some((host) => sizeOfParts(join(homeOf(host), target)) > 100_000))
      running.child.kill('SIGINT')
      const ended = await running.ended
      expect(ended.code).toBe(130)
      for (const { host, error } of resultsOf(ended)) expect([host, error?.code, there(host, target)]).toEqual([host, 'E_ABORTED', []])
      const again = await cahier(...args).ended
      expect(again.code).toBe(0)
      for (const host of UP.slice(0, 2)) expect(digestThere(host, target, 'data')).toBe(digest(bytes))
      for (const host of UP.slice(0, 2)) expect(readdirSync(join(homeOf(host), target))).toEqual(['data'])
    })
  })

  describe('a chain', () => {
    const began = (target: string, host: string) => arrivesThere(() => sizeOfParts(join(homeOf(host), target)) > 50_000)

    it.each([
      ['the last host dies before it has confirmed', ['h3']],
      ['two neighbours die', ['h1', 'h2']],
      ['all hosts die', ['h1', 'h2', 'h3']],
    ])('when %s, every other one has the file and they are listed (needs sshd)', async (_what, victims) => {
      const bytes = randomBytes(6_000_000)
      source('data', bytes)
      const target = makeTargets()
      const running = cahier('broadcast', 'data', '-w', 'h[1-3]', '--to', target, '--via', 'chain', '--limit', '1.5MB/s')
      for (const host of victims) await began(target, host)
      for (const host of victims) bed.killProcesses(host)
      const ended = await running.ended
      const results = resultsOf(ended)
      expect(results.map(({ host }) => host)).toEqual([...UP])
      isRightOrListed(results, target, 'data', bytes)
      for (const { host, outcome } of results) expect([host, outcome === 'done']).toEqual([host, !victims.includes(host)])
      expect([1, 255]).toContain(ended.code)
    })

    it('an uninvited client on a port of a host changes nothing (needs sshd)', async () => {
      const bytes = randomBytes(8_000_000)
      source('data', bytes)
      const target = makeTargets()
      const running = cahier('broadcast', 'data', '-w', 'h[1-3]', '--to', target, '--via', 'chain', '--limit', '2MB/s')
      const ports = () => listening(bed.hosts.map(({ address }) => address)).filter(({ port }) => port !== bed.hosts[0]?.port)
      await arrivesThere(() => ports().length > 0)
      const doors = ports()
      for (const { address, port } of doors) {
        for (const words of ['GET / HTTP/1.1\r\n\r\n', randomBytes(200), Buffer.alloc(0)]) {
          const client = connect(port, address)
          client.on('error', () => undefined)
          client.on('connect', () => client.write(words))
        }
      }
      const ended = await running.ended
      expect([ended.code, resultsOf(ended).map(({ outcome }) => outcome)]).toEqual([0, ['done', 'done', 'done']])
      isRightOrListed(resultsOf(ended), target, 'data', bytes)
      expect(doors.every(({ address }) => bed.hosts.some((host) => host.address === address))).toBe(true)
    })
  })
})

/** In the order of the hosts: they are told as they come. */
function resultsOf({ stdout, stderr }: Ended): Result[] {
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  const results = lines.map((line) => JSON.parse(line) as Result).filter(({ outcome }) => typeof outcome === 'string')
  if (results.length === 0) throw new Error(`no results: ${stdout}${stderr}`)
  return results.sort((a, b) => (a.host < b.host ? -1 : 1))
}

/** Bytes in folders of parts. */
function sizeOfParts(directory: string): number {
  let sum = 0
  for (const name of readdirSync(directory)) {
    if (!name.startsWith('.cahier-')) continue
    for (const part of safely(() => readdirSync(join(directory, name)), [])) {
      sum += safely(() => readFileSync(join(directory, name, part)).length, 0)
    }
  }
  return sum
}

function safely<T>(act: () => T, otherwise: T): T {
  try {
    return act()
  } catch {
    return otherwise
  }
}

async function arrivesThere(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 30_000; !holds(); await pause(10)) {
    if (performance.now() > end) throw new Error('nothing arrives')
  }
}

/** TCP ports on which somebody listens at these addresses of this machine. */
function listening(addresses: readonly string[]): { address: string; port: number }[] {
  const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1, -1)
  const found = lines.flatMap((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/)
    const [hex = '', port = ''] = local.split(':')
    const address = Buffer.from(hex, 'hex').reverse().join('.')
    return state === '0A' && addresses.includes(address) ? [{ address, port: Number.parseInt(port, 16) }] : []
  })
  return found
}
