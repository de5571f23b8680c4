import { deepStrictEqual, ok } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync } from 'node:fs'
import { chmod, lstat, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { type ByteName, byteName, pathBelow, readableName } from '../util/byte-names.js'
import type { TransferWorld } from './transfer-types.js'

/** One thing below a directory, as it is to be. What is left out does not matter. */
export type Thing =
  | { readonly kind: 'file'; readonly content: string | Uint8Array; readonly mode?: number; readonly timeMs?: number }
  | { readonly kind: 'directory'; readonly mode?: number; readonly timeMs?: number }
  | { readonly kind: 'link'; readonly target: ByteName }
  | { readonly kind: 'pipe' }

/** By name, relative to the directory, one character per byte. Directories above a thing are made and need not be named. */
export type Tree = Readonly<Record<ByteName, Thing>>

export const file = (content: string | Uint8Array, fields: { mode?: number; timeMs?: number } = {}): Thing => ({
  kind: 'file',
  content,
  ...fields,
})
export const directory = (fields: { mode?: number; timeMs?: number } = {}): Thing => ({ kind: 'directory', ...fields })
export const link = (target: string): Thing => ({ kind: 'link', target: byteName(target) })
export const pipe: Thing = { kind: 'pipe' }

/** The tree with every directory that its names speak of, in order: what is above comes first. */
function complete(tree: Tree): [ByteName, Thing][] {
  const all = new Map<ByteName, Thing>()
  for (const name of Object.keys(tree)) {
    const parts = name.split('/')
    parts.forEach((_, index) => {
      const above = parts.slice(0, index).join('/')
      if (above !== '' && !all.has(above)) all.set(above, tree[above] ?? directory())
    })
    all.set(name, tree[name] as Thing)
  }
  return [...all].sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Makes a tree below a directory that is there. */
export async function plant(root: string, tree: Tree): Promise<void> {
  const things = complete(tree)
  for (const [name, thing] of things) {
    const path = pathBelow(root, name)
    if (thing.kind === 'directory') await mkdir(path, { recursive: true })
    else if (thing.kind === 'file') await writeFile(path, thing.content)
    else if (thing.kind === 'link') await symlink(Buffer.from(thing.target, 'latin1'), path)
    else await promisify(execFile)('mkfifo', [path.toString()])
  }
  // What is inside comes before what is around it, whose time it would change.
  for (const [name, thing] of things.reverse()) {
    if (thing.kind !== 'file' && thing.kind !== 'directory') continue
    const path = pathBelow(root, name)
    if (thing.mode !== undefined) await chmod(path, thing.mode)
    // A date: Node takes a number before 1970 for now.
    if (thing.timeMs !== undefined) await utimes(path, new Date(thing.timeMs), new Date(thing.timeMs))
  }
}

interface Seen {
  readonly kind: string
  readonly content?: string
  readonly mode?: number
  readonly target?: string
  readonly timeMs?: number
}

/** Short text as it is, all else by its size and digest. */
function contentOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes)
  return text.length <= 64 ? text.toString('latin1') : `${text.length} bytes, SHA-256 ${createHash('sha256').update(text).digest('hex')}`
}

async function look(root: string, name: ByteName): Promise<Seen> {
  const path = pathBelow(root, name)
  const stat = await lstat(path)
  const { mtimeMs: timeMs } = stat
  const mode = stat.mode & 0o7777
  if (stat.isFile()) return { kind: 'file', content: contentOf(await readFile(path)), mode, timeMs }
  if (stat.isDirectory()) return { kind: 'directory', mode, timeMs }
  if (stat.isSymbolicLink()) return { kind: 'link', target: (await readlink(path, { encoding: 'buffer' })).toString('latin1') }
  return { kind: 'pipe' }
}

/** Every name below a directory, hidden ones and those of parts included; nothing when it is not there. */
export async function namesBelow(root: string, name: ByteName = ''): Promise<ByteName[]> {
  const path = name === '' ? Buffer.from(root) : pathBelow(root, name)
  const entries = await readdir(path, { encoding: 'buffer', withFileTypes: true }).catch(() => [])
  const found: ByteName[] = []
  for (const entry of entries) {
    const own = `${name === '' ? '' : `${name}/`}${Buffer.from(entry.name).toString('latin1')}`
    found.push(own, ...(entry.isDirectory() ? await namesBelow(root, own) : []))
  }
  return found.sort()
}

/** Of all files below a directory, also parts; at once, since it may be asked in the middle of a transfer. */
export function bytesBelow(root: string, name: ByteName = ''): number {
  const path = name === '' ? Buffer.from(root) : pathBelow(root, name)
  try {
    const stats = lstatSync(path)
    if (!stats.isDirectory()) return stats.isFile() ? stats.size : 0
    const names = readdirSync(path, 'latin1')
    return names.reduce((sum, one) => sum + bytesBelow(root, `${name === '' ? '' : `${name}/`}${one}`), 0)
  } catch {
    // It has got another name, or has gone.
    return 0
  }
}

/**
 * Below the directory is this tree and nothing else: no part, no temporary name. Modes and times are compared where the tree names them.
 */
export async function holds({ lab }: TransferWorld, root: string, tree: Tree): Promise<void> {
  const wanted = complete(tree)
  const names = await namesBelow(root)
  deepStrictEqual(
    names.map(readableName),
    wanted.map(([name]) => readableName(name)),
    `wrong names below ${root}`,
  )
  for (const [name, thing] of wanted) {
    const shown = JSON.stringify(readableName(name))
    const seen = await look(root, name)
    const isTimed = 'timeMs' in thing && thing.timeMs !== undefined
    if (isTimed && Math.abs((seen.timeMs ?? 0) - (thing.timeMs ?? 0)) > (lab.timeStepMs ?? 1)) {
      ok(false, `${shown} has the time ${seen.timeMs} instead of ${thing.timeMs}`)
    }
    const expected: Seen = { kind: thing.kind, ...wantedOf(thing) }
    const found = Object.fromEntries(Object.keys(expected).map((field) => [field, seen[field as keyof Seen]]))
    deepStrictEqual(found, expected, `${shown} is not what was sent`)
  }
}

function wantedOf(thing: Thing): Partial<Seen> {
  if (thing.kind === 'link') return { target: thing.target }
  const mode = 'mode' in thing && thing.mode !== undefined ? { mode: thing.mode } : {}
  return thing.kind === 'file' ? { content: contentOf(Buffer.from(thing.content)), ...mode } : mode
}

/** No final name is there: nothing at all, or only what a driver keeps for the next time, in a hidden folder of its own. */
export async function hasNothingFinal(root: string): Promise<void> {
  const names = await namesBelow(root)
  const final = names.filter((name) => !name.startsWith('.')).map(readableName)
  deepStrictEqual(final, [], 'something lies under a final name')
}

/** A tree on this machine, in a new directory. */
export async function makeSource({ lab }: TransferWorld, tree: Tree): Promise<string> {
  const root = await lab.makeDirectory()
  await plant(root, tree)
  return root
}
