import type { ProcessSpec } from '../model/process.js'
import type { RunningProcess, StartOptions } from '../ports/process-backend.js'
import type { PooledConnection } from '../ssh/pooled-connection.js'
import { makeMarker, type StartError } from './command.js'
import { superviseChannel } from './plain-channel.js'

/** Words that every device takes for what they are. */
const PLAIN_WORD = /^[A-Za-z0-9_./:@%+,=-]+$/

/** What cannot be asked of a device that has no POSIX shell; `undefined` when all of it can. */
export function checkRaw(spec: ProcessSpec): StartError | undefined {
  const refuse = (what: string): StartError => ({ code: 'E_NOT_SUPPORTED', message: `With runner: 'raw', ${what}` })
  if (!('script' in spec.command)) {
    const odd = spec.command.find((word) => !PLAIN_WORD.test(word))
    if (odd !== undefined) {
      return refuse(`nobody knows how ${JSON.stringify(odd.slice(0, 200))} is quoted there; give the command as text, as you would type it`)
    }
  } else if (spec.command.shell !== undefined) return refuse('there is no shell to choose')
  if (spec.cwd !== undefined) return refuse('there is no working directory to choose')
  if (spec.env !== undefined && Object.keys(spec.env).length > 0) return refuse('there are no environment variables')
  if (spec.outputFiles !== undefined || spec.detach === true) return refuse('output cannot go to files there, and nothing can be detached')
  return undefined
}

/** Sends the text as it is. It is ended by closing its channel; what then becomes of it is for the device to say. */
export async function startRaw(pooled: PooledConnection, spec: ProcessSpec, options: StartOptions, host: string): Promise<RunningProcess> {
  const text = 'script' in spec.command ? spec.command.script : spec.command.join(' ')
  const channel = await pooled.exec(text, { pty: spec.pty === true, signal: options.signal })
  const { supervised, take } = superviseChannel({ channel, spec, marker: makeMarker(), options, host, pooled, leader: undefined })
  channel.listen(take)
  if (typeof spec.stdin === 'object') {
    const { text: input } = spec.stdin
    channel.write(typeof input === 'string' ? Buffer.from(input) : input).catch(() => {})
  }
  if (spec.stdin !== 'pipe') channel.end()
  return supervised
}
