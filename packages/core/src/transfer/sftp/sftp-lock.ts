import { randomBytes } from 'node:crypto'
import { systemCodeOf } from '../../errors.js'
import type { ByteName } from '../../util/byte-names.js'
import { isOfThisProcess, LEASE_MS, LOCK_FILE, livenessOfLine, markOfLine, ownLine, RENEW_MS } from '../local/lock-line.js'
import { type SftpClient, SftpFailure } from './sftp-client.js'

/** Those of this process, and over which connection. */
const own = new Map<string, SftpClient>()

/**
 * Says that this program uses a folder of parts on a host, where nothing but files can be asked for: another program on this machine can be
 * looked at, one elsewhere is there as long as its file is renewed.
 */
export class SftpLock {
  readonly #client: SftpClient
  readonly #path: ByteName
  readonly #id: string
  readonly #timer: NodeJS.Timeout

  private constructor(client: SftpClient, path: ByteName, id: string) {
    this.#client = client
    this.#path = path
    this.#id = id
    own.set(id, client)
    this.#timer = setInterval(() => void this.#renew().catch(() => {}), RENEW_MS)
    this.#timer.unref()
  }

  /**
   * @returns undefined when somebody lives who uses it
   * @throws SftpFailure `ENOENT` when the folder went away, as that of another transfer that has just ended
   */
  static async take(client: SftpClient, folder: ByteName): Promise<SftpLock | undefined> {
    const path = `${folder}/${LOCK_FILE}`
    for (let tries = 0; tries < 3; tries += 1) {
      const id = randomBytes(6).toString('hex')
      if (await make(client, path, id)) return new SftpLock(client, path, id)
      const before = await readText(client, path)
      if (before === undefined) continue
      if (await isHeld(client, path, folder, before)) return undefined
      // Two may find the same dead one: only one of them gets it out of the way.
      const aside = `${path}.${id}`
      try {
        await client.move(path, aside)
      } catch (error) {
        if (!(error instanceof SftpFailure)) throw error
        continue
      }
      const taken = await readText(client, aside)
      if (taken !== before) {
        await client.move(aside, path).catch(() => client.remove(aside).catch(() => {}))
        return undefined
      }
      await client.remove(aside).catch(() => {})
    }
    return undefined
  }

  /** False when somebody else has it by now. */
  async isMine(): Promise<boolean> {
    return (await readText(this.#client, this.#path)) === ownLine(this.#id)
  }

  async release(): Promise<void> {
    clearInterval(this.#timer)
    own.delete(this.#id)
    const isMine = await this.isMine().catch(() => false)
    if (isMine) await this.#client.remove(this.#path).catch(() => {})
  }

  /** Its time is what others look at. */
  async #renew(): Promise<void> {
    if (!(await this.isMine())) return
    const file = await this.#client.open(this.#path, ['write'])
    await this.#client.write(file, 0, Buffer.from(ownLine(this.#id)))
    await this.#client.close(file)
  }
}

async function make(client: SftpClient, path: ByteName, id: string): Promise<boolean> {
  try {
    const file = await client.open(path, ['write', 'create', 'exclusive'], 0o600)
    await client.write(file, 0, Buffer.from(ownLine(id)))
    await client.close(file)
    return true
  } catch (error) {
    if (systemCodeOf(error) === 'EFAILED') return false
    throw error
  }
}

/** @returns undefined when it is not there */
async function readText(client: SftpClient, path: ByteName): Promise<string | undefined> {
  try {
    const file = await client.open(path, ['read'])
    try {
      return (await client.read(file, 0, 1000))?.toString('latin1') ?? ''
    } finally {
      await client.close(file).catch(() => {})
    }
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function isHeld(client: SftpClient, path: ByteName, folder: ByteName, text: string): Promise<boolean> {
  try {
    const liveness = livenessOfLine(text)
    // What this process held over a connection that is gone, nobody holds.
    if (liveness === 'alive' && isOfThisProcess(text)) return own.get(markOfLine(text))?.isEnded === false
    if (liveness !== 'elsewhere') return liveness === 'alive'
    const { mtime = 0 } = await client.stat(path)
    return (await clockThere(client, folder)) - mtime < LEASE_MS / 1000
  } catch (error) {
    // It was let go a moment ago.
    if (systemCodeOf(error) === 'ENOENT') return false
    throw error
  }
}

/** In seconds; the clocks of two machines are not compared. */
async function clockThere(client: SftpClient, folder: ByteName): Promise<number> {
  const path = `${folder}/clock-${process.pid}`
  const file = await client.open(path, ['write', 'create', 'empty'], 0o600)
  await client.close(file)
  const { mtime = 0 } = await client.stat(path)
  await client.remove(path).catch(() => {})
  return mtime
}
