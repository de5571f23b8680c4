import { createHash } from 'node:crypto'
import { type FileHandle, lstat, mkdir, open, readdir, readFile, readlink, rename, rm, stat, symlink, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { type CampaignError, ConfigError, messageOf, systemCodeOf, TransferError } from '../../packages/core/src/errors.js'
import { formatHost } from '../../packages/core/src/model/host.js'
import type { CopyPolicy, FileFailure, LeftOut, TransferResult } from '../../packages/core/src/model/transfer.js'
import type {
  FilePath,
  Transfer,
  TransferCall,
  TransferEnd,
  TransferProgress,
  TransferRequest,
} from '../../packages/core/src/ports/transfer.js'

/** One thing to copy; names and paths have one character per byte. */
export interface Item {
  readonly kind: 'file' | 'directory' | 'link'
  readonly name: string
  readonly path: string
  readonly mode: number
  /** Seconds. */
  readonly time: number
  readonly size: number
  readonly inode: number
}

export interface Plan {
  readonly items: readonly Item[]
  readonly leftOut: readonly LeftOut[]
}

/** What a copy to one end knows. */
export interface Job {
  readonly end: TransferEnd
  readonly root: string
  readonly parts: string
  readonly policy: CopyPolicy
  readonly signal: AbortSignal | undefined
  /** Bytes moved; waits for the limit, and throws when the end is to stop. */
  move(bytes: number): Promise<void>
}

const bytes = (path: string): Buffer => Buffer.from(path, 'latin1')
const latin = (path: FilePath): string => Buffer.from(path as string).toString('latin1')
const baseName = (path: string): string => path.replace(/\/+$/, '').split('/').at(-1) ?? ''
const CHUNK = 64 * 1024
/** Nobody answers there. */
export const NOBODY = 'nobody.invalid'

/**
 * The simplest transfer that keeps every promise: hosts are names for this machine, files are copied one after the other. It shows that the
 * conformance suite asks for nothing impossible; its mutants show that the suite notices.
 */
export class PlainTransfer implements Transfer {
  readonly name: string = 'plain'
  readonly supports = { put: true, get: true, resume: true, limit: true }
  /** Home directories by host; that of this machine else. */
  readonly homes: ReadonlyMap<string, string>
  readonly #held = new Set<string>()
  readonly #broken = new Map<string, AbortController>()

  constructor(homes: ReadonlyMap<string, string> = new Map()) {
    this.homes = homes
  }

  /** Ends what is under way at a host. */
  breakHost(address: string): void {
    this.#broken.get(address)?.abort()
  }

  async put(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    const plan = await this.gather(request.files.map(latin), request.policy)
    return this.all(request, call, false, () => Promise.resolve(plan))
  }

  get(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    return this.all(request, call, true, async (end) => {
      const home = this.homeOf(end)
      const found = await Promise.all(request.files.map((file) => this.expand(absolute(latin(file), home), typeof file === 'string')))
      return this.gather(found.flat(), request.policy)
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }

  protected async all(
    request: TransferRequest,
    call: TransferCall,
    isGet: boolean,
    planOf: (end: TransferEnd) => Promise<Plan>,
  ): Promise<readonly TransferResult[]> {
    let free = 0
    const pace = async (count: number): Promise<void> => {
      if (request.policy.limit === undefined) return
      free = Math.max(free, performance.now()) + (count / request.policy.limit) * 1000
      if (free > performance.now()) await pause(free - performance.now())
    }
    return Promise.all(request.ends.map((end, index) => this.one(end, index, request.policy, call, pace, planOf, isGet)))
  }

  protected async one(
    end: TransferEnd,
    index: number,
    policy: CopyPolicy,
    call: TransferCall,
    pace: (bytes: number) => Promise<void>,
    planOf: (end: TransferEnd) => Promise<Plan>,
    isGet: boolean,
  ): Promise<TransferResult> {
    const began = performance.now()
    let moved = 0
    let there = 0
    let total: number | undefined
    const tell = (progress: Pick<TransferProgress, 'phase' | 'result'>): void => {
      try {
        call.onProgress?.({ index, bytes: there, total, ...progress })
      } catch {
        // Whoever listens badly harms only themselves.
      }
    }
    const broken = new AbortController()
    const address = end.host?.address ?? ''
    this.#broken.set(address, broken)
    const result = (fields: Pick<TransferResult, 'outcome'> & Partial<TransferResult>): TransferResult => {
      const all: TransferResult = {
        host: end.host === undefined ? undefined : formatHost(end.host),
        bytes: moved,
        files: 0,
        same: 0,
        seconds: (performance.now() - began) / 1000,
        verified: 'none',
        via: this.name,
        ...fields,
      }
      tell({ phase: 'ended', result: all })
      return all
    }
    tell({ phase: 'connecting' })
    if (address === NOBODY) {
      return result({ outcome: 'unreachable', error: { code: 'E_UNREACHABLE', message: 'nobody is there' } })
    }
    try {
      call.signal?.throwIfAborted()
      const { items, leftOut } = await planOf(end)
      total = items.reduce((sum, { size }) => sum + size, 0)
      const root = absolute(latin(end.directory), isGet ? process.cwd() : this.homeOf(end))
      const job: Job = {
        end,
        root,
        parts: this.partsOf(root, items),
        policy,
        signal: call.signal,
        move: async (count) => {
          await pace(count)
          await pause(0)
          call.signal?.throwIfAborted()
          broken.signal.throwIfAborted()
          moved += count
          there += count
          tell({ phase: 'moving' })
        },
      }
      const copied = await this.copy(job, items, (count) => (there += count))
      const { failures, ...counts } = copied
      const first = failures[0]
      const directory = isGet ? { directory: end.directory } : {}
      const outcome = first !== undefined ? 'failed' : copied.files + copied.made > 0 ? 'done' : 'skipped-same'
      const verified = outcome === 'done' || policy.checksum ? 'sha256' : 'time'
      return result({
        files: counts.files,
        same: counts.same,
        ...directory,
        leftOut,
        outcome,
        verified,
        ...(first === undefined ? {} : { failures, error: { code: first.code, message: first.message } }),
      })
    } catch (error) {
      if (broken.signal.aborted) {
        return result({ outcome: 'unreachable', error: { code: 'E_UNREACHABLE', message: 'the connection was lost' } })
      }
      const { code, message } = isAborted(call.signal)
        ? { code: 'E_ABORTED', message: 'it was given up' }
        : { code: codeOf(error), message: messageOf(error) }
      return result({ outcome: 'failed', error: { code, message } })
    }
  }

  /** The folder of parts: another one for other sources. */
  protected partsOf(root: string, items: readonly Item[]): string {
    return `${root}/.cahier-${createHash('sha256').update(JSON.stringify(items)).digest('hex').slice(0, 8)}`
  }

  /** Everything that belongs to the sources. */
  protected async gather(files: readonly string[], policy: CopyPolicy): Promise<Plan> {
    const items: Item[] = []
    const leftOut: LeftOut[] = []
    if (policy.as !== undefined && files.length > 1) throw new ConfigError('E_ARGUMENT', 'one new name for several sources')
    const names = files.map((file) => (policy.as === undefined ? baseName(file) : latin(policy.as)))
    if (new Set(names).size < names.length) throw new ConfigError('E_ARGUMENT', 'two sources have the same name')
    const visit = async (path: string, name: string, isNamed: boolean): Promise<void> => {
      const found = isNamed || policy.links === 'follow' ? await stat(bytes(path)) : await lstat(bytes(path))
      const item = { name, path, mode: found.mode & 0o7777, time: found.mtimeMs / 1000, inode: found.ino }
      if (found.isFile()) {
        await (await open(bytes(path))).close()
        items.push({ ...item, kind: 'file', size: found.size })
      } else if (found.isDirectory()) {
        items.push({ ...item, kind: 'directory', size: 0 })
        for (const entry of await readdir(bytes(path), { encoding: 'buffer' })) {
          const own = entry.toString('latin1')
          await visit(`${path}/${own}`, `${name}/${own}`, false)
        }
      } else if (found.isSymbolicLink() && policy.links === 'keep') items.push({ ...item, kind: 'link', size: 0 })
      else if (found.isSymbolicLink()) leftOut.push({ file: name, why: 'symbolic link' })
      else if (policy.special === 'refuse' || isNamed) throw new TransferError('E_SOURCE_SPECIAL', `${name} is no file`)
      else leftOut.push({ file: name, why: 'named pipe' })
    }
    for (const [index, file] of files.entries()) {
      try {
        await visit(file.replace(/\/+$/, ''), names[index] as string, true)
      } catch (error) {
        const code = systemCodeOf(error) ?? ''
        if (code === 'ENOENT' || code === 'ENOTDIR') throw new TransferError('E_SOURCE_MISSING', `there is no ${file}`)
        if (code === 'EACCES') throw new TransferError('E_SOURCE_UNREADABLE', `${file} cannot be read`)
        throw error
      }
    }
    return { items, leftOut }
  }

  /** The files that a pattern fits. */
  protected async expand(path: string, isPattern: boolean): Promise<string[]> {
    const isThere = await lstat(bytes(path)).then(
      () => true,
      () => false,
    )
    if (isThere || !isPattern) return [path]
    const folder = path.slice(0, path.lastIndexOf('/'))
    const fits = new RegExp(
      `^${baseName(path)
        .replace(/[.+^${}()|\\]/g, '\\$&')
        .replace(/\*/g, '.*')
        .replace(/\?/g, '.')}$`,
      's',
    )
    const names = await readdir(bytes(folder), { encoding: 'buffer' }).catch(() => [])
    const found = names.map((name) => name.toString('latin1')).filter((name) => fits.test(name))
    return found.length === 0 ? [path] : found.map((name) => `${folder}/${name}`)
  }

  protected homeOf(end: TransferEnd): string {
    return latin(this.homes.get(end.host?.address ?? '') ?? homedir())
  }

  protected async copy(job: Job, items: readonly Item[], isThere: (bytes: number) => void) {
    const failures: FileFailure[] = []
    const counts = { files: 0, same: 0, made: 0 }
    await this.enter(job)
    try {
      for (const item of items) {
        const final = `${job.root}/${item.name}`
        const state = await this.survey(job, item, final)
        if (state === 'same') {
          isThere(item.size)
          if (item.kind === 'file') {
            counts.same += 1
            await this.dress(final, item)
          }
          continue
        }
        try {
          if (state !== 'needed') throw new TransferError('E_TARGET_KIND', state)
          if (item.kind === 'file') {
            isThere(await this.bring(job, item, final))
            counts.files += 1
            continue
          }
          if (item.kind === 'directory') await mkdir(bytes(final), { mode: 0o700 })
          else await symlink(await readlink(bytes(item.path), { encoding: 'buffer' }), bytes(final))
          counts.made += 1
        } catch (error) {
          if (error instanceof DOMException || error instanceof ConfigError) throw error
          failures.push({ file: Buffer.from(item.name, 'latin1').toString(), code: codeOf(error), message: messageOf(error) })
        }
      }
      for (const item of items.toReversed()) {
        if (item.kind === 'directory' && failures.length === 0) await this.dress(`${job.root}/${item.name}`, item)
      }
    } catch (error) {
      await this.leave(job, job.policy.resume)
      throw error
    }
    await this.leave(job, false)
    return { ...counts, failures }
  }

  /** The target directory is there, and takes files. */
  protected async enter({ root, parts, policy }: Job): Promise<void> {
    if (policy.create) await mkdir(bytes(root), { recursive: true })
    const target = await stat(bytes(root)).catch(() => undefined)
    if (target === undefined) throw new TransferError('E_TARGET_MISSING', `there is no directory ${root}`)
    if (!target.isDirectory()) throw new TransferError('E_TARGET_KIND', `${root} is no directory`)
    if (this.#held.has(parts)) throw new TransferError('E_TARGET_BUSY', `another transfer is at work in ${root}`)
    this.#held.add(parts)
    await mkdir(bytes(parts), { mode: 0o700 }).catch((error: unknown) => {
      if (systemCodeOf(error) === 'EEXIST') return
      this.#held.delete(parts)
      throw error
    })
  }

  protected async leave({ parts }: Job, keep: boolean): Promise<void> {
    if (!keep) await rm(bytes(parts), { recursive: true, force: true })
    this.#held.delete(parts)
  }

  /** `same`, `needed`, or why it can never be there. */
  protected async survey({ policy }: Job, item: Item, final: string): Promise<string> {
    const found = await lstat(bytes(final)).catch(() => undefined)
    if (found === undefined) return 'needed'
    if (item.kind === 'directory') return found.isDirectory() ? 'same' : 'something else stands there'
    if (found.isDirectory()) return 'a directory stands there'
    if (item.kind === 'link') return found.isSymbolicLink() ? 'same' : 'needed'
    if (!found.isFile() || found.size !== item.size) return 'needed'
    if (policy.checksum) return (await digest(final)) === (await digest(item.path)) ? 'same' : 'needed'
    return Math.abs(found.mtimeMs / 1000 - item.time) < 1e-5 ? 'same' : 'needed'
  }

  /** Content, check, final name. @returns bytes that were there already */
  protected async bring(job: Job, item: Item, final: string): Promise<number> {
    const part = `${job.parts}/${createHash('sha256').update(item.name).digest('hex').slice(0, 16)}`
    const before = await stat(bytes(part)).catch(() => undefined)
    const had = job.policy.resume ? Math.min(before?.size ?? 0, item.size) : 0
    if (had === 0 && before !== undefined) await rm(bytes(part))
    await this.content(job, item, part, had)
    await this.check(job, item, part)
    await this.dress(part, item)
    await rename(bytes(part), bytes(final))
    return had
  }

  protected async content(job: Job, item: Item, part: string, from: number): Promise<void> {
    await using source = await open(bytes(item.path))
    await using target = await open(bytes(part), 'a', 0o600)
    await this.pump(job, source, target, from)
  }

  protected async pump(job: Job, source: FileHandle, target: FileHandle, from: number): Promise<void> {
    const chunk = Buffer.alloc(CHUNK)
    for (let at = from; ; ) {
      const { bytesRead } = await source.read(chunk, 0, CHUNK, at)
      if (bytesRead === 0) return
      await target.write(chunk, 0, bytesRead)
      at += bytesRead
      await job.move(bytesRead)
    }
  }

  protected async check(_job: Job, item: Item, part: string): Promise<void> {
    const now = await stat(bytes(item.path))
    if (now.mtimeMs / 1000 !== item.time || now.size !== item.size || now.ino !== item.inode) {
      throw new TransferError('E_SOURCE_CHANGED', 'it was changed meanwhile')
    }
    if ((await digest(part)) === (await digest(item.path))) return
    await rm(bytes(part))
    throw new TransferError('E_COPY_CORRUPT', 'what came is not what was sent')
  }

  protected async dress(path: string, { mode, time }: Item): Promise<void> {
    await using handle = await open(bytes(path))
    await handle.chmod(mode)
    // Node takes a number before 1970 for now.
    await (time < 0 ? utimes(bytes(path), new Date(time * 1000), new Date(time * 1000)) : utimes(bytes(path), time, time))
  }
}

export async function digest(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(bytes(path)))
    .digest('hex')
}

function absolute(path: string, home: string): string {
  if (path.startsWith('/')) return path
  return path === '~' ? home : join(home, path.replace(/^~\//, ''))
}

function codeOf(error: unknown): string {
  const known: Record<string, string> = {
    EROFS: 'E_TARGET_DENIED',
    EACCES: 'E_TARGET_DENIED',
    EPERM: 'E_TARGET_DENIED',
    ENOSPC: 'E_TARGET_FULL',
    ENOTDIR: 'E_TARGET_KIND',
    EEXIST: 'E_TARGET_KIND',
  }
  const code = systemCodeOf(error) ?? 'E_TRANSFER'
  return known[code] ?? ((error as CampaignError).code.startsWith('E_') ? code : 'E_TRANSFER')
}

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true
