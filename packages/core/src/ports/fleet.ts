import type { ProcessError } from '../errors.js'
import type { Connection, ConnectionOptions } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { OutputStream, ProcessBackend } from './process-backend.js'
import type { Transfer } from './transfer.js'

/** How a command on a channel ended. */
export interface CommandEnd {
  readonly exitCode: number | undefined
  /** Name with SIG in front. */
  readonly signal: NodeJS.Signals | undefined
  /** Set when the host went away before the command had ended: then nobody knows how it ended. */
  readonly lost: ProcessError | undefined
}

/** One command on a host. Output that nobody listens to is thrown away, never kept. */
export interface CommandChannel {
  /** Given once, in the turn in which the channel was had. */
  listen(onData: (stream: OutputStream, chunk: Buffer) => void): void
  /** Resolves when there is room for more; rejects with ProcessError `E_STDIN` when nobody reads any more. */
  write(data: Uint8Array): Promise<void>
  /** End of file on its stdin. */
  end(): void
  /** No more output is read until `resume`. */
  pause(): void
  resume(): void
  /** Always resolves, after the last output was handed over. */
  readonly closed: Promise<CommandEnd>
  /** The same as `closed` when it can tell an exit code from a signal; absent where only a shell can say how a command ended. */
  readonly exited?: Promise<Pick<CommandEnd, 'exitCode' | 'signal'>>
  /** Lets go at once. What runs there is not ended by it, but its stdin is at its end. */
  close(): void
}

/** A host that a tool reaches by its own means. */
export interface HostWay {
  /** Resolves when the host is lost, with the reason. */
  readonly lost: Promise<ProcessError>
  /**
   * Hands a line to a POSIX shell there, in the home directory and in a process group of its own.
   *
   * @throws ProcessError when the host is lost
   */
  exec(command: string): Promise<CommandChannel>
}

/** Commands on several hosts that read the same input, which is given once. */
export interface CommonChannel {
  /** By member. What is written to one of them goes to that one only. */
  readonly channels: ReadonlyMap<number, CommandChannel>
  /** To all. Resolves when there is room for more. */
  write(data: Uint8Array): Promise<void>
  /** End of file for all. */
  end(): void
}

export interface FleetMember {
  readonly host: HostSpec
  readonly connection: Connection
}

/** Hosts that one tool reaches together. */
export interface Fleet extends AsyncDisposable {
  /** One for each member, in order; each settles by itself, and rejects with a ProcessError where a host cannot be reached. */
  readonly ways: readonly Promise<HostWay>[]
  /** Commands on some of the members that were reached. */
  together(commands: ReadonlyMap<number, string>): Promise<CommonChannel>
}

/** A tool that reaches many hosts at once. The hosts have perl. */
export interface FleetTool {
  /** For results: `taktuk`. */
  readonly name: string
  /**
   * Starts to reach hosts; returns at once. Leaving the fleet's scope ends what it started there.
   *
   * @throws ProcessError when the tool itself cannot be started; ConfigError for hosts that it cannot be given
   */
  launch(members: readonly FleetMember[], signal?: AbortSignal): Promise<Fleet>
}

/** How the system's ssh client is called for a host: every option resolved, host keys checked, nobody asked for anything. */
export interface SshClient {
  /** The program and its options, without the destination. */
  readonly words: readonly string[]
  readonly destination: string
  /** Says what the client's words mean that could not connect. */
  explain(said: string): ProcessError
  /** Says that a connection that stood is gone. */
  lost(why: string): ProcessError
}

/** What core makes of a tool that reaches hosts by its own means. */
export interface FleetKit {
  /** What was said of a connection, over the defaults of the program, complete. @throws ConfigError `E_ARGUMENT` */
  connection(options?: ConnectionOptions): Connection
  /** @throws ProcessError `E_SSH_CONFIG`; ConfigError `E_ARGUMENT` */
  sshClient(member: FleetMember): Promise<SshClient>
  /** Processes on a host: everything that a plain channel of ssh can do, a terminal excepted. */
  processes(way: Promise<HostWay>, member: FleetMember): ProcessBackend
  /** A whole transfer: walking, looking what is there, parts, checks, names, times. The tool only reaches hosts. */
  transfer(tool: FleetTool): Transfer
}
