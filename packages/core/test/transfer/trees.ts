import { createHash } from 'node:crypto'
import { lstatSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CopyOptions, type CopyPolicy, copyOptionsSchema } from '../../src/model/transfer.js'

export const policyOf = (options: CopyOptions = {}): CopyPolicy => copyOptionsSchema.parse(options)

/** A folder of this test file's own, and new ones in it. */
export class Scratch {
  readonly root = realpathSync(mkdtempSync(join(tmpdir(), 'cahier-test-')))
  #count = 0

  folder(): string {
    return mkdtempSync(join(this.root, `${++this.#count}-`))
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true })
  }
}

/** Latin-1 for a path of any bytes. */
export const bytesOf = (path: string): Buffer => Buffer.from(path, 'latin1')
export const latin1 = (text: string): string => Buffer.from(text).toString('latin1')

/** Everything below a directory that a copy has to keep, by name; times in whole microseconds. */
export function readTree(directory: string): Record<string, string> {
  const found: Record<string, string> = {}
  const walk = (path: string, name: string): void => {
    const stats = lstatSync(bytesOf(path), { bigint: true })
    const mode = (Number(stats.mode) & 0o7777).toString(8)
    const time = stats.mtimeNs / 1000n - (stats.mtimeNs < 0n && stats.mtimeNs % 1000n !== 0n ? 1n : 0n)
    if (stats.isSymbolicLink()) found[name] = `link ${time} ${readlinkSync(bytesOf(path), 'latin1')}`
    else if (stats.isFile()) {
      found[name] = `file ${mode} ${time} ${stats.size} ${createHash('sha256')
        .update(readFileSync(bytesOf(path)))
        .digest('hex')}`
    } else {
      found[name] = `directory ${mode} ${time}`
      for (const inner of readdirSync(bytesOf(path), 'latin1')) walk(`${path}/${inner}`, `${name}/${inner}`)
    }
  }
  for (const name of readdirSync(bytesOf(directory), 'latin1')) walk(`${directory}/${name}`, name)
  return found
}
