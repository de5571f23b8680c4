import { formatBytes } from '../units.js'

/** What is known without asking a host. */
export interface TransferFacts {
  readonly direction: 'put' | 'get'
  /** How many hosts; 0: everything is on this machine. */
  readonly hosts: number
  /** Content of all files, once. Only of `put`: of `get` it is not known before the hosts are asked. */
  readonly bytes?: number | undefined
  /** The caller wants hosts to pass it on, unless there is next to nothing to pass. */
  readonly broadcast?: boolean | undefined
}

export interface TransferChoice {
  readonly via: 'local' | 'sftp' | 'chain'
  /** In words, for people. */
  readonly why: string
}

/**
 * A chain is made when it spares this machine so many bytes, a second of a slow cable. To 8 hosts at 200 Mbit/s it was no slower than a star
 * from 10 kB on; but it wants hosts that reach each other, and below this nobody would notice the difference.
 */
export const CHAIN_SPARES_BYTES = 16_000_000
/** The same for who asked for a broadcast. */
export const BROADCAST_SPARES_BYTES = 1_000_000

/**
 * Chooses how files move.
 *
 * A star sends everything once to each host, through the one cable of this machine; a chain sends it once, and every host passes it on
 * while it comes in. So the choice depends on what the chain spares: the bytes to all hosts but one. The star is sftp: it goes on in the
 * middle of a file, and is no slower than scp.
 */
export function chooseTransfer({ direction, hosts, bytes, broadcast = false }: TransferFacts): TransferChoice {
  if (hosts === 0) return { via: 'local', why: 'everything is on this machine' }
  if (direction === 'get') return { via: 'sftp', why: hosts === 1 ? 'from one host' : `from ${hosts} hosts, each has files of its own` }
  if (hosts === 1) return { via: 'sftp', why: 'to one host' }
  const what = bytes === undefined ? 'files' : formatBytes(bytes)
  const spared = (bytes ?? 0) * (hosts - 1)
  const enough = broadcast ? BROADCAST_SPARES_BYTES : CHAIN_SPARES_BYTES
  if (spared >= enough) {
    return { via: 'chain', why: `${what} to ${hosts} hosts (sftp would send ${formatBytes((bytes ?? 0) * hosts)} from here)` }
  }
  return { via: 'sftp', why: `${what} to ${hosts} hosts, too little for a chain to be faster` }
}
