import { TransferError } from '../../errors.js'
import { byteName, readableName } from '../../util/byte-names.js'
import { decodeName, encodeManifest, encodeName, type Manifest } from '../manifest.js'
import type { Arrived, Committed, Found, Opened, OpenInput, Place } from '../place.js'
import { agentError, type HostAgent } from './host-agent.js'

const NEEDED: Found = { state: 'needed' }
const SAME: Found = { state: 'same' }

/** As the agent says it: only the source knows whether a digest is the right one. */
type Looked = Found | { readonly state: 'hashed'; readonly sha256: string }

/** The receiving side of a copy on a host that has an agent. It does not end the agent. */
export class AgentPlace implements Place {
  readonly #agent: HostAgent
  #input: OpenInput | undefined
  #isOver = false
  /** Files that are there with another digest. */
  #differing: readonly number[] = []

  constructor(agent: HostAgent) {
    this.#agent = agent
  }

  get ended(): Promise<Error | undefined> {
    return this.#agent.closed
  }

  async open(input: OpenInput, signal?: AbortSignal): Promise<Opened> {
    if (this.#input !== undefined) throw new Error('this place is open')
    const { manifest, policy, partsId, directory, seed } = input
    const flags = `${policy.create ? 'c' : ''}${policy.checksum ? 'k' : ''}${policy.resume ? 'r' : ''}${seed === true ? 's' : ''}`
    // Set before the answer: who gives up meanwhile has to let go of what is being made there.
    this.#input = input
    const answer = await this.#agent.request(
      'open',
      [partsId, flags === '' ? '-' : flags, encodeName(byteName(directory))],
      encodeManifest(manifest),
      signal,
    )
    const [target = '', parts = '-'] = answer.words
    const looked = linesOf(answer.payload).map(parseFound)
    const found = await judge(looked, input.digest, signal)
    this.#differing = found.flatMap(({ state }, index) => (state === 'needed' && looked[index]?.state === 'hashed' ? [index] : []))
    if (found.length !== manifest.length) {
      throw new TransferError(
        'E_AGENT',
        `The agent on ${this.#agent.host} said something about ${found.length} of ${manifest.length} files`,
      )
    }
    const isNeeded = found.some(({ state }) => state === 'needed' || state === 'part')
    return { directory: decodeName(target), parts: parts === '-' || !isNeeded ? undefined : decodeName(parts), found }
  }

  async commit(arrived: readonly Arrived[], signal?: AbortSignal): Promise<Committed> {
    const { manifest } = this.#opened()
    const came = new Set(arrived.map(({ index }) => index))
    const differing = this.#differing.filter((index) => !came.has(index)).map((index) => `${index} differs\n`)
    const list = `${arrived.map(({ index, sha256 }) => `${index} ${sha256 ?? '-'}\n`).join('')}${differing.join('')}`
    const { words, payload } = await this.#agent.request('commit', [], list, signal)
    this.#isOver = true
    const failures = linesOf(payload).map((line) => {
      const [index = '', code = '', message = '%'] = line.split(' ')
      const error = agentError(code, message)
      return { file: readableName(nameOf(manifest, Number(index))), code: error.code, message: error.message }
    })
    return { files: Number(words[0]), failures, verified: words[1] === 'sha256' ? 'sha256' : 'size' }
  }

  async abandon({ keep }: { readonly keep: boolean }): Promise<void> {
    if (this.#input === undefined || this.#isOver) return
    this.#isOver = true
    // An agent that is gone keeps the parts.
    await this.#agent.request('abandon', [keep ? 'keep' : 'remove']).catch(() => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon({ keep: this.#input?.policy.resume ?? false })
  }

  #opened(): OpenInput {
    if (this.#input === undefined) throw new Error('this place is not open')
    return this.#input
  }
}

/** What has the size of a file, and its digest, is the same. */
async function judge(found: Looked[], digest: OpenInput['digest'], signal: AbortSignal | undefined): Promise<Found[]> {
  const judged: Found[] = []
  for (const [index, one] of found.entries()) {
    if (one.state !== 'hashed') {
      judged.push(one)
      continue
    }
    signal?.throwIfAborted()
    judged.push(digest !== undefined && (await digest(index)) === one.sha256 ? SAME : NEEDED)
  }
  return judged
}

function parseFound(line: string): Looked {
  const [state, first = '', second = '%'] = line.split(' ')
  if (state === 's') return SAME
  if (state === 'p') return { state: 'part', bytes: Number(first) }
  if (state === 'n') return NEEDED
  if (state === 'h') return { state: 'hashed', sha256: first }
  const { code, message } = agentError(first, second)
  return { state: 'impossible', code, message }
}

function linesOf(payload: Buffer): string[] {
  const lines = payload.toString('latin1').split('\n')
  if (lines.at(-1) === '') lines.pop()
  return lines
}

function nameOf(manifest: Manifest, index: number): string {
  return manifest[index]?.name ?? ''
}
