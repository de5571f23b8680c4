import { byteName, readableName } from '../../util/byte-names.js'
import { type Liveness, livenessOf, thisProcess } from '../../util/process-identity.js'
import { decodeName, encodeName } from '../manifest.js'

/** The file in a folder of parts that says who uses it. */
export const LOCK_FILE = 'lock'
/** So often who holds a folder of parts says that it lives, for those who cannot look at its process. */
export const RENEW_MS = 15_000
/** Whoever has said nothing for so long, by the clock of whoever keeps the files, is not there any more. */
export const LEASE_MS = 75_000

/**
 * What stands in the lock of this process, as docs/reference/chain.md says. It does not answer who asks: as long as the process lives,
 * somebody waits for the copy.
 *
 * @param mark - tells two holders in this process apart
 */
export function ownLine(mark: string): string {
  const { host, boot, pid, start, space } = thisProcess()
  return `${[encodeName(byteName(host)), boot, pid, start, space].map((word) => (word === '' ? '-' : word)).join(' ')} - ${mark}\n`
}

/** Whether the one who wrote a line is there; `elsewhere`: only the age of the lock can tell. */
export function livenessOfLine(line: string): Liveness {
  const here = thisProcess()
  const [host = '', boot = '', pid = '', start = '', space = ''] = line.trim().split(' ').map(known)
  // Containers and copies of a machine may have its boot, but not its name.
  if (!/^\d+$/.test(pid) || host !== encodeName(byteName(here.host))) return 'elsewhere'
  return livenessOf({ host: here.host, boot, pid: Number(pid), start, space })
}

/** Of a line whose writer is alive. */
export function isOfThisProcess(line: string): boolean {
  return line.split(' ')[2] === String(process.pid)
}

/** @returns empty when there is none, as that of an agent */
export function markOfLine(line: string): string {
  return line.trim().split(' ')[6] ?? ''
}

/** For messages: whose a line is; nothing when it cannot be read. */
export function holderOfLine(line: string): string {
  const [host = '', , pid = '', start] = line.trim().split(' ')
  return start === undefined ? '' : ` (process ${pid} on ${readableName(decodeName(host))})`
}

function known(word: string): string {
  return word === '-' ? '' : word
}
