import { randomBytes } from 'node:crypto'
import { closeSync, linkSync, lstatSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { systemCodeOf } from '../../errors.js'
import { withFile } from './local-check.js'
import { LEASE_MS, LOCK_FILE, livenessOfLine, ownLine, RENEW_MS } from './lock-line.js'

/** Says that this process uses a folder of parts. Who may take over what another has left: docs/reference/chain.md, Lock. */
export class PartsLock {
  readonly #path: Buffer
  readonly #line: string
  readonly #timer: NodeJS.Timeout

  private constructor(path: Buffer, line: string) {
    this.#path = path
    this.#line = line
    this.#timer = setInterval(() => this.#renew(), RENEW_MS)
    this.#timer.unref()
  }

  /** @returns the line of whoever lives and uses it, when there is one */
  static take(folder: Buffer): PartsLock | string {
    const path = inFolder(folder, LOCK_FILE)
    const mark = randomBytes(6).toString('hex')
    const line = ownLine(mark)
    const aside = inFolder(folder, `${LOCK_FILE}.${mark}`)
    let found = ''
    for (let tries = 0; tries < 3; tries += 1) {
      if (makeFile(path, line)) return new PartsLock(path, line)
      const text = readLock(path)
      if (text === undefined) continue
      found = text
      if (isLiving(text, path, aside)) return text
      // Two may find the same dead one: only one of them gets it out of the way.
      try {
        renameSync(path, aside)
      } catch {
        continue
      }
      const taken = readLock(aside)
      if (taken !== text) {
        putBack(aside, path)
        return taken ?? text
      }
      rmSync(aside, { force: true })
    }
    return found
  }

  /** False when somebody else has it by now. */
  isMine(): boolean {
    return readLock(this.#path) === this.#line
  }

  /** Lets go of it, if it is ours. */
  release(): void {
    clearInterval(this.#timer)
    if (this.isMine()) rmSync(this.#path, { force: true })
  }

  /** Its time is what others look at: written, it is that of whoever keeps the files. */
  #renew(): void {
    try {
      if (this.isMine()) withFile(this.#path, 'r+', (file) => writeSync(file, this.#line, 0))
    } catch (error) {
      if (systemCodeOf(error) === undefined) throw error
    }
  }
}

function makeFile(path: Buffer, line: string): boolean {
  let file: number
  try {
    file = openSync(path, 'wx', 0o600)
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST') return false
    throw error
  }
  try {
    writeSync(file, line)
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  return true
}

function putBack(aside: Buffer, path: Buffer): void {
  try {
    linkSync(aside, path)
  } catch {
    // Somebody else has it by now.
  }
  rmSync(aside, { force: true })
}

function readLock(path: Buffer): string | undefined {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return undefined
  }
}

function isLiving(line: string, path: Buffer, mark: Buffer): boolean {
  const liveness = livenessOfLine(line)
  return liveness === 'elsewhere' ? isYoung(path, mark) : liveness === 'alive'
}

/** @param mark - a file that may be made for it: the clocks of two machines are not compared */
function isYoung(path: Buffer, mark: Buffer): boolean {
  try {
    writeFileSync(mark, '', { mode: 0o600 })
    return lstatSync(mark).mtimeMs - lstatSync(path).mtimeMs < LEASE_MS
  } catch (error) {
    // It was let go a moment ago; what cannot be looked at is alive.
    return systemCodeOf(error) !== 'ENOENT'
  } finally {
    rmSync(mark, { force: true })
  }
}

function inFolder(folder: Buffer, name: string): Buffer {
  return Buffer.concat([folder, Buffer.from(`/${name}`)])
}
