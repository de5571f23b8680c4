import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A folder of its own for one test. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-adapters-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function writeFiles(folder: string, files: Readonly<Record<string, string | object>>): void {
  for (const [name, content] of Object.entries(files)) {
    const file = join(folder, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
  }
}

/** The source of an adapter that carries its own idea of a schema, as one built with another copy of zod would. */
export function adapterSource({ name = 'pbs', api = 1, kind = 'scheduler' } = {}): string {
  return `
    const options = {
      shape: { queue: {}, project: {} },
      safeParse(value) {
        const unknown = Object.keys(value).filter((key) => !['queue', 'project'].includes(key))
        return unknown.length === 0
          ? { success: true, data: { queue: 'default', ...value } }
          : { success: false, error: { issues: [{ code: 'unrecognized_keys', keys: unknown, path: [], message: 'unknown' }] } }
      },
    }
    export default {
      api: ${api}, name: '${name}', kind: '${kind}', supports: { arrays: true }, options,
      create: (given, host) => ({ name: '${name}', given, host }),
    }`
}

/** Installs a package below a folder, as npm would. */
export function installPackage(
  folder: string,
  name: string,
  { manifest = {}, files = {} }: { manifest?: object; files?: Readonly<Record<string, string | object>> } = {},
): void {
  writeFiles(join(folder, 'node_modules', name), {
    'package.json': { name, version: '1.2.3', type: 'module', exports: './index.js', ...manifest },
    'index.js': adapterSource(),
    ...files,
  })
}

export const PBS = { cahier: { adapterApi: 1, provides: ['scheduler/pbs'] } }
