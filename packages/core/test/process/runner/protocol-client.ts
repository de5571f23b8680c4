import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

// The protocol of docs/reference/runner.md, written a second time and without the client of the framework, so that neither hides the
// mistakes of the other.

export interface Program {
  readonly name: string
  readonly kind: 'perl' | 'sh'
  readonly command: readonly string[]
  /** Programs before those of the machine. */
  readonly path?: string
}

export interface Frame {
  readonly type: string
  readonly id: number
  readonly payload: Buffer
}

export interface Start {
  readonly words: readonly (string | Buffer)[]
  readonly set?: Readonly<Record<string, string>>
  readonly unset?: readonly string[]
  readonly cwd?: string
  readonly text?: Buffer
  readonly pipe?: boolean
  readonly files?: { readonly out: string; readonly err: string; readonly append?: boolean }
  readonly detach?: boolean
}

type Child = ChildProcessByStdio<Writable, Readable, null>

const assets = fileURLToPath(new URL('../../../assets/', import.meta.url))
const ACKNOWLEDGE_EVERY = 262_144
const PATIENCE_MS = 90_000

/** Waits for what is sure to come, and says what did not. */
export async function until(what: string, check: () => boolean, everyMs = 10): Promise<void> {
  for (const end = performance.now() + PATIENCE_MS; !check(); await pause(everyMs)) {
    if (performance.now() > end) throw new Error(`waited in vain until ${what}`)
  }
}

/** Living processes with this text in their environment. */
export function carriersOf(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(text)
      } catch {
        return false
      }
    })
}

/** For messages. */
export function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX] /s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}

export class RawRunner {
  readonly token = randomBytes(8).toString('hex')
  /** In the environment of the runner, and so of everything that it starts. */
  readonly trace = `CAHIER_TEST_TRACE=${this.token}`
  readonly frames: Frame[] = []
  readonly program: Program
  readonly temporary: string
  readonly lease: number
  readonly root: Child
  /** Of the last hello. */
  hello: { version: number; kind: string; pid: number; received: number; directory: string } | undefined
  hellos = 0
  /** Bytes after the hello. */
  have = 0
  acknowledges = true
  /** Taken as if the link went away after so many bytes in all. */
  cutAt = Number.POSITIVE_INFINITY
  isCut = false
  failure: Error | undefined
  /** Processes that it may leave behind. */
  readonly spared: number[] = []
  #link: Child
  #buffer = Buffer.alloc(0)
  #acknowledged = 0
  #requests: Buffer[] = []
  #exited = false
  readonly #outputs = new Map<string, Buffer[]>()

  constructor(program: Program, temporary: string, options: { lease?: number; grace?: number; text?: string; before?: string } = {}) {
    this.program = program
    this.temporary = temporary
    this.lease = options.lease ?? 0
    const file = join(assets, program.kind === 'perl' ? 'runner.pl' : 'runner.sh')
    const words = [
      ...program.command,
      ...(options.text === undefined ? [file] : program.kind === 'perl' ? ['-e', options.text] : ['-c', options.text, 'cahier']),
    ]
    words.push(this.token, String(this.lease), String(options.grace ?? 2))
    const command = options.before === undefined ? words : ['sh', '-c', `${options.before}; exec "$@"`, 'sh', ...words]
    this.root = this.#spawn(command)
    this.#link = this.root
    this.root.once('exit', () => (this.#exited = true))
    this.#listen(this.root)
  }

  get exited(): boolean {
    return this.#exited
  }

  #spawn(words: readonly string[]): Child {
    const [name, ...rest] = words as [string, ...string[]]
    const [key, value] = this.trace.split('=') as [string, string]
    const path = this.program.path === undefined ? process.env['PATH'] : this.program.path
    const env = { ...process.env, [key]: value, TMPDIR: this.temporary, PATH: path, GONE: 'still here' }
    return spawn(name, rest, { stdio: ['pipe', 'pipe', 'inherit'], detached: true, env }) as Child
  }

  #listen(link: Child): void {
    let noise: Buffer | undefined = Buffer.alloc(0)
    link.stdin.on('error', () => {})
    link.stdout.on('error', () => {})
    link.stdout.on('data', (chunk: Buffer) => {
      if (link !== this.#link || (this.isCut && noise === undefined)) return
      if (noise === undefined) {
        this.#take(chunk)
        return
      }
      noise = Buffer.concat([noise, chunk])
      const found = new RegExp(`\\nH 0 (\\d+) ${this.token}\\n`).exec(noise.toString('latin1'))
      if (found === null) return
      const start = found.index + found[0].length
      const end = start + Number(found[1])
      if (noise.length < end) return
      const [version, kind, pid, received, ...directory] = noise.toString('utf8', start, end).split(' ')
      this.hello = {
        version: Number(version),
        kind: `${kind}`,
        pid: Number(pid),
        received: Number(received),
        directory: directory.join(' '),
      }
      this.hellos += 1
      if (this.hellos > 1) this.#sendAgain()
      const rest = noise.subarray(end)
      noise = undefined
      this.#take(rest)
    })
  }

  #take(chunk: Buffer): void {
    const part = chunk.subarray(0, Math.max(0, this.cutAt - this.have))
    this.have += part.length
    this.#buffer = Buffer.concat([this.#buffer, part])
    this.#parse()
    if (this.have >= this.cutAt) this.cut()
    else if (this.lease > 0 && this.acknowledges && this.have - this.#acknowledged >= ACKNOWLEDGE_EVERY) this.acknowledge()
  }

  acknowledge(): void {
    this.#acknowledged = this.have
    this.request('a', 0, String(this.have))
  }

  #parse(): void {
    for (;;) {
      const line = this.#buffer.indexOf(0x0a)
      if (line < 0) return
      const header = this.#buffer.toString('latin1', 0, line)
      const found = /^([A-Za-z]) (\d+) (\d+) (\S+)$/.exec(header)
      if (found === null || found[4] !== this.token) {
        this.failure ??= new Error(`not a frame: ${JSON.stringify(header.slice(0, 200))}`)
        return
      }
      const end = line + 1 + Number(found[3])
      if (this.#buffer.length < end) return
      const frame = { type: found[1] as string, id: Number(found[2]), payload: Buffer.from(this.#buffer.subarray(line + 1, end)) }
      this.#buffer = this.#buffer.subarray(end)
      if (frame.type === 'O' || frame.type === 'E') {
        const key = `${frame.type}${frame.id}`
        const list = this.#outputs.get(key)
        if (list === undefined) this.#outputs.set(key, [frame.payload])
        else list.push(frame.payload)
      } else this.frames.push(frame)
    }
  }

  async #wait(what: string, check: () => boolean): Promise<void> {
    await until(what, () => this.failure !== undefined || check())
    if (this.failure !== undefined) throw this.failure
  }

  async greeted(): Promise<this> {
    await this.#wait('the runner says hello', () => this.hello !== undefined)
    return this
  }

  output(id: number, stream: 'O' | 'E' = 'O'): Buffer {
    return Buffer.concat(this.#outputs.get(`${stream}${id}`) ?? [])
  }

  outputBytes(id: number, stream: 'O' | 'E' = 'O'): number {
    return (this.#outputs.get(`${stream}${id}`) ?? []).reduce((sum, part) => sum + part.length, 0)
  }

  of(type: string, id: number): Frame[] {
    return this.frames.filter((frame) => frame.type === type && frame.id === id)
  }

  /** The n-th frame of a type about a command, as text. */
  async said(type: string, id: number, count = 1): Promise<string> {
    await this.#wait(`${type} ${id} is said`, () => this.of(type, id).length >= count)
    return (this.of(type, id)[count - 1] as Frame).payload.toString('latin1')
  }

  async printed(id: number, text: string, stream: 'O' | 'E' = 'O'): Promise<void> {
    await this.#wait(`${id} prints ${text}`, () => this.output(id, stream).includes(text))
  }

  /** How a command ended, when nothing of it comes any more: code, signal, and how many streams were held open at first. */
  async ended(id: number): Promise<{ code: number; signal: number; open: number }> {
    const [code, signal, open] = (await this.said('X', id)).split(' ').map(Number) as [number, number, number]
    if (open > 0) await this.said('z', id, open)
    return { code, signal, open }
  }

  async tree(id: number): Promise<number[]> {
    const text = await this.ask('t', id, 'T')
    return text === '' ? [] : text.split(' ').map(Number)
  }

  async ping(): Promise<void> {
    await this.ask('p', 0, 'P')
  }

  async ask(type: string, id: number, answer: string): Promise<string> {
    const before = this.of(answer, id).length
    this.request(type, id)
    return this.said(answer, id, before + 1)
  }

  start(id: number, start: Start): void {
    const set = Object.entries({ CAHIER_PROC: `proc-${this.token}-${id}`, ...start.set }).map(([name, value]) => `${name}=${value}`)
    if (this.program.kind === 'perl') {
      const fields: Buffer[] = []
      const field = (key: string, value: string | Buffer = ''): void => {
        const bytes = Buffer.from(value as string)
        const head = Buffer.alloc(5)
        head.write(key, 0, 'latin1')
        head.writeUInt32BE(bytes.length, 1)
        fields.push(head, bytes)
      }
      for (const word of start.words) field('a', word)
      for (const text of set) field('e', text)
      for (const name of start.unset ?? []) field('u', name)
      if (start.cwd !== undefined) field('d', start.cwd)
      if (start.text !== undefined) field('t', start.text)
      if (start.pipe === true) field('p')
      if (start.files !== undefined) {
        field('o', start.files.out)
        field('r', start.files.err)
        if (start.files.append === true) field('A')
      }
      if (start.detach === true) field('D')
      this.request('s', id, Buffer.concat(fields))
      return
    }
    const head = [start.files?.out ?? '', start.files?.err ?? '', start.files?.append === true ? '1' : '', start.detach === true ? '1' : '']
    head.push(start.cwd ?? '', start.text === undefined ? '' : String(start.text.length), start.pipe === true ? '1' : '')
    head.push((start.unset ?? []).join(' '), ...set, '--')
    const words = [...head, ...start.words].map((word) => quote(Buffer.from(word as string).toString('latin1')))
    this.send(Buffer.concat([Buffer.from(`s ${id} ${words.join(' ')}\n`, 'latin1'), start.text ?? Buffer.alloc(0)]))
  }

  write(id: number, bytes: Buffer): void {
    if (this.program.kind === 'perl') this.request('w', id, bytes)
    else this.send(Buffer.concat([Buffer.from(`w ${id} ${bytes.length}\n`), bytes]))
  }

  /** A request without bytes of its own. */
  request(type: string, id: number, payload: string | Buffer = ''): void {
    this.send(this.encode(type, id, payload))
  }

  encode(type: string, id: number, payload: string | Buffer = ''): Buffer {
    const bytes = Buffer.from(payload as string)
    if (this.program.kind === 'perl') {
      const head = Buffer.alloc(9)
      head.writeUInt32BE(bytes.length, 0)
      head.write(type, 4, 'latin1')
      head.writeUInt32BE(id, 5)
      return Buffer.concat([head, bytes])
    }
    const words = type === 'a' ? [type, bytes.toString()] : 'pq'.includes(type) ? [type] : [type, String(id), bytes.toString()]
    return Buffer.from(`${words.join(' ').trimEnd()}\n`)
  }

  send(bytes: Buffer): void {
    this.#requests.push(bytes)
    if (!this.isCut) this.#link.stdin.write(bytes)
  }

  /** Writes without counting: for a request that a cut divides. */
  sendPart(bytes: Buffer): void {
    this.#link.stdin.write(bytes)
  }

  /** The network goes away: nothing comes and nothing leaves. */
  cut(): void {
    this.isCut = true
    // As a server would that has noticed: both directions end.
    this.#link.stdin.end()
    this.#link.stdout.destroy()
  }

  /** The client falls silent, and nobody closes anything. */
  freeze(): void {
    this.isCut = true
    this.#link.stdout.pause()
  }

  async resume(): Promise<void> {
    const { pid, directory } = this.hello as NonNullable<RawRunner['hello']>
    const text = readFileSync(join(assets, this.program.kind === 'perl' ? 'relay.pl' : 'relay.sh'), 'utf8')
    const interpreter = this.program.kind === 'perl' ? ['perl', '-e'] : [...this.program.command, '-c']
    const name = this.program.kind === 'perl' ? [] : ['cahier']
    const place = directory === '' ? join(this.temporary, `cahier-${this.token}`) : directory
    this.#link = this.#spawn([...interpreter, text, ...name, String(pid), place])
    this.cutAt = Number.POSITIVE_INFINITY
    const hellos = this.hellos
    this.#listen(this.#link)
    this.#link.stdin.write(this.encode('a', 0, String(this.have)))
    await this.#wait('the runner says hello again', () => this.hellos > hellos)
  }

  /** What the runner lacks, before anything new. */
  #sendAgain(): void {
    const all = Buffer.concat(this.#requests)
    const received = this.hello?.received ?? 0
    if (received > all.length) this.failure = new Error(`${received} bytes of requests were taken, but only ${all.length} were sent`)
    this.isCut = false
    this.#link.stdin.write(all.subarray(received))
  }

  /** End of standard input. */
  hangUp(): void {
    this.#link.stdin.end()
  }

  /** Signs of life, until one calls what it gives. */
  beat(): () => void {
    this.request('p', 0)
    const timer = setInterval(() => this.request('p', 0), 200)
    return () => clearInterval(timer)
  }

  /** As if nothing had come after so many bytes, the end of a frame. */
  lose(have: number): void {
    this.have = have
    this.#buffer = Buffer.alloc(0)
    this.frames.length = 0
    this.#outputs.clear()
  }

  /** Waits until the runner itself knows that its link is gone. */
  async missesLink(): Promise<void> {
    const folder = `/proc/${this.root.pid}/fd`
    const misses = (): boolean => (this.program.kind === 'perl' ? readlinkSync(`${folder}/0`) === '/dev/null' : !existsSync(`${folder}/4`))
    await this.#wait('the runner misses its link', misses)
  }

  /** Processes of the runner and of its commands. */
  left(): number[] {
    return carriersOf(this.trace).filter((pid) => !this.spared.includes(pid) && isAlive(pid))
  }

  async gone(): Promise<void> {
    await this.#wait('the runner has ended', () => this.#exited)
  }

  /** Whatever happened in a test: nothing of it stays. */
  async destroy(): Promise<void> {
    killCarriers(this.trace)
    await until('everything has ended', () => carriersOf(this.trace).every((pid) => !isAlive(pid)), 50)
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`).replaceAll('\n', `'"$_nl"'`)}'`
}

export function inPath(name: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => existsSync(join(folder, name)))
}

/** Resolves when a runner has carried the line of a command. */
export function lineOf(output: Readable, line: string): Promise<void> {
  let said = ''
  return new Promise((resolve) =>
    output.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
      if (said.includes(`${line}\n`)) resolve()
    }),
  )
}

/** Ends all processes that have this in their environment. */
export function killCarriers(entry: string): void {
  for (const pid of carriersOf(entry)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It went by itself.
    }
  }
}
