import { type CampaignError, isCampaignError, TransferError } from '../errors.js'
import type { ReachedHost } from './mover.js'
import type { Place, RemoteSource } from './place.js'
import { ShellSession } from './shell/shell-session.js'

/**
 * What looks after files on a host: the agent in Python or in Perl, POSIX tools, or only the sftp server. The first that works is taken.
 */
export type FarKind = 'py' | 'pl' | 'sh' | 'sftp'

/** The files of a host, whatever looks after them there. */
export interface FarSide extends AsyncDisposable {
  readonly kind: FarKind
  readonly place: Place
  readonly source: RemoteSource
  /** When it was last heard of, in milliseconds of `performance.now`; absent where only what it answers is heard. */
  readonly heard?: (() => number) | undefined
}

/**
 * Starts what looks after the files of a host.
 *
 * @throws TransferError `E_AGENT` when nothing of the kinds can be had, ProcessError of the connection
 */
export async function openFarSide(reached: ReachedHost, kinds: readonly FarKind[], signal: AbortSignal): Promise<FarSide> {
  const agents = kinds.filter((kind) => kind === 'py' || kind === 'pl')
  let reason: CampaignError | undefined
  if (agents.length > 0) {
    try {
      return await openAgent(reached, agents, signal)
    } catch (error) {
      if (!isCampaignError(error) || error.code !== 'E_AGENT') throw error
      reason = error
    }
  }
  if (kinds.includes('sh') && (await hasShell(reached, signal))) {
    const { ShellPlace } = await import('./shell/shell-place.js')
    const { ShellSource } = await import('./shell/shell-source.js')
    return farSide('sh', new ShellPlace(reached), new ShellSource(reached))
  }
  if (kinds.includes('sftp')) {
    const { SftpClient } = await import('./sftp/sftp-client.js')
    const { SftpPlace } = await import('./sftp/sftp-place.js')
    const { SftpSource } = await import('./sftp/sftp-source.js')
    const client = await startFreely((until) => SftpClient.start(reached.pooled, { signal: until }), signal)
    return farSide('sftp', new SftpPlace(client), new SftpSource(client), { closing: client, heard: () => client.heard })
  }
  if (reason !== undefined) throw reason
  throw new TransferError('E_AGENT', `${reached.pooled.connection.target.name} runs neither python3, perl nor a POSIX shell for us`, {
    suggestions: ['For an account that gives only sftp: copy via sftp'],
  })
}

async function openAgent(reached: ReachedHost, kinds: readonly ('py' | 'pl')[], signal: AbortSignal): Promise<FarSide> {
  const { HostAgent } = await import('./agent/host-agent.js')
  const { AgentPlace } = await import('./agent/agent-place.js')
  const { AgentSource } = await import('./agent/agent-source.js')
  const agent = await HostAgent.start(reached, { signal, kinds })
  return farSide(agent.kind, new AgentPlace(agent), new AgentSource(agent), { closing: agent, heard: () => agent.heard })
}

/** The signal ends the start and not what was started: whoever gives up has to tidy up with it. */
async function startFreely<T>(start: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
  const controller = new AbortController()
  const onAbort = (): void => controller.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  try {
    return await start(controller.signal)
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** An account that is given a program whatever it asks for has none. */
async function hasShell({ pooled }: ReachedHost, signal: AbortSignal): Promise<boolean> {
  try {
    const session = await ShellSession.start(pooled, 'exit 0', () => {}, { signal })
    session.end()
    await session.closed
    return true
  } catch (error) {
    if (isCampaignError(error) && error.code === 'E_HOST_PROTOCOL') return false
    throw error
  }
}

function farSide(
  kind: FarKind,
  place: Place,
  source: RemoteSource,
  { closing, heard }: { readonly closing?: AsyncDisposable; readonly heard?: () => number } = {},
): FarSide {
  return {
    kind,
    place,
    source,
    heard,
    [Symbol.asyncDispose]: async () => {
      await Promise.allSettled([place[Symbol.asyncDispose](), source[Symbol.asyncDispose]()])
      await closing?.[Symbol.asyncDispose]()
    },
  }
}
