import type { FileHandle } from 'node:fs/promises'
import { systemCodeOf } from '../../errors.js'
import { type Deferred, makeDeferred } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { Turns } from '../../util/turns.js'
import { openFile } from '../local/local-open.js'
import type { MovedFile, MoveOptions } from '../mover.js'
import {
  isSystemError,
  type MoveFailure,
  paced,
  partName,
  pathOf,
  readSmall,
  SMALL_BYTES,
  sendContent,
  sourceFailure,
  targetFailure,
} from '../mover-parts.js'
import { codeIn, messageIn, type ScpAnswer } from './scp-answers.js'
import type { ScpSession } from './scp-session.js'

/** Small files are put together for one write. */
const BUNDLE_BYTES = 64 << 10
/** What stands around the content of a file: `C0600 32768 9999999999`, a line end, and a zero. */
const AROUND_BYTES = 64
/** Of small files, without an answer yet. */
const MOST_UNDER_WAY = 1 << 20
const YES = Buffer.of(0)

/**
 * Sends files to one `scp -t`.
 *
 * A small file is announced and sent in one, and the next ones behind it, without waiting for answers: scp reads what it is told in order,
 * and answers twice for each file. But when it refuses an announcement, it takes the content for what it is told next. Then this session
 * ends at once, and what has no answer yet is left for another one that is careful: there each file waits for its answers. So does, in
 * every session, a file that begins with an order: no content is ever obeyed. By any other beginning scp ends.
 *
 * @source sink() in scp.c of OpenSSH 9.2: one answer to the announcement, one behind the content; no name with a slash is taken
 */
export class ScpSending {
  readonly #session: ScpSession
  readonly #parts: ByteName
  readonly #options: MoveOptions
  readonly #failures: Map<number, MoveFailure>
  readonly #isCareful: boolean
  readonly #turns = new Turns()
  /** Small files that wait to be sent together. */
  #bundled: MovedFile[] = []
  #bundle: Buffer | undefined
  #used = 0
  /** Small files without an answer. */
  readonly #underWay: MovedFile[] = []
  #bytesUnderWay = 0
  #settling: Promise<void> | undefined
  #room: Deferred<void> | undefined
  /** Nothing more goes over this session: because it is out of step, or because no file would come. */
  #end: 'out of step' | MoveFailure | undefined
  #error: Error | undefined

  constructor(
    session: ScpSession,
    parts: ByteName,
    {
      options,
      failures,
      isCareful,
    }: { readonly options: MoveOptions; readonly failures: Map<number, MoveFailure>; readonly isCareful: boolean },
  ) {
    this.#session = session
    this.#parts = parts
    this.#options = options
    this.#failures = failures
    this.#isCareful = isCareful
  }

  /** @returns those that are left for another session */
  async send(files: readonly MovedFile[]): Promise<readonly MovedFile[]> {
    const smallest = Math.min(SMALL_BYTES, paced(this.#options.pace.bytesPerSecond))
    let at = 0
    try {
      while (at < files.length) {
        await this.#turns.pause()
        const file = files[at] as MovedFile
        const isBundled = !this.#isCareful && file.size <= smallest && (await this.#add(file))
        if (!isBundled) await this.#settleAll()
        at += 1
        if (!isBundled) await this.#sendLarge(file)
        if (this.#end !== undefined) break
      }
      await this.#settleAll()
    } catch (error) {
      // It was ended by us.
      if (this.#end === undefined) throw error
    }
    const left = this.#end === undefined ? [] : [...this.#underWay, ...this.#bundled, ...files.slice(at)]
    if (this.#end === undefined || this.#end === 'out of step') return left
    for (const { index } of left) this.#failures.set(index, this.#end)
    return []
  }

  async #makeRoom({ size }: MovedFile): Promise<void> {
    const most = Math.min(BUNDLE_BYTES, paced(this.#options.pace.bytesPerSecond))
    if (this.#used > 0 && this.#used + size + AROUND_BYTES > most) await this.#flush()
  }

  /** @returns false for one that has to wait for its answers */
  async #add(file: MovedFile): Promise<boolean> {
    await this.#makeRoom(file)
    this.#bundle ??= Buffer.allocUnsafeSlow(BUNDLE_BYTES)
    const head = this.#bundle.write(announce(file), this.#used, 'latin1')
    const begin = this.#used + head
    try {
      const read = await readSmall(file.path, this.#bundle, begin, file.size)
      if (isOrder(this.#bundle.subarray(begin, begin + read))) return false
      // The place finds that it became shorter.
      this.#bundle.fill(0, begin + read, begin + file.size + 1)
      this.#used = begin + file.size + 1
      this.#bundled.push(file)
    } catch (error) {
      this.#failSource(file, error)
    }
    return true
  }

  async #flush(): Promise<void> {
    const { pace, signal } = this.#options
    if (this.#bundle === undefined || this.#bundled.length === 0) return
    const data = this.#bundle.subarray(0, this.#used)
    await pace.take(data.length, signal)
    this.#underWay.push(...this.#bundled)
    this.#bytesUnderWay += data.length
    this.#bundled = []
    this.#bundle = undefined
    this.#used = 0
    this.#settling ??= this.#settle()
    await this.#session.write(data)
    while (this.#bytesUnderWay > MOST_UNDER_WAY && this.#settling !== undefined) {
      this.#room = makeDeferred()
      await this.#room.promise
    }
    this.#check()
  }

  /** Waits for the answers to all that was begun. */
  async #settleAll(): Promise<void> {
    await this.#flush()
    await this.#settling
    this.#check()
  }

  #check(): void {
    if (this.#error !== undefined) throw this.#error
    if (this.#end !== undefined) throw new Error('the session was ended')
  }

  /** Takes answers as long as some are awaited. Never rejects. */
  async #settle(): Promise<void> {
    try {
      for (let file = this.#underWay[0]; file !== undefined; file = this.#underWay[0]) {
        const part = partName(this.#parts, file.index)
        const announced = await this.#session.answer(part)
        const said = announced.kind === 'ok' ? await this.#session.answer(part) : announced
        this.#underWay.shift()
        this.#bytesUnderWay -= file.size + announce(file).length + 1
        this.#conclude(file, said)
        if (said.kind === 'ok' && file.size > 0) this.#options.onBytes(file.size)
        if (announced.kind !== 'ok') this.#end ??= 'out of step'
        if (this.#end !== undefined) break
        this.#room?.resolve()
      }
    } catch (error) {
      this.#error = error as Error
    }
    if (this.#end !== undefined) this.#session.close()
    this.#settling = undefined
    this.#room?.resolve()
  }

  async #sendLarge(file: MovedFile): Promise<void> {
    let handle: FileHandle
    try {
      handle = await openFile(pathOf(file.path))
    } catch (error) {
      this.#failSource(file, error)
      return
    }
    try {
      const part = partName(this.#parts, file.index)
      await this.#session.write(Buffer.from(announce(file), 'latin1'))
      const announced = await this.#session.answer(part)
      if (announced.kind !== 'ok') {
        this.#conclude(file, announced)
        return
      }
      const unread = await sendContent(file, 0, handle, this.#options, (piece) => this.#session.write(piece))
      await this.#session.write(YES)
      this.#conclude(file, await this.#session.answer(part), unread)
    } finally {
      await handle.close()
    }
  }

  #conclude(file: MovedFile, said: ScpAnswer, unread?: MoveFailure): void {
    const failure = said.kind === 'ok' ? unread : failureThere(partName(this.#parts, file.index), said)
    if (failure === undefined) {
      this.#options.onFile(file.index)
      return
    }
    this.#failures.set(file.index, failure)
    // Those that follow would fare no better.
    if (failure.code === 'E_TARGET_FULL' || said.kind === 'fatal') this.#end = failure
  }

  #failSource({ index, path }: MovedFile, error: unknown): void {
    if (!isSystemError(error)) throw error
    this.#failures.set(index, sourceFailure(path, systemCodeOf(error), error.message))
  }
}

function announce({ index, size }: MovedFile): string {
  return `C0600 ${size} ${index}\n`
}

/** Whether scp does not end by it where it expects to be told something. @source sink() in scp.c of OpenSSH 9.2 */
function isOrder(content: Buffer): boolean {
  return content[0] === 1 || /^(?:[CD][0-7]{4} |T\d)/.test(content.toString('latin1', 0, 6))
}

export function failureThere(path: ByteName, answer: ScpAnswer): MoveFailure {
  return targetFailure(path, codeIn(answer), messageIn(answer))
}
