import { formatBytes } from '../units.js'

/** What is known without asking a host. */
export interface TransferFacts {
  readonly direction: 'put' | 'get'
  /** How many hosts; 0: everything is on this machine. */
  readonly hosts: number
  /** Content of all files, once. Only of `put`: of `get` it is not known before the hosts are asked. */
  readonly bytes?: number | undefined
  /** How many files that is, as far as known. */
  readonly files?: number | undefined
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
 * A star asks for each file by itself, and a chain brings all in one stream: so many bytes more each file counts. 10,000 of them to 8 hosts
 * took sftp seven times as long; to one or two hosts, no longer.
 */
export const FILE_COUNTS_BYTES = 1_500

/**
 * Chooses how files move.
 *
 * A star sends everything once to each host, through the one cable of this machine; a chain sends it once, and every host passes it on
 * while it comes in. So the choice depends on what the chain spares: the bytes, and files, to all hosts but one. The star is sftp: it goes on in the
 * middle of a file, and is no slower than scp.
 */
export function chooseTransfer({ direction, hosts, bytes = 0, files = 0, broadcast = false }: TransferFacts): TransferChoice {
  if (hosts === 0) return { via: 'local', why: 'everything is on this machine' }
  if (direction === 'get') return { via: 'sftp', why: hosts === 1 ? 'from one host' : `from ${hosts} hosts, each has files of its own` }
  if (hosts === 1) return { via: 'sftp', why: 'to one host' }
  const enough = broadcast ? BROADCAST_SPARES_BYTES : CHAIN_SPARES_BYTES
  if (bytes * (hosts - 1) >= enough) {
    return { via: 'chain', why: `${formatBytes(bytes)} to ${hosts} hosts (sftp would send ${formatBytes(bytes * hosts)} from here)` }
  }
  if ((bytes + files * FILE_COUNTS_BYTES) * (hosts - 1) >= enough) {
    return { via: 'chain', why: `${formatBytes(bytes)} in ${files} files to ${hosts} hosts (sftp would bring each by itself)` }
  }
  return { via: 'sftp', why: `${formatBytes(bytes)} to ${hosts} hosts, too little for a chain to be faster` }
}
