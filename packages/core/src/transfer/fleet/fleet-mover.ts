import { closeSync, constants, ftruncateSync, openSync, writeSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { isCampaignError, ProcessError, systemCodeOf } from '../../errors.js'
import type { CommandChannel, CommandEnd, Fleet, HostWay } from '../../ports/fleet.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { makeDeferred } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { openFile } from '../local/local-open.js'
import type { MovedFile, MoveFailures, MoveOptions, Mover, ReachedHost } from '../mover.js'
import { type MoveFailure, paced, partName, pathOf, sourceFailure, targetFailure } from '../mover-parts.js'
import { LineSplitter, readFleetLine, receiveCommand, SEND_COMMAND } from './fleet-programs.js'

/** Pieces in which content is read here. */
const PIECE_BYTES = 128 << 10
/** Waiting for other hosts is no standing still: it is said that often. */
const WAIT_SIGN_MS = 5_000

/** One host that has come to the point where its content is to move. */
interface Waiter {
  readonly member: number
  readonly files: readonly MovedFile[]
  readonly parts: ByteName
  readonly options: MoveOptions
  readonly done: ReturnType<typeof makeDeferred<MoveFailures>>
}

/**
 * Moves content for all hosts of a fleet at once. Hosts wait for each other before it begins: what several need is read and given once.
 */
export class FleetMover implements Mover {
  readonly name: string
  readonly seed = false
  readonly #fleet: () => Promise<Fleet>
  readonly #members: ReadonlyMap<PooledConnection, number>
  /** Those of whom nobody knows yet whether they need anything. */
  readonly #coming: Set<number>
  #waiting: Waiter[] = []
  /** One thing at a time goes out. */
  #turn: Promise<void> = Promise.resolve()

  /** @param members - filled as hosts are reached @param count - of all, reached or not */
  constructor(name: string, fleet: () => Promise<Fleet>, members: ReadonlyMap<PooledConnection, number>, count: number) {
    this.name = name
    this.#fleet = fleet
    this.#members = members
    this.#coming = new Set(Array.from({ length: count }).keys())
  }

  /** This one needs nothing any more: it has ended. */
  leave(member: number): void {
    this.#coming.delete(member)
    this.#beginWhenAllAreThere()
  }

  async send(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const waiter: Waiter = { member: this.#memberOf(host), files, parts, options, done: makeDeferred() }
    this.#waiting.push(waiter)
    this.#coming.delete(waiter.member)
    this.#beginWhenAllAreThere()
    const over = new AbortController()
    void waiter.done.promise.then(
      () => over.abort(),
      () => over.abort(),
    )
    void this.#giveSigns(options, over.signal)
    const onAbort = (): void => waiter.done.reject(options.signal.reason)
    options.signal.addEventListener('abort', onAbort, { once: true })
    try {
      if (options.signal.aborted) onAbort()
      return await waiter.done.promise
    } finally {
      options.signal.removeEventListener('abort', onAbort)
      this.#waiting = this.#waiting.filter((other) => other !== waiter)
    }
  }

  async #giveSigns({ pace }: MoveOptions, over: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await pause(WAIT_SIGN_MS, undefined, { signal: over, ref: false })
        if (!this.#waiting.some(({ options }) => options.pace === pace)) return
        await pace.take(0)
      }
    } catch {
      // It has ended.
    }
  }

  #beginWhenAllAreThere(): void {
    if (this.#coming.size > 0 || this.#waiting.length === 0) return
    const groups = new Map<string, Waiter[]>()
    for (const waiter of this.#waiting.splice(0)) {
      const key = waiter.files.map(({ index, offset }) => `${index}:${offset}`).join(' ')
      const group = groups.get(key)
      if (group === undefined) groups.set(key, [waiter])
      else group.push(waiter)
    }
    for (const group of groups.values()) {
      const before = this.#turn
      this.#turn = before
        .then(() => this.#sendTo(group))
        .catch((error: unknown) => {
          for (const { done } of group) done.reject(error)
        })
    }
  }

  /** Hosts that need the same. */
  async #sendTo(all: readonly Waiter[]): Promise<void> {
    const group = all.filter(({ options }) => !options.signal.aborted)
    const [first] = group
    if (first === undefined) return
    const { files } = first
    const fleet = await this.#fleet()
    const common = await fleet.together(new Map(group.map(({ member, parts }) => [member, receiveCommand(parts)])))
    const unreadable = new Map<number, MoveFailure>()
    const ends = group.map(async (waiter) => {
      const channel = common.channels.get(waiter.member) as CommandChannel
      const onAbort = (): void => channel.close()
      waiter.options.signal.addEventListener('abort', onAbort, { once: true })
      // It may have been given up while the tool was waited for.
      if (waiter.options.signal.aborted) onAbort()
      try {
        const failures = await watchReceiver(channel, waiter)
        waiter.done.resolve(new Map([...failures, ...unreadable]))
      } catch (error) {
        waiter.done.reject(error)
      } finally {
        waiter.options.signal.removeEventListener('abort', onAbort)
      }
    })
    try {
      const write = async (data: Uint8Array): Promise<void> => {
        // The limit is for what is given to the tool: how often it sends that from here is its topology.
        await first.options.pace.take(data.length)
        await common.write(data)
      }
      await common.write(Buffer.from(`${files.map(({ index, offset, size }) => `${index} ${offset} ${size - offset}\n`).join('')}.\n`))
      for (const file of files) {
        const failure = await sendContent(file, paced(first.options.pace.bytesPerSecond), write)
        if (failure !== undefined) unreadable.set(file.index, failure)
      }
      common.end()
    } catch (error) {
      // Nobody reads any more: each has said why, or was lost.
      if (!(error instanceof Error && (error as { code?: unknown }).code === 'E_STDIN')) {
        for (const channel of common.channels.values()) channel.close()
        throw error
      }
    } finally {
      await Promise.all(ends)
    }
  }

  async receive(host: ReachedHost, files: readonly MovedFile[], parts: ByteName, options: MoveOptions): Promise<MoveFailures> {
    const way: HostWay = await ((await this.#fleet()).ways[this.#memberOf(host)] as Promise<HostWay>)
    const channel = await way.exec(SEND_COMMAND)
    const onAbort = (): void => channel.close()
    options.signal.addEventListener('abort', onAbort, { once: true })
    const landing = new Landing(files, parts, channel, options)
    if (options.signal.aborted) onAbort()
    try {
      const list = files.map(({ index, offset, size, path }) => {
        return `${index} ${offset} ${size - offset} ${Buffer.from(path, 'latin1').toString('hex')}\n`
      })
      await channel.write(Buffer.from(`${list.join('')}.\n`)).catch(() => {})
      channel.end()
      return landing.conclude(await channel.closed)
    } finally {
      options.signal.removeEventListener('abort', onAbort)
      landing.close()
    }
  }

  #memberOf({ pooled }: ReachedHost): number {
    const member = this.#members.get(pooled)
    if (member === undefined) throw new Error('this host is not of the fleet')
    return member
  }
}

/** All that was promised is sent, whatever the file holds now: what follows keeps its place, and who asks for its digest finds out. */
async function sendContent(
  { path, offset, size }: MovedFile,
  piece: number,
  write: (data: Uint8Array) => Promise<void>,
): Promise<MoveFailure | undefined> {
  let failure: MoveFailure | undefined
  const file = await openFile(pathOf(path)).catch((error: unknown) => {
    failure = sourceFailure(path, systemCodeOf(error), (error as Error).message)
    return undefined
  })
  try {
    const buffer = Buffer.allocUnsafe(Math.min(piece, PIECE_BYTES, Math.max(1, size - offset)))
    for (let at = offset; at < size; ) {
      const wanted = Math.min(buffer.length, size - at)
      let got = 0
      try {
        got = failure === undefined ? ((await file?.read(buffer, 0, wanted, at))?.bytesRead ?? 0) : 0
      } catch (error) {
        failure = sourceFailure(path, systemCodeOf(error), (error as Error).message)
      }
      if (got === 0) {
        buffer.fill(0)
        got = wanted
      }
      await write(buffer.subarray(0, got))
      at += got
    }
  } finally {
    await file?.close()
  }
  return failure
}

/** What one host says wrong ends the talk with that host: whoever carries the words has others to look after. */
function faultOf(channel: CommandChannel, listen: () => void): Error | undefined {
  try {
    listen()
    return undefined
  } catch (error) {
    channel.close()
    return error as Error
  }
}

/** Listens to a receiving program until its end. @throws ProcessError when its host is lost */
async function watchReceiver(channel: CommandChannel, { files, parts, options }: Waiter): Promise<Map<number, MoveFailure>> {
  const failures = new Map<number, MoveFailure>()
  const open = new Map(files.map((file) => [file.index, file.size - file.offset]))
  /** Of the present part. */
  let told = 0
  let said = ''
  let fault: Error | undefined
  const end = (index: number): void => {
    const bytes = (open.get(index) ?? 0) - told
    open.delete(index)
    told = 0
    if (bytes > 0) options.onBytes(bytes)
  }
  const lines = new LineSplitter((text) => {
    const line = readFleetLine(text)
    if (line?.kind === 'progress') {
      told += line.bytes
      options.onBytes(line.bytes)
    } else if (line?.kind === 'done') {
      end(line.index)
      options.onFile(line.index)
    } else if (line?.kind === 'failed') {
      open.delete(line.index)
      told = 0
      failures.set(line.index, targetFailure(partName(parts, line.index), line.systemCode, line.why))
    }
  })
  channel.listen((stream, chunk) => {
    if (stream === 'stderr') said = `${said}${chunk.toString('utf8')}`.slice(-500)
    else fault ??= faultOf(channel, () => lines.push(chunk))
  })
  const { lost, exitCode, signal } = await channel.closed
  options.signal.throwIfAborted()
  if (fault !== undefined) throw fault
  if (lost !== undefined) throw lost
  for (const index of open.keys()) failures.set(index, unfinished(exitCode, signal, said))
  return failures
}

function unfinished(exitCode: number | undefined, signal: string | undefined, said: string): MoveFailure {
  const how = signal === undefined ? `exit code ${exitCode ?? 'unknown'}` : signal
  return {
    code: 'E_COPY_LOST',
    message: `the program that looked after it there ended before it was whole (${how})${said && `: ${said.trim()}`}`,
  }
}

/** Parts here that a host sends. */
class Landing {
  readonly #files: Map<number, MovedFile>
  readonly #order: readonly MovedFile[]
  readonly #parts: ByteName
  readonly #channel: CommandChannel
  readonly #options: MoveOptions
  readonly #failures = new Map<number, MoveFailure>()
  #at = 0
  #fd: number | undefined
  #said = ''
  #isHeld = false
  #position = 0
  #fault: Error | undefined

  constructor(files: readonly MovedFile[], parts: ByteName, channel: CommandChannel, options: MoveOptions) {
    this.#files = new Map(files.map((file) => [file.index, file]))
    this.#order = files
    this.#parts = parts
    this.#channel = channel
    this.#options = options
    const lines = new LineSplitter((line) => this.#take(line))
    channel.listen((stream, chunk) => {
      if (stream === 'stderr') this.#said = `${this.#said}${chunk.toString('utf8')}`.slice(-500)
      else this.#fault ??= faultOf(channel, () => lines.push(chunk))
    })
  }

  conclude({ lost, exitCode, signal }: CommandEnd): MoveFailures {
    this.#options.signal.throwIfAborted()
    if (this.#fault !== undefined) throw this.#fault
    if (lost !== undefined) throw lost
    for (const index of this.#files.keys()) this.#failures.set(index, unfinished(exitCode, signal, this.#said))
    return this.#failures
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #take(text: string): void {
    const line = readFleetLine(text)
    const file = this.#order[this.#at]
    if (line === undefined || file === undefined) return
    if (line.kind === 'content') {
      this.#write(file, line.bytes)
      this.#options.onBytes(line.bytes.length)
      this.#slowDown(line.bytes.length)
    } else if (line.kind === 'done' || line.kind === 'failed') {
      if (line.index !== file.index) throw new ProcessError('E_HOST_PROTOCOL', 'the host sends files that nobody asked for')
      // An empty one, too.
      this.#write(file, Buffer.alloc(0))
      this.close()
      if (line.kind === 'failed') this.#failures.set(file.index, sourceFailure(file.path, line.systemCode, line.why))
      this.#files.delete(file.index)
      this.#at += 1
      this.#options.onFile(file.index)
    }
  }

  /** Without waiting: it goes into the memory of the system, and what comes meanwhile waits in a pipe. */
  #write(file: MovedFile, bytes: Buffer): void {
    if (this.#failures.has(file.index)) return
    const path = partName(this.#parts, file.index)
    try {
      if (this.#fd === undefined) {
        this.#fd = openSync(pathOf(path), constants.O_WRONLY | constants.O_CREAT, 0o600)
        ftruncateSync(this.#fd, file.offset)
        this.#position = file.offset
      }
      if (this.#position + bytes.length > file.size) throw new ProcessError('E_HOST_PROTOCOL', 'the host sends more than was asked for')
      for (let at = 0; at < bytes.length; ) {
        const written = writeSync(this.#fd, bytes, at, bytes.length - at, this.#position)
        at += written
        this.#position += written
      }
    } catch (error) {
      if (isCampaignError(error)) throw error
      this.#failures.set(file.index, targetFailure(path, systemCodeOf(error), (error as Error).message))
    }
  }

  #slowDown(bytes: number): void {
    const { pace, signal } = this.#options
    if (pace.bytesPerSecond === undefined || this.#isHeld) {
      if (pace.bytesPerSecond !== undefined) void pace.take(bytes, signal).catch(() => {})
      return
    }
    this.#isHeld = true
    this.#channel.pause()
    void pace
      .take(bytes, signal)
      .catch(() => {})
      .then(() => {
        this.#isHeld = false
        this.#channel.resume()
      })
  }
}
