import {
  type CommandChannel,
  type CommonChannel,
  ConfigError,
  type Fleet,
  type FleetKit,
  type FleetMember,
  type HostWay,
  isCampaignError,
  type Logger,
  type ProcessBackend,
  ProcessError,
  type RunningProcess,
  type SshClient,
  shellQuote,
} from '@cahier/core/spi'
import { piecesOf, TaktukChannel } from './channel.js'
import { isPlainName, renderCommandLine } from './command-line.js'
import type { TaktukOptions } from './options.js'
import {
  COMMAND_FAILED,
  CONNECTION_FAILED,
  LOST,
  NUMBERED,
  type Position,
  RecordReader,
  type StateRecord,
  type TaktukRecord,
} from './records.js'
import { markCommand } from './templates.js'
import { closeWords, execWords, inputWords, renderSet } from './words.js'

/** What is kept of the words of connectors and of taktuk itself, for messages. */
const MOST_SAID = 4_000
/** The hosts have so long to end what runs there when the tree is left. */
const LEAVE_MS = 8_000

export interface TreeNeeds {
  /** Of this machine: taktuk is started here. */
  readonly processes: ProcessBackend
  readonly kit: FleetKit
  readonly log: Logger
  readonly options: TaktukOptions
}

interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: ProcessError) => void
}

function makeDeferred<T>(): Deferred<T> {
  let resolve!: Deferred<T>['resolve']
  let reject!: Deferred<T>['reject']
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  // Not everybody asks what became of each host.
  promise.catch(() => {})
  return { promise, resolve, reject }
}

/** A host of the tree. */
class Branch {
  readonly client: SshClient
  readonly position: Position
  readonly way = makeDeferred<HostWay>()
  readonly lost = makeDeferred<ProcessError>()
  /** Known once the whole tree stands. */
  rank: number | undefined
  /** Why it cannot be used any more. */
  gone: ProcessError | undefined
  said = ''

  constructor(client: SshClient, position: Position) {
    this.client = client
    this.position = position
  }

  fail(error: ProcessError): void {
    if (this.gone !== undefined) return
    this.gone = error
    this.way.reject(error)
    this.lost.resolve(error)
  }
}

/** One run of taktuk: hosts that are reached over each other, and commands on them. */
export class TaktukTree implements Fleet {
  readonly ways: readonly Promise<HostWay>[]
  readonly #log: Logger
  readonly #branches: readonly (Branch | undefined)[]
  readonly #byPosition: ReadonlyMap<Position, Branch>
  readonly #channels = new Map<string, TaktukChannel>()
  #running: RunningProcess | undefined
  #lastChannel = 0
  #said = ''
  #holds = 0
  #held: Deferred<void> | undefined
  #isLeft = false

  /**
   * Starts taktuk and returns; hosts are reached meanwhile.
   *
   * @throws ProcessError `E_PROGRAM_NOT_FOUND` when taktuk is not installed here
   */
  static async launch(members: readonly FleetMember[], needs: TreeNeeds, signal?: AbortSignal): Promise<TaktukTree> {
    const { kit, options } = needs
    const clients = await Promise.all(
      members.map((member) =>
        kit
          .sshClient(member)
          .then(checkName)
          .catch((error: unknown) => {
            if (!isCampaignError(error)) throw error
            const { code, message, suggestions, data } = error
            return new ProcessError(code, message, { suggestions, data, cause: error })
          }),
      ),
    )
    const tree = new TaktukTree(clients, needs.log)
    const hosts = clients.flatMap((client, index) =>
      'words' in client
        ? [
            {
              connector: options.connector ?? connectorOf(client, options),
              destination: client.destination,
              connectTimeoutMs: (members[index] as FleetMember).connection.connectTimeout,
            },
          ]
        : [],
    )
    if (hosts.length > 0) await tree.#start(renderCommandLine(hosts, options), needs.processes, signal)
    return tree
  }

  private constructor(clients: readonly (SshClient | ProcessError)[], log: Logger) {
    this.#log = log
    let position = 0
    this.#branches = clients.map((client) => {
      if (!('words' in client)) return undefined
      position += 1
      return new Branch(client, position)
    })
    this.#byPosition = new Map(this.#branches.flatMap((branch) => (branch === undefined ? [] : [[branch.position, branch]])))
    this.ways = this.#branches.map((branch, index) => {
      const way = branch?.way.promise ?? Promise.reject(clients[index])
      way.catch(() => {})
      return way
    })
  }

  async #start(words: readonly string[], processes: ProcessBackend, signal: AbortSignal | undefined): Promise<void> {
    const reader = new RecordReader((record) => this.#take(record))
    let isReadable = true
    const onOutput = (stream: 'stdout' | 'stderr', chunk: Uint8Array): unknown => {
      const data = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      if (stream === 'stderr') this.#note(data.toString('utf8'))
      else if (isReadable) {
        try {
          reader.push(data)
        } catch (error) {
          isReadable = false
          this.#note((error as Error).message)
          this.#running?.kill({ signal: 'SIGKILL' })
        }
      }
      return this.#held?.promise
    }
    const command = words as [string, ...string[]]
    const spec = { command, stdin: 'pipe' as const, keepBytes: 0, spillTo: false as const }
    const running = await processes.start(spec, { onOutput, signal })
    this.#running = running
    const over = running.result.then(({ outcome, exitCode, error }) => {
      const what = error?.message ?? `taktuk ended (${outcome}${exitCode === undefined ? '' : `, exit code ${exitCode}`})`
      const said = this.#said.trim().slice(-500)
      this.#loseAll(`${what}${said && `, saying ${JSON.stringify(said)}`}`)
      return { outcome, error }
    })
    if (running.pid !== undefined) return
    const { outcome, error } = await over
    if (outcome === 'canceled') throw new ProcessError('E_ABORTED', 'taktuk was given up before it was started')
    if (error?.code !== 'E_PROGRAM_NOT_FOUND')
      throw new ProcessError('E_HELPER', `taktuk could not be started: ${error?.message ?? outcome}`)
    throw new ProcessError('E_PROGRAM_NOT_FOUND', 'taktuk is not installed on this machine', {
      suggestions: ['Install it: apt-get install taktuk', 'Or take another way, that needs nothing installed: via chain'],
    })
  }

  async together(commands: ReadonlyMap<number, string>): Promise<CommonChannel> {
    const id = this.#nextChannel()
    const channels = new Map<number, TaktukChannel>()
    for (const [member, command] of commands) channels.set(member, this.#openOrLost(member, id, command))
    const ranks = (): number[] =>
      [...channels].flatMap(([member, channel]) => (channel.isOpen ? [this.#branches[member]?.rank ?? []].flat() : []))
    return {
      channels,
      write: async (data) => {
        for (const piece of piecesOf(data)) {
          const open = ranks()
          if (open.length === 0) throw new ProcessError('E_STDIN', 'Nobody reads there any more')
          await this.#write(inputWords(renderSet(open), id, piece))
        }
      },
      end: () => {
        const open = ranks()
        if (open.length > 0) this.#send(closeWords(renderSet(open), id))
      },
    }
  }

  /** Ends what runs on the hosts, and taktuk. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isLeft = true
    const running = this.#running
    if (running === undefined) return
    for (const channel of this.#channels.values()) channel.end()
    this.#release(this.#holds)
    running.closeStdin()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(resolve, LEAVE_MS, 'late')
    })
    if ((await Promise.race([running.result, late])) === 'late') running.kill({ signal: 'SIGTERM', graceMs: 1_000 })
    clearTimeout(timer)
    await running.result
  }

  /** Of a host that went away since it was reached, a channel that says so: the others are not stopped by it. */
  #openOrLost(member: number, id: number, command: string): TaktukChannel {
    const branch = this.#branches[member]
    if (branch?.rank === undefined) throw new ProcessError('E_CONNECTION_LOST', 'This host is not reached')
    if (branch.gone === undefined) return this.#open(branch, id, command)
    const nothing = (): void => {}
    const channel = new TaktukChannel({ input: async () => {}, closeInput: nothing, hold: nothing, release: nothing })
    channel.takeLoss(branch.gone)
    return channel
  }

  #nextChannel(): number {
    this.#lastChannel += 1
    return this.#lastChannel
  }

  #open(branch: Branch, id: number, command: string): TaktukChannel {
    const set = `${branch.rank}`
    const key = `${branch.position}:${id}`
    const channel = new TaktukChannel({
      input: (data) => this.#write(inputWords(set, id, data)),
      closeInput: () => this.#send(closeWords(set, id)),
      hold: () => {
        this.#holds += 1
        this.#held ??= makeDeferred()
      },
      release: () => this.#release(1),
    })
    this.#channels.set(key, channel)
    void channel.closed.then(() => this.#channels.delete(key))
    this.#send(execWords(set, id, markCommand(id, Buffer.from(command).toString('latin1'))))
    return channel
  }

  #release(count: number): void {
    this.#holds -= count
    if (this.#holds > 0) return
    this.#held?.resolve()
    this.#held = undefined
  }

  async #write(words: Buffer): Promise<void> {
    if (this.#running === undefined) throw new ProcessError('E_STDIN', 'taktuk does not run')
    await this.#running.write(words)
  }

  /** What cannot be sent is known by the end of taktuk. */
  #send(words: Buffer): void {
    this.#write(words).catch(() => {})
  }

  #take(record: TaktukRecord): void {
    if (record.kind === 'stdout' || record.kind === 'stderr') {
      this.#channels.get(`${record.position}:${record.channel}`)?.takeOutput(record.kind, record.text)
    } else if (record.kind === 'status') {
      this.#channels.get(`${record.position}:${record.channel}`)?.takeStatus(record.status)
    } else if (record.kind === 'connector') {
      const peer = this.#byPosition.get(record.channel)
      if (peer !== undefined) peer.said = `${peer.said}${record.text.toString('utf8')}`.slice(-MOST_SAID)
    } else if (record.kind === 'message') {
      this.#note(record.text.toString('utf8'))
    } else if (record.kind === 'state') this.#takeState(record)
  }

  #takeState(record: StateRecord): void {
    const { position, code, rank, peer, given } = record
    if (code === NUMBERED) this.#takeRank(position, rank)
    else if (code === CONNECTION_FAILED) this.#takeFailure(position, peer)
    else if (code === COMMAND_FAILED) {
      const lost = new ProcessError('E_RUNNER', 'taktuk could not start a process on the host')
      this.#channels.get(`${position}:${record.channel}`)?.takeLoss(lost)
    } else if (code === LOST && peer !== undefined) {
      for (const one of [peer, ...given]) {
        const branch = this.#byPosition.get(one)
        if (branch === undefined) continue
        const said = branch.said.trim()
        const why = one === peer ? said || 'its connection ended' : 'the host over which it was reached is gone'
        this.#lose(branch, branch.client.lost(why))
      }
    }
  }

  #takeRank(position: Position, rank: number): void {
    const branch = this.#byPosition.get(position)
    if (branch === undefined || branch.gone !== undefined || branch.rank !== undefined) return
    branch.rank = rank
    branch.way.resolve({
      lost: branch.lost.promise,
      exec: async (command: string): Promise<CommandChannel> => {
        if (branch.gone !== undefined) throw branch.gone
        return this.#open(branch, this.#nextChannel(), command)
      },
    })
  }

  #takeFailure(from: Position, peer: Position | undefined): void {
    const branch = this.#byPosition.get(peer ?? -1)
    if (branch === undefined) return
    // The word that taktuk has for its own limit.
    const said = branch.said.replace(/^timeouted$/m, `ssh: connect to host ${branch.client.destination}: Connection timed out`)
    const error = branch.client.explain(said)
    const other = this.#byPosition.get(from)
    if (other === undefined) {
      this.#lose(branch, error)
      return
    }
    const askedFrom = other.client.destination
    const message = `${error.message} (asked from ${askedFrom}, which was to reach it)`
    const suggestions = [
      'Let only this machine connect to hosts: topology: flat',
      'Or let hosts reach each other: the same keys and ssh configuration there, or forwardAgent: true',
      ...error.suggestions,
    ]
    this.#lose(branch, new ProcessError(error.code, message, { suggestions, data: { ...error.data, askedFrom }, cause: error }))
  }

  #lose(branch: Branch, error: ProcessError): void {
    branch.fail(error)
    for (const [key, channel] of this.#channels) if (key.startsWith(`${branch.position}:`)) channel.takeLoss(error)
  }

  #loseAll(why: string): void {
    for (const branch of this.#byPosition.values()) this.#lose(branch, branch.client.lost(why))
    this.#release(this.#holds)
    if (!this.#isLeft) this.#log.warn({ why }, 'taktuk is gone')
  }

  #note(text: string): void {
    this.#said = `${this.#said}${text}`.slice(-MOST_SAID)
    this.#log.debug({ text: text.slice(0, 500) }, 'taktuk says')
  }
}

function connectorOf({ words }: SshClient, { forwardAgent }: TaktukOptions): string {
  return [...words, ...(forwardAgent ? ['-A'] : [])].map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : shellQuote(word))).join(' ')
}

/** @throws ConfigError `E_NOT_SUPPORTED` for a name that taktuk would take for several */
function checkName(client: SshClient): SshClient {
  if (isPlainName(client.destination)) return client
  throw new ConfigError('E_NOT_SUPPORTED', `taktuk cannot be given a host with the name ${JSON.stringify(client.destination)}`, {
    suggestions: ['Give it an alias in the ssh configuration'],
  })
}
