import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { systemCodeOf } from '../errors.js'
import { livenessOf, type ProcessIdentity, parseIdentity, thisProcess } from '../util/process-identity.js'

export interface LockHolder extends ProcessIdentity {
  /** Of one lock object of that process. */
  readonly nonce: string
}

export interface DirectoryLockOptions {
  /** A holder that cannot be judged from here (another host) loses the lock after this long. Default 30 s. */
  readonly leaseMs?: number
  /** Others may write from other hosts: the file's time must reach the server. Default true. */
  readonly shared?: boolean
  /** For file systems without hard links; found out by trying. */
  readonly method?: 'link' | 'mkdir'
}

/** What link(2) answers where it does not exist. */
const NO_LINKS = new Set(['EPERM', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK', 'EINVAL'])
/** A lock of another host must have been seen unchanged for this long before its age counts: attributes are cached. */
const WATCH_MS = 2000

/**
 * A lock in a directory that several processes on several hosts see: a file of ours gets the lock's name as a second hard
 * link. Everything here is synchronous: the lock is had and given back within one turn of the event loop.
 *
 * A dead holder on this host is recognised at once. Breaking its lock needs the right to it, a link whose name holds the
 * dead holder's nonce: it is made once, so one process breaks, however many find the holder dead at the same moment; if
 * that one dies too, the right to *its* nonce is needed, and so on.
 */
export class DirectoryLock {
  readonly path: string
  readonly #leaseMs: number
  readonly #shared: boolean
  readonly #identity = thisProcess()
  #method: 'link' | 'mkdir'
  #own: OwnFile | undefined
  #watched: { nonce: string; mtimeMs: number; since: number } | undefined

  constructor(path: string, options: DirectoryLockOptions = {}) {
    this.path = path
    this.#leaseMs = options.leaseMs ?? 30_000
    this.#shared = options.shared ?? true
    this.#method = options.method ?? 'link'
  }

  /** True when it is ours now. Throws the system's error when the directory cannot be written. */
  tryAcquire(): boolean {
    // asking first is much cheaper than a link that fails; on shared file systems the answer may be old, so there we always try
    if (!this.#shared && this.#own !== undefined && fs.statSync(this.path, { throwIfNoEntry: false }) !== undefined && !this.isHeld())
      return false
    this.#own ??= this.#makeOwn()
    this.#own.touch(this.#shared)
    return this.#method === 'link' ? this.#tryLink(this.#own) : this.#tryMkdir(this.#own)
  }

  /** False when another host took it because ours looked abandoned. */
  isHeld(): boolean {
    if (this.#own === undefined) return false
    return this.#method === 'link' ? this.#own.links() === 2 : readHolder(join(this.path, 'holder'))?.nonce === this.#own.nonce
  }

  release(): void {
    if (!this.isHeld()) return
    if (this.#method === 'mkdir') fs.unlinkSync(join(this.path, 'holder'))
    if (this.#method === 'mkdir') fs.rmdirSync(this.path)
    else fs.unlinkSync(this.path)
  }

  /** Who has it, as far as can be read. */
  holder(): LockHolder | undefined {
    return readHolder(this.#method === 'link' ? this.path : join(this.path, 'holder'))
  }

  /** Takes the lock from a holder that is dead or whose lease is over. Cheap enough to be called at every few failed tries. */
  breakIfStale(): void {
    const holder = this.holder()
    const nonce = holder?.nonce ?? ''
    if (holder === undefined && !fs.existsSync(this.path)) return
    const liveness = holder === undefined ? 'elsewhere' : livenessOf(holder)
    if (liveness === 'alive' || (liveness === 'elsewhere' && !this.#isLeaseOver(nonce))) return
    this.#break(nonce)
  }

  /** Removes our file. The lock object can be used again afterwards. */
  dispose(): void {
    this.release()
    this.#own?.remove()
    this.#own = undefined
  }

  #makeOwn(): OwnFile {
    removeDeadFiles(this.path)
    return new OwnFile(this.path, this.#identity)
  }

  #tryLink(own: OwnFile): boolean {
    try {
      fs.linkSync(own.path, this.path)
      return true
    } catch (error) {
      // NFS repeats a call whose answer was lost: the error may belong to the second one
      if (own.links() === 2) return true
      const code = systemCodeOf(error) ?? ''
      if (code === 'EEXIST') return false
      if (code === 'ENOENT') {
        // somebody removed our file, or the directory
        own.close()
        this.#own = undefined
        if (!fs.existsSync(dirname(this.path))) throw error
        return false
      }
      if (!NO_LINKS.has(code)) throw error
      this.#method = 'mkdir'
      return this.#tryMkdir(own)
    }
  }

  #tryMkdir(own: OwnFile): boolean {
    try {
      fs.mkdirSync(this.path)
    } catch (error) {
      if (systemCodeOf(error) === 'EEXIST') return false
      throw error
    }
    try {
      fs.writeFileSync(join(this.path, 'holder'), own.content)
    } catch (error) {
      fs.rmSync(this.path, { recursive: true, force: true })
      throw error
    }
    return true
  }

  /** Age by the file server's clock: the time of the lock against the time of our file, written just now. */
  #isLeaseOver(nonce: string): boolean {
    const mtimeMs = fs.statSync(this.path, { throwIfNoEntry: false })?.mtimeMs
    if (mtimeMs === undefined || this.#own === undefined) return false
    if (this.#watched?.nonce !== nonce || this.#watched.mtimeMs !== mtimeMs) {
      this.#watched = { nonce, mtimeMs, since: performance.now() }
    }
    const watchedMs = performance.now() - this.#watched.since
    return watchedMs >= Math.min(WATCH_MS, this.#leaseMs) && this.#own.touch(true) - mtimeMs > this.#leaseMs
  }

  #break(nonce: string): void {
    if (this.#method === 'mkdir') {
      this.#breakDirectory(nonce)
      return
    }
    const breaker = new OwnFile(`${this.path}.by`, this.#identity)
    const rights: string[] = []
    try {
      if (!this.#takeRight(nonce, breaker, rights)) return
      const still = readHolder(this.path)
      if ((still?.nonce ?? '') === nonce) {
        fs.rmSync(this.path, { force: true })
        if (still !== undefined) fs.rmSync(ownPath(this.path, nonce), { force: true })
      }
      for (const right of rights) fs.rmSync(right, { force: true })
    } finally {
      breaker.remove()
    }
  }

  #takeRight(nonce: string, breaker: OwnFile, rights: string[]): boolean {
    const right = `${this.path}.break.${nonce}`
    rights.push(right)
    try {
      fs.linkSync(breaker.path, right)
      return true
    } catch (error) {
      if (systemCodeOf(error) !== 'EEXIST') throw error
    }
    const other = readHolder(right)
    if (other === undefined || other.nonce === breaker.nonce) return other !== undefined
    return livenessOf(other) === 'dead' && this.#takeRight(other.nonce, breaker, rights)
  }

  /** Renaming a directory succeeds for one process only; what turns out to be a living lock is put back. */
  #breakDirectory(nonce: string): void {
    const aside = `${this.path}.dead.${randomBytes(6).toString('hex')}`
    try {
      fs.renameSync(this.path, aside)
    } catch {
      return
    }
    if ((readHolder(join(aside, 'holder'))?.nonce ?? '') === nonce) fs.rmSync(aside, { recursive: true, force: true })
    else fs.renameSync(aside, this.path)
  }
}

/** A file of this process that says who it is; what gets linked. */
class OwnFile {
  readonly nonce = randomBytes(8).toString('hex')
  readonly path: string
  readonly content: string
  readonly #file: number

  constructor(lockPath: string, identity: ProcessIdentity) {
    this.path = ownPath(lockPath, this.nonce)
    this.content = `${JSON.stringify({ ...identity, nonce: this.nonce })}\n`
    this.#file = fs.openSync(this.path, 'wx+')
    try {
      fs.writeSync(this.#file, this.content, 0)
    } catch (error) {
      this.remove()
      throw error
    }
  }

  /** Writes it again, so that its time is now; returns that time. */
  touch(sync: boolean): number {
    fs.writeSync(this.#file, this.content, 0)
    if (!sync) return 0
    fs.fsyncSync(this.#file)
    return fs.fstatSync(this.#file).mtimeMs
  }

  links(): number {
    return fs.fstatSync(this.#file).nlink
  }

  close(): void {
    fs.closeSync(this.#file)
  }

  remove(): void {
    this.close()
    fs.rmSync(this.path, { force: true })
  }
}

function ownPath(lockPath: string, nonce: string): string {
  return `${lockPath}.own.${nonce}`
}

function readHolder(path: string): LockHolder | undefined {
  try {
    const json = JSON.parse(fs.readFileSync(path, 'utf8')) as Record<string, unknown>
    const identity = parseIdentity(json)
    return identity !== undefined && typeof json['nonce'] === 'string' ? { ...identity, nonce: json['nonce'] } : undefined
  } catch {
    return undefined
  }
}

/** Files of processes that were killed stay behind; those of this host can be told from living ones. */
function removeDeadFiles(lockPath: string): void {
  const start = `${basename(lockPath)}.`
  for (const name of fs.readdirSync(dirname(lockPath))) {
    if (!name.startsWith(start) || !name.includes('.own.')) continue
    const path = join(dirname(lockPath), name)
    const holder = readHolder(path)
    // a dead holder's file that is still linked belongs to whoever breaks that lock
    if (holder !== undefined && livenessOf(holder) === 'dead' && (fs.statSync(path, { throwIfNoEntry: false })?.nlink ?? 2) === 1) {
      fs.rmSync(path, { force: true })
    }
  }
}
