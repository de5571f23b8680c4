import { formatHost } from '../../src/model/host.js'
import type { TransferResult } from '../../src/model/transfer.js'
import type { Transfer, TransferCall, TransferRequest } from '../../src/ports/transfer.js'

export type Answer = Partial<TransferResult>

/** A transfer of the program: it moves nothing, says for each host what it was told to say, and remembers what it was asked. */
export class TellingTransfer implements Transfer {
  readonly name = 'telling'
  readonly supports = { put: true, get: true, resume: false, limit: false }
  readonly asked: { readonly direction: 'put' | 'get'; readonly request: TransferRequest }[] = []
  closed = 0
  readonly #answer: (host: string, call: TransferCall) => Answer | Promise<Answer>

  constructor(answer: (host: string, call: TransferCall) => Answer | Promise<Answer> = () => ({})) {
    this.#answer = answer
  }

  put(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    return this.#go('put', request, call)
  }

  get(request: TransferRequest, call: TransferCall = {}): Promise<readonly TransferResult[]> {
    return this.#go('get', request, call)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed += 1
  }

  #go(direction: 'put' | 'get', request: TransferRequest, call: TransferCall): Promise<readonly TransferResult[]> {
    this.asked.push({ direction, request })
    return Promise.all(
      request.ends.map(async ({ host }, index) => {
        const name = host === undefined ? undefined : formatHost(host)
        call.onProgress?.({ index, phase: 'connecting', bytes: 0, total: undefined })
        const answer = await this.#answer(name ?? '', call)
        const result = { ...GOOD, host: name, ...answer }
        call.onProgress?.({ index, phase: 'ended', bytes: result.bytes, total: result.bytes, result })
        return result
      }),
    )
  }
}

const GOOD = { outcome: 'done', bytes: 10, files: 1, same: 0, seconds: 0.5, verified: 'sha256', via: 'telling' } as const

export function failure(code: string, message = `it is ${code}`): Answer {
  return { outcome: 'failed', bytes: 0, files: 0, verified: 'none', error: { code, message } }
}
