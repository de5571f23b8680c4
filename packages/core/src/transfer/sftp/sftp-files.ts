import { createHash } from 'node:crypto'
import { systemCodeOf, TransferError } from '../../errors.js'
import { type ByteName, byteName } from '../../util/byte-names.js'
import type { MoveFailure } from '../mover-parts.js'
import type { SftpClient } from './sftp-client.js'
import type { SftpAttributes } from './sftp-packets.js'

/** Read ahead, when a file is only read to know its digest. */
const READ_AHEAD = 8

/** @source draft-ietf-secsh-filexfer-02 section 5: the bits of `st_mode` of POSIX */
export function kindOf({ mode = 0 }: SftpAttributes): 'file' | 'directory' | 'link' | 'socket' | 'named pipe' | 'device' {
  switch (mode & 0o170_000) {
    case 0o100_000:
      return 'file'
    case 0o040_000:
      return 'directory'
    case 0o120_000:
      return 'link'
    case 0o140_000:
      return 'socket'
    default:
      return (mode & 0o170_000) === 0o010_000 ? 'named pipe' : 'device'
  }
}

/** What is there, itself or what it leads to; undefined when there is nothing. */
export async function look(client: SftpClient, path: ByteName, how: 'lstat' | 'stat'): Promise<SftpAttributes | undefined> {
  try {
    return await client[how](path)
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Absolute there: from the home directory, which is where a session begins. */
export async function absoluteThere(client: SftpClient, path: string | Uint8Array): Promise<ByteName> {
  const name = typeof path === 'string' ? byteName(path) : Buffer.from(path).toString('latin1')
  if (name.startsWith('/')) return cleaned(name)
  const home = await client.realpath('.')
  if (typeof path === 'string' && (name === '~' || name.startsWith('~/'))) return cleaned(`${home}/${name.slice(2)}`)
  return cleaned(`${home}/${name}`)
}

function cleaned(path: ByteName): ByteName {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  return `/${parts.join('/')}`
}

/** SHA-256 of a file there, which has to be read for it. */
export async function digestThere(client: SftpClient, path: ByteName): Promise<string> {
  const file = await client.open(path, ['read'])
  const hash = createHash('sha256')
  const asked: { readonly offset: number; readonly answer: Promise<Buffer | undefined> }[] = []
  const length = client.readChunk
  const ask = (offset: number): void => {
    const answer = client.read(file, offset, length)
    answer.catch(() => {})
    asked.push({ offset, answer })
  }
  try {
    let next = 0
    for (;;) {
      while (asked.length < READ_AHEAD) {
        ask(next)
        next += length
      }
      const { offset, answer } = asked.shift() as (typeof asked)[number]
      let data = await answer
      let done = 0
      for (
        ;
        data !== undefined && data.length > 0;
        data = done < length ? await client.read(file, offset + done, length - done) : undefined
      ) {
        hash.update(data)
        done += data.length
      }
      if (done < length) return hash.digest('hex')
    }
  } finally {
    await Promise.allSettled(asked.map(({ answer }) => answer))
    await client.close(file).catch(() => {})
  }
}

/** Why something could not be done at the target: version 3 has few words. */
export function faultThere(error: unknown, otherwise: MoveFailure): MoveFailure {
  switch (systemCodeOf(error)) {
    case 'EACCES':
      return { code: 'E_TARGET_DENIED', message: 'permission denied, or a read-only file system' }
    case 'ENOENT':
      return { code: 'E_TRANSFER', message: 'it, or the directory that it belongs into, is gone' }
    case 'EINVAL':
      return { code: 'E_TRANSFER', message: 'the file system does not take such a name' }
    default:
      return otherwise
  }
}

/** The same for something in a file system, which may say more: that it is full, or read-only. */
export async function faultIn(client: SftpClient, folder: ByteName, error: unknown): Promise<MoveFailure> {
  const room = systemCodeOf(error) === 'EFAILED' ? await client.room(folder).catch(() => undefined) : undefined
  if (room?.isReadOnly === true) return { code: 'E_TARGET_DENIED', message: 'the file system is read-only' }
  if (room !== undefined && (room.bytes < 4096 || room.files < 1)) return { code: 'E_TARGET_FULL', message: 'there is no room left' }
  return faultThere(error, { code: 'E_TRANSFER', message: 'the server does not say why' })
}

export function asTransferError({ code, message }: MoveFailure, what: string, cause: unknown): TransferError {
  return new TransferError(code as TransferError['code'], `${what}: ${message}`, { cause })
}
