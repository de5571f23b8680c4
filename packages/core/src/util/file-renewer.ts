import { Worker } from 'node:worker_threads'

/** Why a file is not ours any more. `silent`: it could not be written for longer than the lease. */
export type RenewalLoss = 'taken' | 'removed' | 'silent'

export interface Renewal {
  readonly path: string
  /** What the file holds as long as it is ours; written again at each beat, so that the file server sets its time. */
  readonly content: string
  readonly everyMs: number
  readonly leaseMs: number
  readonly onLost: (why: RenewalLoss) => void
}

/**
 * Runs in a worker thread, because a controller that parses a gigabyte must not lose its lease meanwhile. It opens the file
 * first and compares then: after a takeover by rename it holds the old file and can do no harm.
 */
const PROGRAM = `
const fs = require('node:fs')
const { parentPort } = require('node:worker_threads')
const timers = new Map()
function beat(job) {
  try {
    const file = fs.openSync(job.path, 'r+')
    try {
      if (fs.readFileSync(file, 'utf8') !== job.content) return end(job, 'taken')
      fs.writeSync(file, job.content, 0)
      fs.fsyncSync(file)
    } finally { fs.closeSync(file) }
    job.last = performance.now()
  } catch (error) {
    if (error.code === 'ENOENT') return end(job, 'removed')
    if (performance.now() - job.last > job.leaseMs) end(job, 'silent')
  }
}
function end(job, why) {
  clearInterval(timers.get(job.id))
  timers.delete(job.id)
  parentPort.postMessage({ id: job.id, why })
}
parentPort.on('message', (message) => {
  if (message.stop !== undefined) {
    clearInterval(timers.get(message.stop))
    timers.delete(message.stop)
    parentPort.postMessage({ id: message.stop })
    return
  }
  const job = { ...message, last: performance.now() }
  timers.set(job.id, setInterval(() => beat(job), job.everyMs))
})
`

let worker: Worker | undefined
let nextId = 1
const renewals = new Map<number, Renewal>()
const stopped = new Map<number, () => void>()

function openWorker(): Worker {
  const opened = new Worker(PROGRAM, { eval: true, execArgv: [], stdin: false })
  opened.unref()
  opened.on('message', ({ id, why }: { id: number; why?: RenewalLoss }) => {
    const renewal = renewals.get(id)
    renewals.delete(id)
    if (why === undefined) stopped.get(id)?.()
    else renewal?.onLost(why)
    stopped.delete(id)
    if (renewals.size === 0 && stopped.size === 0) closeWorker(opened)
  })
  // a thread that died renews nothing: whoever relies on it must hear so
  opened.on('error', () => loseAll(opened))
  opened.on('exit', () => loseAll(opened))
  return opened
}

function closeWorker(which: Worker): void {
  if (worker === which) worker = undefined
  void which.terminate()
}

function loseAll(which: Worker): void {
  if (worker !== which) return
  worker = undefined
  const all = [...renewals.values()]
  renewals.clear()
  for (const done of stopped.values()) done()
  stopped.clear()
  for (const renewal of all) renewal.onLost('silent')
}

/**
 * Writes a file again and again from a worker thread (one for the whole process, started at the first call).
 *
 * @returns stops it; resolves when no further beat can happen, so that the file may be removed or replaced
 */
export function renewFile(renewal: Renewal): () => Promise<void> {
  const id = nextId++
  renewals.set(id, renewal)
  worker ??= openWorker()
  const { path, content, everyMs, leaseMs } = renewal
  worker.postMessage({ id, path, content, everyMs, leaseMs })
  return () => {
    if (!renewals.delete(id) || worker === undefined) return Promise.resolve()
    const current = worker
    return new Promise<void>((resolve) => {
      current.ref()
      stopped.set(id, () => {
        current.unref()
        resolve()
      })
      current.postMessage({ stop: id })
    })
  }
}
