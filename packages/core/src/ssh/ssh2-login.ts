import { basename } from 'node:path'
import ssh2, { type AnyAuthMethod, type ParsedKey, type Prompt } from 'ssh2'
import type { LoginAttempt } from './connect-errors.js'
import type { SshPrompts, SshTarget } from './connection.js'
import type { Identities, Identity } from './identities.js'
import { fingerprintOf } from './known-hosts.js'
import { type Agents, OneKey, signWithAgent } from './ssh2-agents.js'

/** What all logins of a program share. */
export interface LoginSources {
  readonly identities: Identities
  readonly agents: Agents
  /** One question at a time. Absent: nobody can be asked. */
  readonly ask: SshPrompts['ask']
}

/** What a login does to the connection that it is made on. */
export interface LoginWay {
  /** Stops the time limit as long as a person is asked. */
  hold<T>(question: Promise<T>): Promise<T>
  /** Nothing more can come of it. */
  giveUp(): void
}

interface Offer {
  readonly label: string
  readonly method: () => Promise<AnyAuthMethod | undefined>
}

/**
 * The login on one host: which method is tried next. Keys come first, those in the agent before those in files, as with ssh; then the
 * person is asked, once.
 */
export class Ssh2Login {
  readonly #target: SshTarget
  readonly #sources: LoginSources
  readonly #way: LoginWay
  readonly #tried: string[] = []
  readonly #passedOver: string[] = []
  readonly #asked = new Set<string>()
  #offers: Offer[] | undefined
  #methods: readonly string[] | undefined
  #needed: string | undefined
  #wrong = false

  constructor(target: SshTarget, sources: LoginSources, way: LoginWay) {
    this.#target = target
    this.#sources = sources
    this.#way = way
  }

  /** Heard from the server: what was tried was not enough. */
  refused(methods: readonly string[], partial: boolean): void {
    this.#methods = methods
    // what came last was right, and the server wants something more
    if (partial) {
      this.#tried.pop()
      this.#asked.clear()
      this.#wrong = false
    }
  }

  get attempt(): LoginAttempt {
    return {
      tried: this.#tried,
      passedOver: this.#passedOver,
      accepts: this.#methods ?? [],
      needed: this.#needed,
      wrong: this.#wrong,
    }
  }

  /** @returns undefined when nothing is left */
  async next(): Promise<AnyAuthMethod | undefined> {
    const username = this.#target.user
    this.#offers ??= await this.#listOffers()
    while (this.#accepts('publickey')) {
      const offer = this.#offers.shift()
      if (offer === undefined) break
      const method = await offer.method()
      if (method === undefined) continue
      this.#tried.push(offer.label)
      return method
    }
    // without a key to show the server must be asked what it takes
    if (this.#methods === undefined) return { type: 'none', username }
    if (this.#mayAsk('keyboard-interactive', 'an answer')) {
      return { type: 'keyboard-interactive', username, prompt: (...request) => void this.#answer(...request) }
    }
    if (this.#mayAsk('password', 'the password')) {
      const password = await this.#ask(`Password of ${username}@${this.#target.name}: `, true)
      if (password === undefined) this.#needed = 'the password'
      else return { type: 'password', username, password }
    }
    return undefined
  }

  #accepts(method: string): boolean {
    return this.#methods?.includes(method) ?? true
  }

  #mayAsk(method: string, what: string): boolean {
    if (!this.#accepts(method)) return false
    if (this.#asked.has(method) || this.#wrong) {
      this.#wrong = true
      return false
    }
    if (this.#needed !== undefined) return false
    if (this.#sources.ask === undefined) {
      this.#needed = what
      return false
    }
    this.#asked.add(method)
    return true
  }

  async #listOffers(): Promise<Offer[]> {
    const { agent: socket, keyFiles, identitiesOnly } = this.#target
    const { keys, passedOver } = this.#sources.identities.load(keyFiles)
    this.#passedOver.push(...passedOver.map(({ file, reason }) => `${file} (${reason})`))
    this.#passedOver.push(
      ...keys.filter((key) => key.certificate).map((key) => `${key.file}-cert.pub (a certificate, which needs the connector openssh)`),
    )
    const held = socket === undefined ? undefined : await this.#sources.agents.keys(socket)
    const inAgent = (key: Identity) => held?.keys.find((other) => other.getPublicSSH().equals(key.publicKey))
    const named = keys.map(inAgent).filter((key) => key !== undefined)
    const others = identitiesOnly ? [] : (held?.keys ?? []).filter((key) => !named.includes(key))
    return [
      ...[...named, ...others].map((key) => this.#offerHeld(key, signWithAgent(held!.agent, key))),
      // a key that needs a question comes after those that need none
      ...keys
        .filter((key) => !key.publicOnly && inAgent(key) === undefined)
        .sort((a, b) => Number(a.unlocked === undefined) - Number(b.unlocked === undefined))
        .map((key) => this.#offerFile(key)),
    ]
  }

  #offerHeld(key: ParsedKey, sign: ConstructorParameters<typeof OneKey>[1]): Offer {
    return {
      label: `${key.comment === '' ? key.type : key.comment} of the agent (${fingerprintOf(key.getPublicSSH())})`,
      method: () => Promise.resolve({ type: 'agent', username: this.#target.user, agent: new OneKey(key, sign) as never }),
    }
  }

  #offerFile(identity: Identity): Offer {
    const username = this.#target.user
    const known = identity.publicKey.length > 0
    return {
      label: known ? `${identity.file} (${fingerprintOf(identity.publicKey)})` : identity.file,
      method: async () => {
        const key = identity.unlocked ?? (known ? undefined : await this.#unlock(identity))
        if (key !== undefined) return { type: 'publickey', username, key }
        const shown = known ? ssh2.utils.parseKey(identity.publicKey) : undefined
        if (shown === undefined || shown instanceof Error) return undefined
        const sign = async (data: Buffer, hash: string | undefined): Promise<Buffer | Error> =>
          (await this.#unlock(identity))?.sign(data, hash) ?? new Error('locked')
        return { type: 'agent', username, agent: new OneKey(shown, sign) as never }
      },
    }
  }

  async #unlock(identity: Identity): Promise<ParsedKey | undefined> {
    const key = await this.#way.hold(identity.unlock())
    if (key === undefined) {
      this.#needed = `the passphrase of ${basename(identity.file)}`
      this.#tried.pop()
    }
    return key
  }

  #ask(text: string, secret: boolean): Promise<string | undefined> {
    const asked = this.#sources.ask?.({ target: this.#target.name, text, secret })
    return asked === undefined ? Promise.resolve(undefined) : this.#way.hold(asked)
  }

  /** The server may ask several times in a row, and for several things at once. Its words are shown as those of this host. */
  async #answer(title: string, text: string, _language: string, prompts: Prompt[], finish: (answers: string[]) => void): Promise<void> {
    const answers: string[] = []
    let heading = [title, text].filter((line) => line.trim() !== '').join('\n')
    for (const { prompt, echo } of prompts) {
      const words = heading === '' ? prompt : `${heading}\n${prompt}`
      const answer = await this.#ask(`(${this.#target.user}@${this.#target.name}) ${words}`, echo !== true)
      heading = ''
      if (answer === undefined) {
        this.#needed = `an answer to ${JSON.stringify(prompt.trim().slice(0, 80))}`
        // an empty answer would count as a wrong one there
        this.#way.giveUp()
        return
      }
      answers.push(answer)
    }
    finish(answers)
  }
}
