import { TransferError } from '../../errors.js'
import type { ReachedHost } from '../mover.js'

/** So often it is looked whether the server has refused the second one. */
const LOOK_MS = 100

/**
 * Does what needs a session beside the one that what looks after the files has. On a connection that never gives two, it would wait for
 * ever.
 *
 * @throws TransferError `E_NOT_SUPPORTED` as soon as that is known
 */
export async function withSecondSession<T>(
  { pooled }: ReachedHost,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const look = (): void => {
    if (pooled.sessions < 2) controller.abort(onlyOne(pooled.connection.target.name))
  }
  look()
  controller.signal.throwIfAborted()
  const timer = setInterval(look, LOOK_MS)
  try {
    return await work(AbortSignal.any([signal, controller.signal]))
  } catch (error) {
    controller.signal.throwIfAborted()
    throw error
  } finally {
    clearInterval(timer)
  }
}

function onlyOne(host: string): TransferError {
  const why = 'one for what looks after the files, one for their content'
  return new TransferError('E_NOT_SUPPORTED', `${host} gives one session at a time, and a copy needs two: ${why}`, {
    suggestions: ['Allow two: connection.sessions: 2 here, MaxSessions of at least 2 in its sshd_config'],
  })
}
