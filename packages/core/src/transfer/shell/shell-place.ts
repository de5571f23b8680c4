import { TransferError } from '../../errors.js'
import { formatBytes } from '../../units.js'
import { type ByteName, byteName, insideName, readableName } from '../../util/byte-names.js'
import { holderOfLine } from '../local/lock-line.js'
import type { Manifest } from '../manifest.js'
import type { ReachedHost } from '../mover.js'
import type { Arrived, Committed, Found, Opened, OpenInput, Place } from '../place.js'
import { ShellCommit } from './shell-commit.js'
import { ShellLock } from './shell-lock.js'
import { shellWord } from './shell-session.js'
import { here, ShellTalk, shellFault } from './shell-talk.js'
import { digestsOf, findTools, type ShellTools, sizesAndTimes, sizesIn } from './shell-tools.js'

const NEEDED: Found = { state: 'needed' }
const SAME: Found = { state: 'same' }

/** Goes to the target directory: $1 as it was written, $2 whether it may be made. */
const ENTER = `enter() {
  d=$1
  case $d in '~' | '') d=$HOME ;; '~/'*) d=$HOME/\${d#??} ;; /*) ;; *) d=$HOME/$d ;; esac
  if [ ! -d "$d" ]; then
    if [ -e "$d" ] || [ -L "$d" ]; then return 3; fi
    [ "$2" ] || return 4
    mkdir -p -- "$d" || return 5
  fi
  cd -- "$d" >/dev/null || return 5
  printf '%s' "$d"
}`

interface OpenPlace {
  readonly input: OpenInput
  /** Absolute, there. */
  readonly directory: ByteName
  readonly parts: ByteName | undefined
  readonly found: readonly Found[]
  /** Directories that are reached through a link that stood there. */
  readonly linked: ReadonlySet<number>
}

/**
 * The receiving side of a copy on a host that has neither Python nor Perl, with what every system has: sh, ls, mkdir, mv, rm, ln, chmod,
 * touch, df, find. With `stat -c`, what is the same is told by size and time, else by digest; with sha256sum, shasum or openssl, what came
 * is verified by SHA-256, else by size. Times are whole seconds where `touch` knows no more.
 */
export class ShellPlace implements Place {
  readonly #reached: ReachedHost
  #open: OpenPlace | undefined
  /** As soon as the folder of parts may be there. */
  #lock: ShellLock | undefined
  /** As long as it lives, the lock holds. */
  #talk: ShellTalk | undefined

  constructor(reached: ReachedHost) {
    this.#reached = reached
  }

  get ended(): Promise<Error | undefined> | undefined {
    return this.#talk?.ended
  }

  async open(input: OpenInput, signal?: AbortSignal): Promise<Opened> {
    if (this.#open !== undefined) throw new Error('this place is open')
    const talk = await ShellTalk.start(this.#reached.pooled, signal)
    this.#talk = talk
    try {
      return await this.#doOpen(talk, input, signal)
    } catch (error) {
      await this.abandon({ keep: input.policy.resume })
      throw error
    } finally {
      if (this.#lock === undefined) await this.#endTalk()
    }
  }

  async #doOpen(talk: ShellTalk, input: OpenInput, signal: AbortSignal | undefined): Promise<Opened> {
    const { manifest, policy, partsId } = input
    const tools = await findTools(talk)
    const directory = await enter(talk, input.directory, policy.create)
    const linked = new Set<number>()
    const found = await survey(talk, tools, input, linked)
    const isNeeded = found.some(({ state }) => state === 'needed')
    let parts: ByteName | undefined
    if (isNeeded) {
      parts = `${directory === '/' ? '' : directory}/.cahier-${partsId}`
      await this.#take(talk, directory, parts, signal)
      await this.#tidy(talk, `.cahier-${partsId}`, input, found)
      await checkRoom(talk, directory, manifest, found)
    }
    this.#open = { input, directory, parts, found, linked }
    return { directory, parts, found }
  }

  async commit(arrived: readonly Arrived[], signal?: AbortSignal): Promise<Committed> {
    const open = this.#open
    if (open === undefined) throw new Error('this place is not open')
    const talk = this.#talk ?? (await ShellTalk.start(this.#reached.pooled, signal))
    this.#talk = talk
    const tools = await findTools(talk)
    await enter(talk, open.directory, false, true)
    const commit = new ShellCommit(talk, tools, open)
    const lock = this.#lock
    const committed = await commit.run(arrived, async () => {
      if (lock !== undefined && !(await lock.isMine(talk))) throw busy(open.directory)
    })
    await lock?.release(talk, { keep: open.input.policy.resume && (await commit.isOfUse()) })
    this.#lock = undefined
    await this.#endTalk()
    return committed
  }

  async abandon({ keep }: { readonly keep: boolean }): Promise<void> {
    const lock = this.#lock
    this.#lock = undefined
    await this.#endTalk()
    if (lock === undefined) return
    // Whoever cannot be reached any more keeps what there is; nobody holds it.
    try {
      await using talk = await ShellTalk.start(this.#reached.pooled)
      await lock.release(talk, { keep })
    } catch {
      return
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon({ keep: this.#open?.input.policy.resume ?? false })
  }

  async #endTalk(): Promise<void> {
    const talk = this.#talk
    this.#talk = undefined
    await talk?.[Symbol.asyncDispose]()
  }

  async #take(talk: ShellTalk, directory: ByteName, parts: ByteName, signal: AbortSignal | undefined): Promise<void> {
    const lock = new ShellLock(parts, this.#reached.pooled)
    // Set before the answer: who gives up meanwhile has to let go of what is being made there.
    this.#lock = lock
    const { text, exitCode } = await lock.take(talk, signal)
    if (exitCode === 0) return
    this.#lock = undefined
    throw exitCode === 7 ? busy(directory, text) : faultError(`Nothing can be written into ${readableName(directory)}`, text)
  }

  /** Keeps what is of use of an earlier transfer, removes everything else. */
  async #tidy(talk: ShellTalk, folder: ByteName, { manifest, policy, seed }: OpenInput, found: Found[]): Promise<void> {
    const sizes = await sizesIn(talk, folder)
    const useless: ByteName[] = []
    for (const [index, size] of sizes) {
      const entry = manifest[index]
      if (policy.resume && entry?.kind === 'file' && found[index]?.state === 'needed' && size > 0 && size <= entry.size) {
        found[index] = { state: 'part', bytes: size }
      } else useless.push(`${folder}/${index}`)
    }
    await talk.askInBatches(useless, (batch) => `rm -rf ${batch.map(here).join(' ')}`)
    // They may have had their final modes already.
    if (sizes.size > useless.length) await talk.ask(`set +f; chmod 600 ${here(folder)}/[0-9]*; set -f`)
    if (seed !== true) return
    const seeds = [...found.keys()].filter((index) => found[index]?.state === 'needed' && manifest[index]?.kind === 'file')
    const render = (batch: readonly number[]): ByteName =>
      batch
        .map((index) => [here(nameOf(manifest, index)), `${here(folder)}/${index}`] as const)
        .map(([from, to]) => `[ -f ${from} ] && [ ! -L ${from} ] && { cp ${from} ${to} && chmod 600 ${to}; }`)
        .join('\n')
    await talk.askInBatches(seeds, render)
  }
}

async function enter(talk: ShellTalk, directory: string, create: boolean, isBytes = false): Promise<ByteName> {
  const word = shellWord(isBytes ? directory : byteName(directory))
  const { text, exitCode } = await talk.ask(`${ENTER}\nenter ${word} ${create ? 'c' : "''"}`)
  if (exitCode === 0) {
    const parts = text.split('/').filter((part) => part !== '' && part !== '.')
    return `/${parts.join('/')}`
  }
  if (exitCode === 3) throw new TransferError('E_TARGET_KIND', `${directory} is no directory`)
  if (exitCode === 4) {
    throw new TransferError('E_TARGET_MISSING', `There is no directory ${directory} on ${talk.host}`, {
      suggestions: ['Make it, or ask for it to be made with create'],
    })
  }
  throw faultError(`${directory} cannot be used on ${talk.host}`, text)
}

/** @param line - the lock of who has it */
function busy(directory: ByteName, line = ''): TransferError {
  const who = holderOfLine(line)
  return new TransferError('E_TARGET_BUSY', `Another transfer of the same files into ${readableName(directory)} is under way${who}`, {
    suggestions: ['Wait until it has ended'],
  })
}

function faultError(what: string, text: string): TransferError {
  const { code, message } = shellFault(text)
  return new TransferError(code, `${what}: ${message}`, {
    suggestions:
      code === 'E_TARGET_FULL' ? ['Make room, then ask again: what came so far is not sent twice'] : ['Choose another directory'],
  })
}

/** What stands at the place of each entry. */
async function survey(talk: ShellTalk, tools: ShellTools, input: OpenInput, linked: Set<number>): Promise<Found[]> {
  const { manifest } = input
  const kinds: string[] = []
  const indexes = manifest.map((_, index) => index)
  const render = (batch: readonly number[]): ByteName => batch.map((index) => `e ${here(nameOf(manifest, index))}`).join('\n')
  for (const [batch, { text }] of await talk.askInBatches(indexes, render)) {
    const lines = text.split('\n').filter((line) => /^[Ddflo-]$/.test(line))
    if (lines.length !== batch.length)
      throw new TransferError('E_TRANSFER', `The shell on ${talk.host} said something else: ${text.slice(0, 200)}`)
    kinds.push(...lines)
  }
  const found: Found[] = []
  const folders = new Map<ByteName, Found>()
  const names = new Set<ByteName>()
  for (const [index, { kind, name }] of manifest.entries()) {
    const above = name.slice(0, Math.max(0, name.lastIndexOf('/')))
    const inside = folders.get(above)
    let one: Found
    if (insideName(name) !== name) one = impossible('its name leads out of the target directory')
    else if (names.has(name)) one = impossible('another file of the list has its name')
    else if (above !== '' && inside === undefined) one = impossible('its directory is not in the list')
    else if (inside?.state === 'impossible') one = inside
    else one = judge(kind, kinds[index] as string)
    if (kinds[index] === 'D' && kind === 'directory') linked.add(index)
    names.add(name)
    if (kind === 'directory') folders.set(name, one)
    found.push(one)
  }
  await compareFiles(talk, tools, input, kinds, found)
  await compareLinks(talk, manifest, kinds, found)
  return found
}

function judge(kind: Manifest[number]['kind'], is: string): Found {
  if (is === '-') return NEEDED
  if (kind === 'directory') return is === 'd' || is === 'D' ? SAME : impossible('a file stands in the place of a directory')
  return is === 'd' ? impossible('a directory stands in its place') : NEEDED
}

function impossible(message: string): Found {
  return { state: 'impossible', code: 'E_TARGET_KIND', message }
}

async function compareFiles(
  talk: ShellTalk,
  tools: ShellTools,
  { manifest, policy, digest }: OpenInput,
  kinds: readonly string[],
  found: Found[],
): Promise<void> {
  const files = manifest.flatMap((entry, index) =>
    entry.kind === 'file' && kinds[index] === 'f' && found[index] === NEEDED ? [index] : [],
  )
  const known = await sizesAndTimes(
    talk,
    tools,
    files.map((index) => nameOf(manifest, index)),
  )
  const isByDigest = policy.checksum || !tools.stat
  const alike: number[] = []
  for (const index of files) {
    const entry = manifest[index]
    const is = known.get(nameOf(manifest, index))
    if (entry?.kind !== 'file' || is?.size !== entry.size) continue
    if (isByDigest) alike.push(index)
    else if (is.timeUs === entry.timeUs || is.timeUs === wholeSeconds(entry.timeUs)) found[index] = SAME
  }
  if (!tools.digests || digest === undefined) return
  const digests = await digestsOf(
    talk,
    alike.map((index) => nameOf(manifest, index)),
  )
  for (const index of alike) if (digests.get(nameOf(manifest, index)) === (await digest(index))) found[index] = SAME
}

/** A time that was set by who knows no fractions. */
function wholeSeconds(timeUs: number): number {
  return Math.floor(timeUs / 1_000_000) * 1_000_000
}

async function compareLinks(talk: ShellTalk, manifest: Manifest, kinds: readonly string[], found: Found[]): Promise<void> {
  const links = manifest.flatMap((entry, index) =>
    entry.kind === 'link' && (kinds[index] === 'l' || kinds[index] === 'D') && found[index] === NEEDED ? [index] : [],
  )
  const render = (batch: readonly number[]): ByteName =>
    batch
      .map((index) => {
        const entry = manifest[index]
        const target = entry?.kind === 'link' ? entry.target : ''
        return `t=$(readlink ${here(nameOf(manifest, index))} && echo .); if [ "$t" = ${shellWord(`${target}\n.`)} ]; then echo s; else echo n; fi`
      })
      .join('\n')
  for (const [batch, { text }] of await talk.askInBatches(links, render)) {
    const lines = text.split('\n').filter((line) => line === 's' || line === 'n')
    if (lines.length !== batch.length) continue
    for (const [at, index] of batch.entries()) if (lines[at] === 's') found[index] = SAME
  }
}

/** @throws TransferError `E_TARGET_FULL` before anything comes */
async function checkRoom(talk: ShellTalk, directory: ByteName, manifest: Manifest, found: readonly Found[]): Promise<void> {
  const { text } = await talk.ask('df -Pk .')
  // @source POSIX.1-2017 df -P: file system, blocks, used, available, capacity, mounted on
  const free = /\s(\d+)\s+\d+%\s[^\n]*$/.exec(text.trimEnd())?.[1]
  if (free === undefined) return
  let bytes = 0
  for (const [index, one] of found.entries()) {
    const entry = manifest[index]
    if (entry?.kind !== 'file') continue
    if (one.state === 'needed') bytes += entry.size
    else if (one.state === 'part') bytes += entry.size - one.bytes
  }
  const room = Number(free) * 1024
  if (bytes <= room) return
  throw new TransferError(
    'E_TARGET_FULL',
    `${formatBytes(bytes)} are to come to ${readableName(directory)}, where ${formatBytes(room)} are free`,
    {
      suggestions: ['Make room, or choose another directory'],
      data: { bytes, free: room },
    },
  )
}

function nameOf(manifest: Manifest, index: number): ByteName {
  return manifest[index]?.name ?? ''
}
