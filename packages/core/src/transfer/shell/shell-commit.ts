import type { FileFailure } from '../../model/transfer.js'
import { type ByteName, readableName } from '../../util/byte-names.js'
import type { Manifest, ManifestEntry } from '../manifest.js'
import type { Arrived, Committed, Found, OpenInput } from '../place.js'
import { shellWord } from './shell-session.js'
import { here, PER_COMMAND, type ShellTalk, shellFault } from './shell-talk.js'
import { digestsOf, type ShellTools, sizesIn } from './shell-tools.js'

/**
 * $1 part, $2 name: puts it there. A directory is never moved into; a link is replaced, also one that leads to a directory. Says how it
 * went, and between marks what was said.
 */
const PLACE = `m() {
  if [ -L "$2" ]; then [ ! -d "$2" ] || rm -f "$2"; elif [ -d "$2" ]; then echo kind; return; fi
  if o=$(mv -f "$1" "$2" 2>&1 </dev/null); then echo ok; else fault "$o"; fi
}
d() { if [ -d "$1" ] && [ ! -L "$1" ]; then echo ok; elif o=$(mkdir -m 700 "$1" 2>&1); then echo ok; else fault "$o"; fi; }
r() { if [ -d "$1" ] && [ ! -L "$1" ]; then echo ok; else echo kind; fi; }
q() { if o=$("$@" 2>&1); then echo ok; else fault "$o"; fi; }
fault() { set -- $1; echo "fault $*"; }`

interface OpenPlace {
  readonly input: OpenInput
  readonly directory: ByteName
  readonly parts: ByteName | undefined
  readonly found: readonly Found[]
  readonly linked: ReadonlySet<number>
}

interface Failure {
  readonly code: string
  readonly message: string
}

/** File systems that keep no modes or times say one of these, and so does a file of somebody else: the content is right all the same. */
const UNABLE = /not permitted|not implemented|not supported|Invalid argument/i

type Entry = { readonly index: number; readonly entry: ManifestEntry }
type Placed = Entry & { readonly path: ByteName }

/** What sets an attribute of many files at once. */
interface Setting {
  /** To be put before the names. */
  readonly command: string
  readonly files: readonly Placed[]
  /** Of a command that is given words like these. */
  readonly zone?: 'UTC0'
}

/** What came becomes files: one command for many where there is one, in the target directory. */
export class ShellCommit {
  readonly #talk: ShellTalk
  readonly #tools: ShellTools
  readonly #manifest: Manifest
  readonly #place: OpenPlace
  readonly #folder: ByteName
  /** Whether touch takes fractions of seconds. */
  #isExact: boolean | undefined
  readonly #failures = new Map<number, Failure>()
  /** Of the manifest, by name. */
  readonly #directories = new Map<ByteName, number>()

  constructor(talk: ShellTalk, tools: ShellTools, place: OpenPlace) {
    this.#talk = talk
    this.#tools = tools
    this.#place = place
    this.#manifest = place.input.manifest
    this.#folder = `.cahier-${place.input.partsId}`
  }

  /** @param confirm - asked when all is checked, before anything is put in place; throws when nothing may be */
  async run(arrived: readonly Arrived[], confirm: () => Promise<void>): Promise<Committed> {
    await this.#talk.ask(PLACE)
    const verified = await this.#check(arrived)
    await confirm()
    const good = arrived.map(({ index }) => index).filter((index) => !this.#failures.has(index))
    const entries = this.#manifest.map((entry, index) => ({ index, entry }))
    const wanted = entries.filter(({ index }) => this.#place.found[index]?.state !== 'impossible')
    const isNeeded = ({ index }: Entry): boolean => this.#place.found[index]?.state !== 'same'
    let links = wanted.filter((one) => one.entry.kind === 'link' && isNeeded(one))
    const directories = wanted.filter(({ entry }) => entry.kind === 'directory')
    if (this.#place.parts !== undefined) {
      await this.#lookAgain(directories.filter((one) => !isNeeded(one)))
      for (const { index, entry } of directories) this.#directories.set(entry.name, index)
      await this.#do(this.#reachable(directories).filter(isNeeded), ({ entry }) => `d ${here(entry.name)}`)
      const files = this.#reachable(good.map((index) => ({ index, entry: this.#manifest[index] as ManifestEntry })))
      await this.#dress(files.map((one) => ({ ...one, path: `${this.#folder}/${one.index}` })))
      const dressed = files.filter(({ index }) => !this.#failures.has(index))
      links = this.#reachable(links)
      for (const { index, entry } of links) {
        const target = entry.kind === 'link' ? entry.target : ''
        await this.#talk.ask(`rm -rf ${this.#part(index)}; ln -s -- ${shellWord(target)} ${this.#part(index)}`)
      }
      await this.#setTimes(
        links.map((one) => ({ ...one, path: `${this.#folder}/${one.index}` })),
        { flags: '-h ', isOptional: true },
      )
      await this.#do([...dressed, ...links], ({ index, entry }) => `m ${this.#part(index)} ${here(entry.name)}`)
    }
    const same = this.#reachable(wanted.filter((one) => one.entry.kind === 'file' && !isNeeded(one)))
    // Of somebody else's file it cannot be set, and its content is what was asked for.
    await this.#setModes(
      same.map((one) => ({ ...one, path: one.entry.name })),
      { isOptional: true },
    )
    await this.#finishDirectories(directories.filter(({ index }) => !this.#place.linked.has(index) && !this.#failures.has(index)))
    const failures: FileFailure[] = [...this.#failures]
      .sort(([a], [b]) => a - b)
      .map(([index, failure]) => ({ file: readableName(this.#manifest[index]?.name ?? ''), ...failure }))
    return { files: good.filter((index) => !this.#failures.has(index)).length, failures, verified }
  }

  /** Whether a part is left that the next transfer can go on with. What came wrong and links are none. */
  async isOfUse(): Promise<boolean> {
    if (this.#place.parts === undefined) return false
    const useless = [...this.#failures].flatMap(([index, { code }]) => (code === 'E_COPY_CORRUPT' ? [index] : []))
    for (const [index, { kind }] of this.#manifest.entries()) if (kind === 'link' && this.#failures.has(index)) useless.push(index)
    await this.#talk.askInBatches(useless, (batch) => `rm -f ${batch.map((index) => this.#part(index)).join(' ')}`)
    return [...(await sizesIn(this.#talk, this.#folder)).values()].some((size) => size > 0)
  }

  /** Sizes, and digests where they are known here and there. */
  async #check(arrived: readonly Arrived[]): Promise<Committed['verified']> {
    if (arrived.length === 0) return this.#tools.digests ? 'sha256' : 'size'
    const empty = arrived.filter(({ index }) => this.#sizeOf(index) === 0)
    await this.#talk.askInBatches(
      empty,
      (batch) => `for x in ${batch.map(({ index }) => this.#part(index)).join(' ')}; do true >>"$x"; done`,
    )
    const sizes = await sizesIn(this.#talk, this.#folder)
    const whole = arrived.filter(({ index }) => {
      const size = sizes.get(index)
      if (size === undefined) this.#fail(index, 'E_COPY_LOST', 'it did not come')
      else if (size !== this.#sizeOf(index)) this.#fail(index, 'E_COPY_CORRUPT', `${size} bytes came, and it has ${this.#sizeOf(index)}`)
      return size === this.#sizeOf(index)
    })
    if (!this.#tools.digests) return 'size'
    const named = whole.filter(({ sha256 }) => sha256 !== undefined)
    const digests = await digestsOf(
      this.#talk,
      named.map(({ index }) => `${this.#folder}/${index}`),
    )
    for (const { index, sha256 } of named) {
      const digest = digests.get(`${this.#folder}/${index}`)
      if (digest === undefined) this.#fail(index, 'E_COPY_LOST', 'what came cannot be read')
      else if (digest !== sha256) this.#fail(index, 'E_COPY_CORRUPT', 'what came has another SHA-256 than what was sent')
    }
    return arrived.length === named.length || whole.length === named.length ? 'sha256' : 'size'
  }

  /** A link that took the place of a directory since it was looked at leads to what nobody named. */
  async #lookAgain(directories: readonly Entry[]): Promise<void> {
    const real = directories.filter(({ index }) => !this.#place.linked.has(index))
    await this.#do(real, ({ entry }) => `r ${here(entry.name)}`, { kindMessage: 'it is no directory any more' })
  }

  /** Those whose directory is there; the others fail with it. */
  #reachable<One extends Entry>(entries: readonly One[]): One[] {
    return entries.filter(({ index, entry }) => {
      const above = this.#directories.get(entry.name.slice(0, Math.max(0, entry.name.lastIndexOf('/'))))
      const failure = above === undefined ? undefined : this.#failures.get(above)
      if (failure !== undefined) this.#failures.set(index, failure)
      return failure === undefined
    })
  }

  /** One answer for each. */
  async #do<One extends Entry>(
    entries: readonly One[],
    render: (one: One) => ByteName,
    { kindMessage = 'a directory stands in its place', what }: { readonly kindMessage?: string; readonly what?: 'mode' | 'time' } = {},
  ): Promise<void> {
    for (const [batch, { text }] of await this.#talk.askInBatches(entries, (some) => some.map(render).join('\n'))) {
      const lines = text.split('\n').filter((line) => /^(ok|kind|fault .*|fault)$/.test(line))
      for (const [at, { index, entry }] of batch.entries()) {
        const line = lines[at] ?? 'fault the shell did not answer'
        if (line === 'kind') this.#fail(index, 'E_TARGET_KIND', kindMessage)
        else if (line !== 'ok') {
          const { code, message } = shellFault(line.slice(6))
          if (what === undefined) this.#fail(index, code, message)
          else if (!UNABLE.test(message)) this.#fail(index, code, `cannot set the ${what} of ${readableName(entry.name)}: ${message}`)
        }
      }
    }
  }

  /** The mode last: it may forbid the rest. */
  async #dress(files: readonly Placed[]): Promise<void> {
    await this.#setTimes(files)
    await this.#setModes(files)
  }

  async #setModes(files: readonly Placed[], { isOptional = false } = {}): Promise<void> {
    const settings = [...grouped(files, modeOf)].map(([mode, group]) => ({ command: `chmod ${mode}`, files: group }))
    await this.#set(settings, 'mode', isOptional)
  }

  /** Fractions where touch takes them, else whole seconds. @source POSIX.1-2017 touch -t; coreutils 9.1 touch -d @… */
  async #setTimes(files: readonly Placed[], { flags = '', isOptional = false } = {}): Promise<void> {
    if (files.length === 0) return
    this.#isExact ??= await this.#takesFractions()
    const isExact = this.#isExact
    const timeOf = ({ entry }: Entry): number => (isExact ? entry.timeUs : Math.floor(entry.timeUs / 1_000_000) * 1_000_000)
    const settings = [...grouped(files, timeOf)].map(([timeUs, group]): Setting => {
      const seconds = Math.floor(timeUs / 1_000_000)
      const fraction = String(timeUs - seconds * 1_000_000).padStart(6, '0')
      if (fraction !== '000000' && seconds >= 0) return { command: `touch -c ${flags}-d @${seconds}.${fraction}`, files: group }
      return { command: `touch -c ${flags}-t ${stamp(seconds)}`, files: group, zone: 'UTC0' }
    })
    await this.#set(settings, 'time', isOptional)
  }

  async #takesFractions(): Promise<boolean> {
    const folder = this.#place.parts === undefined ? '${TMPDIR:-/tmp}' : here(this.#folder)
    // A program, not `:`, whose failure would end the shell.
    const { text } = await this.#talk.ask(
      `f=${folder}/time-$k; true >"$f" && touch -d @1000000000.5 "$f" 2>/dev/null && echo exact; rm -f "$f"`,
    )
    return text.trim() === 'exact'
  }

  /**
   * Many commands for many files each, without waiting for one after the other. Where one of them fails, each of its files says by itself
   * how it went, and fails when that matters.
   */
  async #set(settings: readonly Setting[], what: 'mode' | 'time', isOptional: boolean): Promise<void> {
    const parts = settings.flatMap(({ files, ...setting }) =>
      Array.from({ length: Math.ceil(files.length / PER_COMMAND) }, (_, at) => ({
        ...setting,
        files: files.slice(at * PER_COMMAND, (at + 1) * PER_COMMAND),
      })),
    )
    const render = (batch: readonly Setting[]): ByteName =>
      batch
        .map(({ command, files, zone }, at) => {
          const words = `${command} ${files.map(({ path }) => here(path)).join(' ')}`
          return `${zone === undefined ? '' : `TZ=${zone} `}${words} || echo "failed ${at}"`
        })
        .join('\n')
    const failed: Setting[] = []
    for (const [batch, { text }] of await this.#talk.askInBatches(parts, render, 20)) {
      const said = new Set([...text.matchAll(/^failed (\d+)$/gm)].map(([, at]) => Number(at)))
      failed.push(...batch.filter((_, at) => said.has(at)))
    }
    if (isOptional) return
    for (const { command, files, zone } of failed) {
      await this.#do(
        files,
        ({ path }) => (zone === undefined ? `q ${command} ${here(path)}` : `(export TZ=${zone}; q ${command} ${here(path)})`),
        { what },
      )
    }
  }

  /** All times first: setting the mode of a directory may close those in it. */
  async #finishDirectories(directories: readonly Entry[]): Promise<void> {
    const named = directories.map((one) => ({ ...one, path: one.entry.name }))
    const known = new Map(this.#failures)
    await this.#setTimes(named)
    const isOpen = (one: Entry): boolean => (Number.parseInt(modeOf(one), 8) & 0o700) === 0o700
    await this.#setModes(named.filter(isOpen))
    const closed = named.filter((one) => !isOpen(one)).reverse()
    await this.#do(closed, (one) => `q chmod ${modeOf(one)} ${here(one.entry.name)}`, { what: 'mode' })
    // A directory that was there may be somebody else's.
    for (const { index } of named) if (this.#place.found[index]?.state === 'same' && !known.has(index)) this.#failures.delete(index)
  }

  #part(index: number): ByteName {
    return `${here(this.#folder)}/${index}`
  }

  #sizeOf(index: number): number {
    const entry = this.#manifest[index]
    return entry?.kind === 'file' ? entry.size : -1
  }

  #fail(index: number, code: string, message: string): void {
    this.#failures.set(index, { code, message })
  }
}

function modeOf({ entry }: Entry): string {
  return entry.kind === 'link' ? '777' : entry.mode.toString(8).padStart(4, '0')
}

function grouped<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>()
  for (const item of items) {
    const key = keyOf(item)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [item])
    else group.push(item)
  }
  return groups
}

/** `CCYYMMDDhhmm.SS` in UTC. */
function stamp(seconds: number): string {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)/.exec(new Date(seconds * 1000).toISOString()) ?? []
  return `${year}${month}${day}${hour}${minute}.${second}`
}
