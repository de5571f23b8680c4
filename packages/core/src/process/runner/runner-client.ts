import type { ProcessSpec } from '../../model/process.js'
import type { RunningProcess, StartOptions } from '../../ports/process-backend.js'
import type { SpawnWindow } from '../spawn-window.js'
import type { RunnerKind } from './runner-program.js'
import type { RunnerTransport, TransportEnd } from './transport.js'

/** What the runner said in its hello; what a relay needs to find it again. */
export interface RunnerPlace {
  readonly pid: number
  readonly directory: string
}

export interface RunnerLoss extends TransportEnd {
  /**
   * `runner`: there never was a hello, or it was of another version, or nonsense came: this runner cannot be had there, try the next
   * kind. `link`: it spoke before; `resume` may take it up again.
   */
  readonly what: 'runner' | 'link'
}

export interface RunnerClientOptions {
  readonly transport: RunnerTransport
  readonly kind: RunnerKind
  /** As given to the runner at its start; see `makeToken`. */
  readonly token: string
  /** As given to the runner; 0: it ends with its transport, and nothing can be resumed. */
  readonly leaseMs: number
  /** For results and messages; absent for this machine. */
  readonly host?: string
  /** Places for processes that run at once; default: 500 of its own. */
  readonly window?: SpawnWindow
  /** Names to set or (`undefined`) remove for every command, against what the runner inherited. Default: none. */
  readonly environment?: () => readonly (readonly [string, string | undefined])[]
  /**
   * The transport ended or spoke nonsense. With a lease, commands stay as they are until `resume` or `lose` is called: one of them must
   * be. Without a lease, everything was lost already.
   */
  readonly onLost: (loss: RunnerLoss) => void
}

/** Commands by number over one runner. */
export declare class RunnerClient {
  constructor(options: RunnerClientOptions)
  /** Resolves with the hello; rejects with ProcessError `E_RUNNER` (`E_HELPER` without a host) when there will be none. */
  readonly ready: Promise<RunnerPlace>
  /** No command runs and none is being started. */
  readonly idle: boolean
  /** Nothing can be started any more. */
  readonly lost: boolean
  /** Waits for a place and for the hello. Always resolves; `not-started`, `unreachable` and `canceled` are results. */
  start(spec: ProcessSpec, options?: StartOptions): Promise<RunningProcess>
  /** Goes on over a transport to a relay. Rejects with ProcessError `E_RUNNER`, and may then be called again. */
  resume(transport: RunnerTransport): Promise<void>
  /** Gives up: what runs, or was being started, becomes `unreachable` with this error. */
  lose(error: { readonly code: string; readonly message: string }): void
  /** The runner ends what is not detached, and itself. */
  close(): Promise<void>
}
