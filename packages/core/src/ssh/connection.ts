import type { Duplex } from 'node:stream'
import type { ProcessError } from '../errors.js'
import type { OutputStream } from '../ports/process-backend.js'

/** Where and how to connect: every default resolved, the address rewritten, the ssh configuration asked. */
export interface SshTarget {
  /** As the user wrote it; for messages. */
  readonly name: string
  /** The name or address that is connected to. */
  readonly address: string
  readonly port: number
  readonly user: string
  /** Under which name its key is looked up, if not `address`. */
  readonly hostKeyAlias?: string | undefined
  readonly hostKeys: 'strict' | 'accept-new'
  readonly knownHostsFiles: readonly string[]
  /** Names are not to be read in the line of a new key (`HashKnownHosts`). */
  readonly hashKnownHosts?: boolean | undefined
  /** Private keys, tried in this order. Files that do not exist are passed over. */
  readonly keyFiles: readonly string[]
  readonly agent: string | undefined
  /** Only what `keyFiles` names is offered, also when the agent has more. */
  readonly identitiesOnly: boolean
  /** Hosts on the way, first hop first. */
  readonly jumps: readonly SshTarget[]
  readonly connectTimeoutMs: number
  readonly keepAliveMs: number
  /** For the system client: what it must be told besides; it reads its own configuration. */
  readonly openssh: { readonly configFile: string | false | undefined; readonly destination: string; readonly options: readonly string[] }
}

/** Asks the person who sits there. Absent, or answering undefined: nobody can be asked. */
export interface SshPrompts {
  /** @param secret - false when what is typed may be shown */
  ask?(question: { readonly target: string; readonly text: string; readonly secret: boolean }): Promise<string | undefined>
}

export interface ChannelEnd {
  readonly exitCode: number | undefined
  /** Name with SIG in front. */
  readonly signal: NodeJS.Signals | undefined
  /** Set when the connection went away before the command had ended: then nobody knows how it ended. */
  readonly lost: ProcessError | undefined
}

/** One command or subsystem on one connection. Output that nobody listens to is thrown away, never kept. */
export interface SshChannel {
  /** Given once, in the turn in which the channel was had. */
  listen(onData: (stream: OutputStream, chunk: Buffer) => void): void
  /** Resolves when there is room for more; rejects with ProcessError `E_STDIN` when nobody reads any more. */
  write(data: Uint8Array): Promise<void>
  /** End of file on its stdin. */
  end(): void
  /** No more output is read until `resume`: the other side is made to wait. */
  pause(): void
  resume(): void
  /** Always resolves, after the last output was handed over. */
  readonly closed: Promise<ChannelEnd>
  /**
   * Resolves when the command has ended, which may be before the end of its output when somebody else holds that open, and before the
   * last of it was handed over. Absent where only the end of the channel is seen; never resolves when that comes first.
   */
  readonly exited?: Promise<Pick<ChannelEnd, 'exitCode' | 'signal'>>
  /** Lets go at once. What runs on the other side is not ended by it. */
  close(): void
}

/** One login on one host. */
export interface SshConnection extends AsyncDisposable {
  readonly target: SshTarget
  readonly connector: 'ssh2' | 'openssh'
  /** Resolves when the connection went away without our asking. */
  readonly lost: Promise<ProcessError>
  /**
   * Hands the text to the login shell of the user there.
   *
   * @throws ProcessError `E_CONNECTION_LOST`, `E_HOST_DROPPED` when the server gives no more sessions
   */
  exec(command: string, options?: { readonly pty?: boolean; readonly signal?: AbortSignal | undefined }): Promise<SshChannel>
  /**
   * A session with a program that the server knows by this name, without a shell.
   *
   * @throws ProcessError as `exec`, and `E_NOT_SUPPORTED` when the server says at once that it has none; else the channel ends
   */
  subsystem(name: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<SshChannel>
  /** A stream to `host:port` as seen from the other side. @throws ProcessError `E_FORWARD` */
  forwardOut(host: string, port: number): Promise<Duplex>
  /** Idle connections do not keep the program alive. */
  ref(): void
  unref(): void
}

/** Makes connections. Never more than one try: waiting and trying again is the pool's. */
export interface Connector {
  readonly kind: 'ssh2' | 'openssh'
  /**
   * @param via - the connection to the last host on the way, for a connector that wants it (`jumps` is not empty)
   * @param anew - also over a gateway of the connector's own that did not let us in a moment ago
   * @throws ProcessError `E_HOST_*` or `E_LOGIN_*`, whose message names the host and says what came back;
   * `data.retry` is true for what may go well a moment later (a dropped handshake)
   */
  connect(
    target: SshTarget,
    options: {
      readonly signal?: AbortSignal | undefined
      readonly via?: SshConnection | undefined
      readonly anew?: boolean | undefined
    },
  ): Promise<SshConnection>
}
