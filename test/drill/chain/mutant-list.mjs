/** Rules of a chain, and how each is broken: files of the compiled packages, a text in each, what stands there instead. */
import { readFileSync } from 'node:fs'

/** In the agents, as they are sent. @param {readonly (readonly ['py' | 'pl', string, string])[]} changes */
function inAgents(...changes) {
  for (const [kind, from] of changes) {
    const text = readFileSync(new URL(`../../../packages/core/assets/agent.${kind}`, import.meta.url), 'utf8')
    if (!text.includes(from)) throw new Error(`agent.${kind} has no ${JSON.stringify(from)}`)
  }
  const replaced = changes.map(([, from, to]) => `.replace(${JSON.stringify(from)}, () => ${JSON.stringify(to)})`)
  return { file: 'transfer/agent/agent-program.js', from: "'utf8');", to: `'utf8')${replaced.join('')};` }
}

const takesEveryChunk = inAgents(
  ['py', 'if not same_bytes(tag, bytes(frame[12:HEAD])):', 'if False:'],
  ['pl', 'unless is_same(substr($$frame, 12, 32), tag($have, $length, $digest))', 'if 0'],
)
const waitsForNothing = {
  file: 'transfer/chain/chain-host.js',
  from: 'await stream.run.receive(',
  to: 'await new Promise((resolve) => setTimeout(resolve, 400));\nstream.run.receive(',
}
const trustsWhatIsToCome = inAgents(['py', 'set(self.order[:self.at]) if self.verified else set()', 'set(self.order)'])
const callsEverythingDone = {
  file: 'transfer/star/star-host.js',
  from: "failures.length > 0 ? 'failed' : copied.isSame",
  to: 'copied.isSame',
}

const ignoresDown = { file: 'transfer/chain/chain-run.js', from: 'this.#plan.down(epoch, fault, detail);', to: '' }
const neverGivesUp = { file: 'transfer/chain/plan-judge.js', from: 'if (why === undefined)', to: 'if (true)' }

export const MUTANTS = {
  'takes every chunk': [takesEveryChunk],
  'places files before they are whole': [waitsForNothing, trustsWhatIsToCome],
  'calls everything done': [callsEverythingDone],
  'plan ignores down': [ignoresDown],
  'plan never gives up': [neverGivesUp],
}
