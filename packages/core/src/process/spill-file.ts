import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OutputStream } from '../ports/process-backend.js'

let folder: Promise<string> | undefined

/** One folder per program, made when the first output does not fit in memory, removed when the program ends. */
function spillFolder(): Promise<string> {
  folder ??= mkdtemp(join(tmpdir(), 'cahier-output-')).then((path) => {
    process.on('exit', () => rmSync(path, { recursive: true, force: true }))
    return path
  })
  return folder
}

export function spillFileFor(to: string | false | undefined, marker: string, stream: OutputStream): (() => Promise<string>) | undefined {
  if (to === false) return undefined
  if (to !== undefined) return () => Promise.resolve(`${to}.${stream}`)
  return async () => join(await spillFolder(), `${marker}.${stream}`)
}
