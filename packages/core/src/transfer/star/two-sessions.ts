import { TransferError } from '../../errors.js'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import type { ReachedHost } from '../mover.js'

/** So often it is looked whether the server has refused the second one. */
const LOOK_MS = 100

interface Copies {
  running: number
  readonly waiting: (() => void)[]
}

const copies = new WeakMap<PooledConnection, Copies>()

/**
 * Resolves when a copy may begin. It takes one session, and later a second one: if all sessions of the connection were held by copies that
 * have their first, none would ever get its second.
 *
 * @returns its end lets the next one begin
 * @throws the reason of the signal
 */
export async function enterCopy({ pooled }: ReachedHost, signal: AbortSignal): Promise<Disposable> {
  const here = copies.get(pooled) ?? { running: 0, waiting: [] }
  copies.set(pooled, here)
  const hasRoom = (): boolean => here.running < Math.max(1, Math.floor(pooled.sessions / 2))
  signal.throwIfAborted()
  if (hasRoom() && here.waiting.length === 0) here.running += 1
  else await waitIn(here, signal)
  return {
    [Symbol.dispose]: () => {
      here.running -= 1
      while (here.waiting.length > 0 && hasRoom()) {
        here.running += 1
        here.waiting.shift()?.()
      }
    },
  }
}

async function waitIn({ waiting }: Copies, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const begin = (): void => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }
    const onAbort = (): void => {
      waiting.splice(waiting.indexOf(begin), 1)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    waiting.push(begin)
  })
}

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
