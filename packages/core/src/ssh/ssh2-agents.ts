import ssh2, { type BaseAgent, type ParsedKey, type SignCallback, type SigningRequestOptions } from 'ssh2'

/** How long a list of keys is good for: many hosts are reached at the same moment, and people add keys while a program runs. */
const FRESH_MS = 5000
/** An agent that has not listed its keys by then has none for us: it hangs, or is at the far end of a connection that died. */
const PATIENCE_MS = 5000

/** The agents of this program; the keys of one are asked for once for all hosts that are reached at the same moment. */
export class Agents {
  readonly #agents = new Map<string, { readonly agent: BaseAgent<ParsedKey>; keys?: Promise<readonly ParsedKey[]>; at: number }>()

  /** @returns the keys it holds, and what signs with them; an agent that cannot be asked holds none */
  async keys(socket: string): Promise<{ readonly agent: BaseAgent<ParsedKey>; readonly keys: readonly ParsedKey[] }> {
    let entry = this.#agents.get(socket)
    if (entry === undefined) {
      entry = { agent: ssh2.createAgent(socket) as BaseAgent<ParsedKey>, at: 0 }
      this.#agents.set(socket, entry)
    }
    if (entry.keys === undefined || performance.now() - entry.at > FRESH_MS) {
      entry.keys = listKeys(entry.agent)
      entry.at = performance.now()
    }
    return { agent: entry.agent, keys: await entry.keys }
  }
}

function listKeys(agent: BaseAgent<ParsedKey>): Promise<readonly ParsedKey[]> {
  return new Promise((resolve) => {
    // What came while this program itself stood still is read first.
    const late = setTimeout(() => setImmediate(resolve, []), PATIENCE_MS)
    agent.getIdentities((error, keys) => {
      clearTimeout(late)
      resolve(error == null ? ((keys ?? []) as ParsedKey[]) : [])
    })
  })
}

type Sign = (data: Buffer, hash: string | undefined) => Promise<Buffer | Error>

/**
 * One public key that is signed with only when the server would take it: ssh2 asks with the public half first, and for the signature of
 * an `agent` it waits.
 */
export class OneKey extends ssh2.BaseAgent<ParsedKey> {
  readonly #key: ParsedKey
  readonly #sign: Sign

  constructor(key: ParsedKey, sign: Sign) {
    super()
    this.#key = key
    this.#sign = sign
  }

  override getIdentities(done: (error: Error | undefined, keys?: ParsedKey[]) => void): void {
    done(undefined, [this.#key])
  }

  override sign(_key: ParsedKey, data: Buffer, options: SigningRequestOptions | SignCallback, callback?: SignCallback): void {
    const done = typeof options === 'function' ? options : callback
    void this.#sign(data, typeof options === 'function' ? undefined : options.hash).then((signature) => {
      if (signature instanceof Error) done?.(signature)
      else done?.(undefined, signature)
    })
  }
}

export function signWithAgent(agent: BaseAgent<ParsedKey>, key: ParsedKey): Sign {
  return (data, hash) =>
    new Promise((resolve) => {
      agent.sign(key, data, hash === undefined ? {} : { hash: hash as 'sha256' }, (error, signature) => {
        resolve(error ?? signature ?? new Error('the agent gave no signature'))
      })
    })
}
