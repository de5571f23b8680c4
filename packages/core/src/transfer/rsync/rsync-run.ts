import { TransferError } from '../../errors.js'
import type { ChannelEnd } from '../../ssh/connection.js'
import type { ByteName } from '../../util/byte-names.js'
import type { MovedFile, MoveOptions, ReachedHost } from '../mover.js'
import { type MoveFailure, sourceFailure, targetFailure } from '../mover-parts.js'
import { ShellSession, shellWord } from '../shell/shell-session.js'
import { lastWords, readComplaint, unescapeName } from './rsync-messages.js'
import { type RsyncEnd, RsyncProgram } from './rsync-program.js'

/**
 * -I: what has the size and the time of its source is compared, too. --inplace: parts grow under their names, and what is right in them is
 * not sent. -s: names go over the connection, not through a shell. %b makes it log files when they have come, not before.
 *
 * @source rsync(1) 3.1 to 3.5
 */
const WORDS = ['-LIps', '--inplace', '--chmod=Fu=rw,Fgo=', '--files-from=-', '--from0', '-8', '--out-format=%b %n']
const NOT_FOUND = 127
/** Nothing of rsync ends with it. */
const NO_FOLDER = 99
/** Syntax or usage error, protocol incompatibility, requested action not supported. @source rsync(1) 3.2.7, EXIT VALUES */
const UNFIT = new Set<number | undefined>([1, 2, 4])
/** Some files did not come, or vanished: the others did. @source rsync(1) 3.2.7, EXIT VALUES */
const PARTIAL = new Set([0, 11, 23, 24])

export interface RsyncRunInput {
  readonly host: ReachedHost
  /** The files by the names that rsync is given. */
  readonly names: ReadonlyMap<ByteName, MovedFile>
  readonly options: MoveOptions
  readonly isSending: boolean
  /** What stands in front of these names in messages: of the source, of the target. */
  readonly prefixes: readonly [ByteName, ByteName]
}

/** One rsync here and one there, and the bytes between them. */
export class RsyncRun {
  readonly #input: RsyncRunInput
  readonly #done = new Set<number>()
  readonly #failures = new Map<number, MoveFailure>()
  /** Content that nobody was told of yet. What else is said between the two is not content. */
  #left = 0
  #toHost: Promise<void> = Promise.resolve()
  #fromHost: Promise<void> = Promise.resolve()

  constructor(input: RsyncRunInput) {
    this.#input = input
    for (const { size, offset } of input.names.values()) this.#left += Math.max(0, size - offset)
  }

  /**
   * @param words - what follows the options
   * @param directories - the working directories, there and here
   */
  async run(
    words: readonly string[],
    directories: { readonly there: ByteName; readonly here?: string },
  ): Promise<ReadonlyMap<number, MoveFailure>> {
    const { host, names, options } = this.#input
    const { signal } = options
    signal.throwIfAborted()
    const program = new RsyncProgram({
      words: [...WORDS, ...words],
      names: names.keys(),
      cwd: directories.here,
      onLine: (line) => this.#log(line),
      onComplaint: (line) => this.#complain(line),
    })
    const onAbort = (): void => void program.stop()
    signal.addEventListener('abort', onAbort, { once: true })
    let session: ShellSession | undefined
    try {
      const command = await program.command
      const script = `command -v rsync >/dev/null 2>&1 || exit ${NOT_FOUND}
cd ${shellWord(directories.there)} || exit ${NO_FOLDER}
exec ${command.map(shellWord).join(' ')}`
      session = await ShellSession.start(host.pooled, script, (chunk) => this.#carryHere(chunk, program, session), { signal })
      this.#carryThere(program, session)
      const there = await session.closed
      await this.#fromHost
      program.end()
      signal.throwIfAborted()
      const here = await program.ended
      return this.#conclude(here, there, session.stderr)
    } catch (error) {
      await program.stop()
      signal.throwIfAborted()
      throw error
    } finally {
      session?.close()
      signal.removeEventListener('abort', onAbort)
    }
  }

  #carryThere(program: RsyncProgram, session: ShellSession): void {
    const { options, isSending } = this.#input
    program.listen(
      (chunk) => {
        program.pause()
        this.#toHost = this.#toHost.then(async () => {
          if (isSending) await options.pace.take(chunk.length, options.signal)
          await session.write(chunk)
          if (isSending) this.#count(chunk.length)
          program.resume()
        })
        // The end of the session says why.
        this.#toHost.catch(() => undefined)
      },
      () => {
        this.#toHost.then(
          () => session.end(),
          () => undefined,
        )
      },
    )
  }

  #carryHere(chunk: Buffer, program: RsyncProgram, session: ShellSession | undefined): void {
    const { options, isSending } = this.#input
    session?.pause()
    this.#fromHost = this.#fromHost
      .then(async () => {
        if (!isSending) await options.pace.take(chunk.length, options.signal)
        if (!program.write(chunk)) await program.drained()
        if (!isSending) this.#count(chunk.length)
      })
      .catch(() => undefined)
      .then(() => session?.resume())
  }

  #count(bytes: number): void {
    const content = Math.min(bytes, this.#left)
    this.#left -= content
    if (content > 0) this.#input.options.onBytes(content)
  }

  #log(line: string): void {
    const name = /^\d+ (.*)$/.exec(line)?.[1]
    const file = name === undefined ? undefined : this.#find(unescapeName(name))
    if (file === undefined || this.#done.has(file.index)) return
    this.#done.add(file.index)
    this.#input.options.onFile(file.index)
  }

  #complain(line: string): void {
    const complaint = readComplaint(line)
    const file = complaint === undefined ? undefined : this.#find(complaint.path)
    if (complaint === undefined || file === undefined || this.#failures.has(file.index)) return
    const { path, isSource, systemCode, why } = complaint
    this.#failures.set(file.index, isSource ? sourceFailure(file.path, systemCode, why) : targetFailure(path, systemCode, why))
  }

  #conclude(here: RsyncEnd, there: ChannelEnd, saidThere: string): ReadonlyMap<number, MoveFailure> {
    const { host, names } = this.#input
    const failures = this.#failures
    if (there.lost !== undefined) throw there.lost
    if (there.exitCode === NOT_FOUND) throw notThere(host.host.address)
    for (const line of saidThere.split('\n')) this.#complain(line)
    const said = `${here.stderr}\n${saidThere}`
    if (UNFIT.has(there.exitCode) && this.#done.size === 0) throw unfitThere(host.host.address, lastWords(said))
    const code = here.exitCode === 0 ? there.exitCode : here.exitCode
    if (code === undefined || (!PARTIAL.has(code) && failures.size === 0)) {
      const how = code === undefined ? 'was ended' : `ended with code ${code}`
      throw new TransferError('E_TRANSFER', `rsync with ${host.host.address} ${how}: ${lastWords(said)}`, {
        data: { exitCode: code ?? null, stderr: said.slice(-4000) },
      })
    }
    if (code === 0) return failures
    const isFull = [...failures.values()].find((failure) => failure.code === 'E_TARGET_FULL')
    const otherwise: MoveFailure = isFull ?? { code: 'E_TRANSFER', message: `rsync did not bring it: ${lastWords(said)}` }
    for (const { index } of names.values()) if (!this.#done.has(index) && !failures.has(index)) failures.set(index, otherwise)
    return failures
  }

  /** The file of a name as rsync says it: alone, or behind where it comes from or goes to. */
  #find(said: ByteName): MovedFile | undefined {
    const { names, prefixes } = this.#input
    for (const prefix of ['', ...prefixes]) {
      if (!said.startsWith(prefix)) continue
      const name = said.slice(prefix.length)
      const file = names.get(name) ?? names.get(name.replace(/^\/+/, '')) ?? names.get(`/${name}`)
      if (file !== undefined) return file
    }
    return undefined
  }
}

function unfitThere(host: string, why: string): TransferError {
  return new TransferError('E_NOT_SUPPORTED', `The rsync on ${host} does not know what it is asked: ${why}`, {
    suggestions: ['Install rsync 3.1 or newer there (openrsync is another program), or take another way to copy: via scp, sftp or chain'],
  })
}

function notThere(host: string): TransferError {
  return new TransferError('E_NOT_SUPPORTED', `rsync is not installed on ${host}`, {
    suggestions: ['Install it there, or take another way to copy: via scp, sftp or chain'],
  })
}
