/** Why a transport ended, in words for a message. */
export interface TransportEnd {
  readonly reason: string
  /** What the other side said on its standard error, shortened; empty when nothing. */
  readonly stderr: string
  /** The exit code of what was to become the runner, when it is known: 126 and 127 mean that it could not be started. */
  readonly exitCode?: number | undefined
  /** Set when the connection under it went away. */
  readonly error?: { readonly code: string; readonly message: string } | undefined
}

export interface TransportListener {
  onData(chunk: Buffer): void
  /** Called once, after the last data. */
  onEnd(end: TransportEnd): void
}

/** The two directions of bytes between us and a runner, or a relay to one. */
export interface RunnerTransport {
  /** Called once, in the turn in which the transport was made. */
  listen(listener: TransportListener): void
  /** Keeps what cannot be written yet; writes after the end are dropped. */
  write(data: Uint8Array): void
  /** Reads no more until `resume`. */
  pause(): void
  resume(): void
  /** While something runs, the program must not end by itself. Begins unreferenced. */
  ref(): void
  unref(): void
  /** End of file for the runner; what it still says is read. */
  end(): void
  /** Lets go at once; `onEnd` is not called any more. */
  close(): void
}
