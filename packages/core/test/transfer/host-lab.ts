import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { type SshHosts, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { type ConnectionOptions, connectionSchema } from '../../src/model/connection.js'
import type { TransferEnd } from '../../src/ports/transfer.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { systemClock } from '../../src/system/clock.js'
import type { TransferContext } from '../../src/transfer/context.js'
import type { MovedFile, MoveOptions, ReachedHost } from '../../src/transfer/mover.js'
import { Pace } from '../../src/transfer/pace.js'
import { reach } from '../../src/transfer/reach.js'

export const CONNECTORS = ['ssh2', 'openssh'] as const

/** Real hosts, a pool, and a folder of this machine. */
export class HostLab implements AsyncDisposable {
  readonly bed: SshHosts & AsyncDisposable
  readonly folder = mkdtempSync(join(tmpdir(), 'cahier-transfer-'))
  #pool = new ConnectionPool()
  #names = 0

  private constructor(bed: SshHosts & AsyncDisposable) {
    this.bed = bed
  }

  static async start(...[count, options]: Parameters<typeof startSshHosts>): Promise<HostLab> {
    return new HostLab(await startSshHosts(count, options))
  }

  get pool(): ConnectionPool {
    return this.#pool
  }

  /** As a program that is started anew would have it. */
  async newPool(): Promise<void> {
    await this.#pool[Symbol.asyncDispose]()
    this.#pool = new ConnectionPool()
  }

  get context(): TransferContext {
    const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log }
    return { pool: async () => this.#pool, processes: new LocalBackend(), log, clock: systemClock }
  }

  end(name: string, directory: string, options: ConnectionOptions = {}): TransferEnd {
    return { host: { address: name }, connection: connectionSchema.parse({ sshConfig: this.bed.sshConfig, ...options }), directory }
  }

  reach(name: string, options: ConnectionOptions = {}): Promise<ReachedHost> {
    return reach(this.context, this.end(name, '.', options))
  }

  /** A new empty folder. The hosts share our files, when they have no network of their own. */
  newFolder(): string {
    const path = join(this.folder, `f${++this.#names}`)
    mkdirSync(path)
    return path
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool[Symbol.asyncDispose]()
    await this.bed.stop()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A server says that a session is over when its program is, and that may take a while. */
export async function untilLetGo({ pooled }: ReachedHost): Promise<void> {
  await expect.poll(() => pooled.openSessions, { timeout: 20_000 }).toBe(0)
}

/** Bytes that look like none other, the same for the same seed. */
export function noise(bytes: number, seed = 1): Buffer {
  const data = Buffer.allocUnsafe(bytes)
  let state = seed * 2_654_435_761
  for (let at = 0; at < bytes; at += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    data[at] = state >>> 24
  }
  return data
}

export function sha256(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex')
}

export function writeTree(folder: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
}

/** One character per byte. */
export function bytePath(path: string): string {
  return Buffer.from(path).toString('latin1')
}

export function readBytes(path: string): Buffer {
  return readFileSync(Buffer.from(path, 'latin1'))
}

/** What movers tell, kept. */
export function moveOptions(options: Partial<MoveOptions> = {}): MoveOptions & { readonly told: { bytes: number; files: number[] } } {
  const told = { bytes: 0, files: [] as number[] }
  return {
    told,
    signal: new AbortController().signal,
    pace: new Pace(),
    onBytes: (bytes) => {
      told.bytes += bytes
    },
    onFile: (index) => told.files.push(index),
    ...options,
  }
}

export function movedFile(index: number, path: string, size: number, offset = 0): MovedFile {
  return { index, path, size, offset }
}
