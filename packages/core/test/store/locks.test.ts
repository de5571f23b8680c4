import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { DirectoryLock } from '../../src/store/directory-lock.js'
import { Lease, readLease } from '../../src/store/lease.js'
import { LockWait } from '../../src/store/lock-wait.js'
import { livenessOf, type ProcessIdentity, thisProcess } from '../../src/util/process-identity.js'
import { scratch, until } from './scratch.js'

/** The identity of a process that has just ended. */
async function deadProcess(): Promise<ProcessIdentity> {
  const child = spawn(process.execPath, ['-e', '0'], { stdio: 'ignore' })
  await once(child, 'exit')
  return { ...thisProcess(), pid: child.pid!, start: '1' }
}

/** A lock as its holder left it. */
function plant(path: string, holder: ProcessIdentity, ageMs = 0): void {
  const nonce = `${holder.pid}abc`
  const own = `${path}.own.${nonce}`
  fs.writeFileSync(own, `${JSON.stringify({ ...holder, nonce })}\n`)
  fs.linkSync(own, path)
  const then = new Date(Date.now() - ageMs)
  fs.utimesSync(own, then, then)
}

const elsewhere = (): ProcessIdentity => ({ ...thisProcess(), host: 'far-away', boot: 'another-boot' })
const journalOf = (directory: string): string => {
  fs.mkdirSync(join(directory, 'journal'), { recursive: true })
  return join(directory, 'journal')
}

describe('livenessOf', () => {
  it('reads alive for this process, dead for one that ended or whose number was given away, elsewhere for other machines', async () => {
    expect(livenessOf(thisProcess())).toBe('alive')
    expect(livenessOf(await deadProcess())).toBe('dead')
    expect(livenessOf({ ...thisProcess(), start: '1' })).toBe('dead')
    expect(livenessOf(elsewhere())).toBe('elsewhere')
    expect(livenessOf({ ...thisProcess(), space: 'pid:[1]' })).toBe('elsewhere')
  })
})

describe.each(['link', 'mkdir'] as const)('DirectoryLock by %s', (method) => {
  it('is had by one at a time and leaves nothing behind', () => {
    const directory = scratch()
    const path = join(directory, 'lock')
    const one = new DirectoryLock(path, { method })
    const two = new DirectoryLock(path, { method })
    expect(one.tryAcquire()).toBe(true)
    expect(one.isHeld()).toBe(true)
    expect(two.tryAcquire()).toBe(false)
    two.breakIfStale()
    expect(two.tryAcquire()).toBe(false)
    expect(two.holder()?.pid).toBe(process.pid)
    one.release()
    expect(two.tryAcquire()).toBe(true)
    expect(one.isHeld()).toBe(false)
    one.release()
    expect(two.isHeld()).toBe(true)
    one.dispose()
    two.dispose()
    expect(fs.readdirSync(directory)).toEqual([])
  })

  it('does not take the lock of a holder that it cannot judge before its lease is over', () => {
    const path = join(scratch(), 'lock')
    const lock = new DirectoryLock(path, { method, leaseMs: 60_000 })
    if (method === 'link') plant(path, elsewhere(), 30_000)
    else {
      fs.mkdirSync(path)
      fs.writeFileSync(join(path, 'holder'), JSON.stringify({ ...elsewhere(), nonce: 'x' }))
    }
    expect(lock.tryAcquire()).toBe(false)
    lock.breakIfStale()
    expect(lock.tryAcquire()).toBe(false)
    lock.dispose()
  })
})

describe('DirectoryLock', () => {
  it('takes the lock of a dead process of this host at once', async () => {
    const directory = scratch()
    const path = join(directory, 'lock')
    plant(path, await deadProcess())
    const lock = new DirectoryLock(path)
    expect(lock.tryAcquire()).toBe(false)
    lock.breakIfStale()
    expect(lock.tryAcquire()).toBe(true)
    lock.dispose()
    expect(fs.readdirSync(directory)).toEqual([])
  })

  it('takes it also when the process that was breaking it died half way', async () => {
    const directory = scratch()
    const path = join(directory, 'lock')
    const dead = await deadProcess()
    plant(path, dead)
    const breaker = await deadProcess()
    fs.writeFileSync(`${path}.break.${dead.pid}abc`, JSON.stringify({ ...breaker, nonce: 'breaker1' }))
    const lock = new DirectoryLock(path)
    lock.tryAcquire()
    lock.breakIfStale()
    expect(lock.tryAcquire()).toBe(true)
    lock.dispose()
    expect(fs.readdirSync(directory)).toEqual([])
  })

  it('leaves the breaking to a living process that has begun it', async () => {
    const path = join(scratch(), 'lock')
    const dead = await deadProcess()
    plant(path, dead)
    fs.writeFileSync(`${path}.break.${dead.pid}abc`, JSON.stringify({ ...thisProcess(), nonce: 'other' }))
    const lock = new DirectoryLock(path)
    lock.tryAcquire()
    lock.breakIfStale()
    expect(lock.tryAcquire()).toBe(false)
    lock.dispose()
  })

  it('takes the lock of another host when it was silent for longer than the lease', async () => {
    const path = join(scratch(), 'lock')
    plant(path, elsewhere(), 60_000)
    const lock = new DirectoryLock(path, { leaseMs: 50 })
    await until(() => {
      lock.breakIfStale()
      return lock.tryAcquire()
    }, 'the lease of the other host is over')
    lock.dispose()
  })

  it('says so when another took it', () => {
    const path = join(scratch(), 'lock')
    const lock = new DirectoryLock(path)
    lock.tryAcquire()
    fs.unlinkSync(path)
    const other = new DirectoryLock(path)
    expect(other.tryAcquire()).toBe(true)
    expect(lock.isHeld()).toBe(false)
    lock.release()
    expect(other.isHeld()).toBe(true)
    other.dispose()
    lock.dispose()
  })

  it('survives that somebody removed its own file', () => {
    const directory = scratch()
    const lock = new DirectoryLock(join(directory, 'lock'))
    lock.tryAcquire()
    lock.release()
    for (const name of fs.readdirSync(directory)) fs.rmSync(join(directory, name))
    expect(lock.tryAcquire() || lock.tryAcquire()).toBe(true)
    lock.dispose()
  })

  it('names the holder when waiting takes too long', async () => {
    const path = join(scratch(), 'lock')
    const holder = new DirectoryLock(path)
    holder.tryAcquire()
    const lock = new DirectoryLock(path)
    const wait = new LockWait(lock, 20, path)
    const waitFor = async (): Promise<void> => {
      while (!lock.tryAcquire()) await wait.pause()
    }
    await expect(waitFor()).rejects.toEqual(
      expect.objectContaining({ code: 'E_LOCK_TIMEOUT', message: expect.stringContaining(`process ${process.pid} on `) }),
    )
    holder.dispose()
    lock.dispose()
  })
})

describe('Lease', () => {
  it('gives each holder a larger token, also after a release', async () => {
    const directory = scratch()
    const first = await Lease.acquire(directory)
    expect(readLease(directory)).toMatchObject({ pid: process.pid, isAlive: true })
    await first[Symbol.asyncDispose]()
    expect(readLease(directory)).toBeUndefined()
    const second = await Lease.acquire(directory)
    expect(second.token).toBeGreaterThan(first.token)
    await second[Symbol.asyncDispose]()
  })

  it('is held by a process of another host or boot until that one has long said nothing', async () => {
    const directory = scratch()
    await using lease = await Lease.acquire(directory, { leaseMs: 60_000 })
    expect(lease.token).toBe(1)
    const path = join(directory, 'journal', 'controller.lease')
    const record = JSON.parse(fs.readFileSync(path, 'utf8')) as object
    fs.writeFileSync(path, JSON.stringify({ ...record, holder: elsewhere() }))
    expect(readLease(directory)).toMatchObject({ host: 'far-away', isAlive: true })
    const before = new Date(Date.now() - 200_000)
    fs.utimesSync(path, before, before)
    expect(readLease(directory)).toMatchObject({ host: 'far-away', isAlive: false })
  })

  it('refuses a second controller and says who has the run, since when', async () => {
    const directory = scratch()
    const lease = await Lease.acquire(directory, { now: () => Date.UTC(2026, 0, 2, 3, 4, 5) })
    await expect(Lease.acquire(directory)).rejects.toEqual(
      expect.objectContaining({
        code: 'E_RUN_HELD',
        message: expect.stringMatching(`process ${process.pid} on .* since 2026-01-02T03:04:05`),
      }),
    )
    lease.check()
    expect(lease.lost.aborted).toBe(false)
    await lease[Symbol.asyncDispose]()
  })

  it('is free at once when its holder was killed', async () => {
    const directory = scratch()
    const child = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `import { Lease } from ${JSON.stringify(new URL('../../dist/store/lease.js', import.meta.url).href)}
        await Lease.acquire(${JSON.stringify(directory)}); console.log('held'); setInterval(() => {}, 1000)`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    onTestFinished(() => void child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    await expect(Lease.acquire(directory)).rejects.toEqual(expect.objectContaining({ data: expect.objectContaining({ pid: child.pid }) }))
    child.kill('SIGKILL')
    await once(child, 'exit')
    const lease = await Lease.acquire(directory)
    expect(lease.token).toBe(2)
    await lease[Symbol.asyncDispose]()
  })

  it.each([
    [10_000, false],
    [120_000, true],
  ])('of another host that was silent for %i ms can be taken: %s', async (ageMs, isFree) => {
    const directory = scratch()
    const path = join(journalOf(directory), 'controller.lease')
    fs.writeFileSync(path, JSON.stringify({ token: 7, nonce: 'x', since: 0, leaseMs: 60_000, holder: elsewhere() }))
    const then = new Date(Date.now() - ageMs)
    fs.utimesSync(path, then, then)
    const taken = Lease.acquire(directory)
    if (!isFree) {
      await expect(taken).rejects.toEqual(expect.objectContaining({ code: 'E_RUN_HELD' }))
      return
    }
    const lease = await taken
    expect(lease.token).toBe(8)
    await lease[Symbol.asyncDispose]()
  })

  it.each(['taken', 'removed'] as const)('tells its holder that it was %s', async (how) => {
    const directory = scratch()
    const path = join(journalOf(directory), 'controller.lease')
    const lease = await Lease.acquire(directory, { leaseMs: 60 })
    if (how === 'removed') fs.rmSync(path)
    else {
      fs.writeFileSync(`${path}.new`, JSON.stringify({ token: 9, nonce: 'y', since: 0, leaseMs: 60, holder: elsewhere() }))
      fs.renameSync(`${path}.new`, path)
    }
    expect(() => lease.check()).toThrow(expect.objectContaining({ code: 'E_RUN_HELD' }))
    await until(() => lease.lost.aborted, 'the lease is known to be lost')
    await lease[Symbol.asyncDispose]()
    if (how === 'taken') expect(JSON.parse(fs.readFileSync(path, 'utf8'))).toMatchObject({ token: 9 })
  })

  it('is renewed while the event loop is blocked', async () => {
    const directory = scratch()
    const lease = await Lease.acquire(directory, { leaseMs: 60 })
    const path = join(directory, 'journal', 'controller.lease')
    const before = fs.statSync(path).mtimeMs
    const sleeper = new Int32Array(new SharedArrayBuffer(4))
    let after = before
    // the thread may take a while to start on a busy machine
    for (let i = 0; i < 300 && after === before; i++) {
      Atomics.wait(sleeper, 0, 0, 100)
      after = fs.statSync(path).mtimeMs
    }
    expect(after).toBeGreaterThan(before)
    await lease[Symbol.asyncDispose]()
  })

  it.each(['', '{"token":3,"non', 'nonsense', '{}'])(
    'that a power cut left as %j names no holder, and is free after the lease time',
    async (text) => {
      const directory = scratch()
      const path = join(journalOf(directory), 'controller.lease')
      fs.writeFileSync(path, text)
      expect(readLease(directory)).toBeUndefined()
      await expect(Lease.acquire(directory)).rejects.toEqual(
        expect.objectContaining({ code: 'E_RUN_HELD', suggestions: [expect.stringContaining('60 s')] }),
      )
      const then = new Date(Date.now() - 120_000)
      fs.utimesSync(path, then, then)
      const lease = await Lease.acquire(directory)
      // larger than what any holder before the power cut can have had
      expect(lease.token).toBeGreaterThan(1_000_000)
      expect(readLease(directory)).toMatchObject({ pid: process.pid, isAlive: true })
      await lease[Symbol.asyncDispose]()
    },
  )

  it('is lost for its holder when the file is emptied under it', async () => {
    const directory = scratch()
    await using lease = await Lease.acquire(directory)
    fs.writeFileSync(join(directory, 'journal', 'controller.lease'), '')
    expect(() => lease.check()).toThrow(expect.objectContaining({ code: 'E_RUN_HELD' }))
  })
})
