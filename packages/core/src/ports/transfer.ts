/** What became of one host's copy. */
export interface TransferResult {
  readonly host: string | undefined
  readonly outcome: 'copied' | 'failed' | 'canceled' | 'unreachable'
  readonly bytes: number
  readonly error?: string
}

export interface TransferRequest {
  readonly files: readonly string[]
  readonly to: string
  /** `undefined` stands for this machine. */
  readonly hosts: readonly (string | undefined)[]
  readonly signal?: AbortSignal | undefined
}

/**
 * Moves files.
 *
 * @remarks For adapters: one result per host, in host order; a file appears under its final name only when it is whole.
 */
export interface Transfer {
  put(request: TransferRequest): Promise<readonly TransferResult[]>
  get(request: TransferRequest): Promise<readonly TransferResult[]>
}
