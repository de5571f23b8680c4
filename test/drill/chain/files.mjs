/** Sources with odd names, what lies in a directory, and what may lie there. */
import { createCipheriv, createHash } from 'node:crypto'
import { chmodSync, lstatSync, lutimesSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { makeRandom, pick } from '../shared.mjs'

const ODD = [
  '-rf',
  'two words',
  'line\nbreak',
  'ünï',
  'caf\xe9',
  '$(date)',
  "quo'te",
  'back\\slash',
  '*',
  '%41',
  ' ',
  '#',
  '{{host}} ',
].map((name) => Buffer.from(name, name.includes('\xe9') ? 'latin1' : 'utf8').toString('latin1'))
const MODES = [0o644, 0o600, 0o755, 0o640, 0o444, 0o4755]

/** Of names with one character per byte. @param {string} name */
const raw = (name) => Buffer.from(name, 'latin1')

/** Bytes that look like none other, the same for the same seed. */
function noise(bytes, seed) {
  const key = createHash('sha256').update(`drill ${seed}`).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes))
}

/**
 * Makes the files of a case in a new folder.
 *
 * @param {string} folder
 * @param {import('./plan.mjs').CasePlan['source']} source
 * @returns {string[]} names to be given to the command
 */
export function makeSource(folder, { seed, kind, bytes }) {
  const random = makeRandom(seed)
  mkdirSync(folder)
  let count = 0
  const file = (name, size) => {
    count += 1
    writeFileSync(raw(`${folder}/${name}`), noise(size, `${seed} ${count}`))
    chmodSync(raw(`${folder}/${name}`), pick(random, MODES))
    // Microseconds, where the clock has them.
    utimesSync(raw(`${folder}/${name}`), new Date(), 1.6e9 + Math.floor(random() * 1e8) + Math.floor(random() * 1e6) / 1e6)
    return name
  }
  // What can stand in a command line; bytes that are no text stand further inside.
  const said = ODD.filter((name) => !/[\x80-\xff]/.test(name) && name !== '{{host}} ')
  if (kind === 'big') return [file(pick(random, said), bytes)]
  if (kind === 'several') {
    const names = new Set(Array.from({ length: 2 + Math.floor(random() * 5) }, () => pick(random, said)))
    return [...names].map((name, index) => file(name, index === 0 ? 0 : Math.ceil(bytes / (names.size - 1))))
  }
  const directories = ['tree']
  mkdirSync(`${folder}/tree`)
  for (const name of ODD.slice(0, 6)) {
    const directory = `${pick(random, directories)}/${name}`
    mkdirSync(raw(`${folder}/${directory}`))
    directories.push(directory)
  }
  const names = new Set()
  const fresh = () => {
    for (;;) {
      const name = `${pick(random, directories)}/${pick(random, ODD)}${names.size}`
      if (!names.has(name)) return names.add(name) && name
    }
  }
  for (let at = 0; at < 40 + 160 * random(); at++) file(fresh(), random() < 0.1 ? 0 : Math.floor(random() * 30_000))
  file(fresh(), Math.floor(bytes / 3))
  file(fresh(), Math.floor(bytes / 2))
  for (const target of ['nowhere', '../tree', ODD[4]]) {
    const link = fresh()
    symlinkSync(raw(target), raw(`${folder}/${link}`))
    lutimesSync(raw(`${folder}/${link}`), new Date(), 1.5e9 + Math.floor(random() * 1e8))
  }
  for (const directory of directories.reverse()) {
    chmodSync(raw(`${folder}/${directory}`), pick(random, [0o755, 0o700, 0o2775]))
    utimesSync(raw(`${folder}/${directory}`), new Date(), 1.4e9 + Math.floor(random() * 1e8))
  }
  return ['tree', file('beside', Math.floor(bytes / 6))]
}

/**
 * @typedef {object} Entry
 * @property {string} what kind and content
 * @property {number} mode
 * @property {number} time microseconds
 * @property {number} size
 */

/**
 * Everything in a directory; names with one character per byte. What vanishes meanwhile is not there.
 *
 * @param {string} folder @returns {Promise<Map<string, Entry>>}
 */
export async function survey(folder) {
  const found = new Map()
  const walk = async (below) => {
    let names = []
    try {
      names = readdirSync(raw(`${folder}/${below}`), { encoding: 'buffer' })
    } catch (error) {
      if (!['ENOENT', 'ENOTDIR'].includes(error.code)) throw error
    }
    for (const bytes of names) {
      const name = `${below}${bytes.toString('latin1')}`
      const path = raw(`${folder}/${name}`)
      let stat
      try {
        stat = lstatSync(path, { bigint: true })
      } catch {
        continue
      }
      const common = { mode: Number(stat.mode & 0o7777n), time: Number(stat.mtimeNs / 1000n), size: stat.isFile() ? Number(stat.size) : 0 }
      if (stat.isSymbolicLink()) found.set(name, { ...common, mode: 0, what: `link ${readlinkSync(path, 'latin1')}` })
      else if (stat.isDirectory()) {
        found.set(name, { ...common, what: 'directory' })
        if (!name.startsWith('.cahier-')) await walk(`${name}/`)
      } else found.set(name, { ...common, what: await digestOf(path) })
    }
  }
  await walk('')
  return found
}

/** Leaves time for whatever else goes on: others look for their moment meanwhile. */
async function digestOf(path) {
  const hash = createHash('sha256')
  const piece = Buffer.allocUnsafe(1 << 19)
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return 'vanished'
  try {
    for (;;) {
      const { bytesRead } = await file.read(piece)
      if (bytesRead === 0) break
      hash.update(piece.subarray(0, bytesRead))
    }
  } finally {
    await file.close()
  }
  return hash.digest('hex')
}

/** True when this is that, with mode and time. @param {Entry | undefined} there @param {Entry} wanted */
export const isSame = (there, wanted) =>
  there?.what === wanted.what && there.mode === wanted.mode && Math.abs(there.time - wanted.time) <= 1

/** Puts other files under some of the names. @param {string} folder @param {Map<string, Entry>} source @param {number} seed */
export function makeOld(folder, source, seed) {
  const random = makeRandom(seed)
  mkdirSync(folder, { recursive: true })
  for (const [name, { what, size, mode }] of source) {
    if (what === 'directory') mkdirSync(raw(`${folder}/${name}`), { mode: 0o755 })
    else if (!what.startsWith('link ') && random() < 0.5)
      writeFileSync(raw(`${folder}/${name}`), random() < 0.5 ? noise(size, -seed) : `old ${name}`, { mode })
  }
}

/** Bytes of content that have come into a target directory and are not placed yet. @param {string} folder */
export function arrivedIn(folder) {
  let sum = 0
  const walk = (path) => {
    let entries = []
    try {
      entries = readdirSync(path, { withFileTypes: true, encoding: 'buffer' })
    } catch {
      return
    }
    for (const entry of entries) {
      const below = Buffer.concat([path, Buffer.from('/'), entry.name])
      if (entry.isDirectory()) walk(below)
      else if (entry.isFile() && !/^(lock|seeded|asked)/.test(entry.name.toString('latin1')))
        try {
          sum += lstatSync(below).size
        } catch {
          // It was placed.
        }
    }
  }
  for (const name of partsIn(folder)) walk(Buffer.from(`${folder}/${name}`))
  return sum
}

/** Folders of parts. @param {string} folder */
export function partsIn(folder) {
  try {
    return readdirSync(folder).filter((name) => name.startsWith('.cahier-'))
  } catch {
    return []
  }
}
