import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { listGlob } from './glob.js'
import { matchesPatterns } from './patterns.js'

/** One line of an ssh configuration: a keyword in lower case with its words, or what an `Include` stands for. */
export type ConfigLine =
  | { readonly keyword: string; readonly words: readonly string[] }
  | { readonly keyword: 'include'; readonly files: readonly (readonly ConfigLine[])[] }

/** The configuration files, read only to know which of their blocks concern a host. What they mean is asked of ssh. */
export interface ConfigText {
  readonly files: readonly (readonly ConfigLine[])[]
  /** False when something was met that cannot be followed from outside: then every host is asked for by itself. */
  readonly followed: boolean
  /** All that was read, to see whether it changed. */
  readonly fingerprint: string
}

/** ssh gives up there. */
const DEEPEST_INCLUDE = 16
/** Keywords whose values are all in force. */
const ADDING_UP = new Set(['identityfile', 'certificatefile', 'localforward', 'remoteforward', 'dynamicforward', 'sendenv', 'setenv'])
const SYSTEM_CONFIG = '/etc/ssh/ssh_config'

/**
 * Reads the files that ssh would read.
 *
 * @param file - as after `-F`; undefined for the user's and the system's
 * @source ssh_config(5), OpenSSH 9.2: Include, and readconf.c for its state
 */
export async function readConfigText(file: string | undefined): Promise<ConfigText> {
  const home = userInfo().homedir
  const state = { followed: true, fingerprint: '' }
  const roots =
    file === undefined
      ? [
          { path: join(home, '.ssh/config'), base: join(home, '.ssh') },
          { path: SYSTEM_CONFIG, base: dirname(SYSTEM_CONFIG) },
        ]
      : [{ path: file, base: join(home, '.ssh') }]
  const files: (readonly ConfigLine[])[] = []
  for (const root of roots) files.push(await readLines(root.path, root.base, home, 0, state))
  return { files, ...state }
}

async function readLines(
  path: string,
  base: string,
  home: string,
  depth: number,
  state: { followed: boolean; fingerprint: string },
): Promise<readonly ConfigLine[]> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch {
    state.fingerprint += `\0${path}\0absent`
    return []
  }
  state.fingerprint += `\0${path}\0${text}`
  const lines: ConfigLine[] = []
  for (const raw of text.split('\n')) {
    const line = parseLine(raw)
    if (line === undefined) continue
    if (line === 'odd') state.followed = false
    else if (line.keyword !== 'include') lines.push(line)
    else if (depth + 1 >= DEEPEST_INCLUDE) state.followed = false
    else {
      const files: (readonly ConfigLine[])[] = []
      for (const pattern of line.words) {
        // Newer clients expand tokens and variables here.
        if (/[%$]|^~[^/]/.test(pattern)) {
          state.followed = false
          continue
        }
        const wanted = pattern.startsWith('~/') ? join(home, pattern.slice(2)) : isAbsolute(pattern) ? pattern : join(base, pattern)
        for (const found of await listGlob(wanted)) files.push(await readLines(found, base, home, depth + 1, state))
      }
      lines.push({ keyword: 'include', files })
    }
  }
  return lines
}

/**
 * Reads a line: keyword, blanks or one `=`, words with quotes, a comment.
 *
 * @returns undefined for an empty line, `odd` for one that is not surely understood
 */
export function parseLine(raw: string): { keyword: string; words: string[] } | 'odd' | undefined {
  const text = raw.trim()
  if (text === '' || text.startsWith('#')) return undefined
  const found = /^([A-Za-z0-9]+)(?:[ \t]*=[ \t]*|[ \t]+|$)(.*)$/.exec(text)
  if (found === null) return 'odd'
  const words = splitWords(found[2]!)
  return words === undefined ? 'odd' : { keyword: found[1]!.toLowerCase(), words }
}

/** Words as argv_split of OpenSSH makes them; undefined when a quote is not closed. */
function splitWords(text: string): string[] | undefined {
  const words: string[] = []
  let at = 0
  while (at < text.length) {
    const char = text[at]!
    if (char === ' ' || char === '\t') {
      at++
      continue
    }
    if (char === '#') break
    let word = ''
    let quote = ''
    for (; at < text.length; at++) {
      const c = text[at]!
      const next = text[at + 1]
      if (c === '\\' && (next === "'" || next === '"' || next === '\\' || (quote === '' && next === ' '))) {
        word += next
        at++
      } else if (quote === '' && (c === ' ' || c === '\t')) break
      else if (quote === '' && (c === '"' || c === "'")) quote = c
      else if (c === quote) quote = ''
      else word += c
    }
    if (quote !== '') return undefined
    words.push(word)
  }
  return words
}

/** Which blocks concern a host, and the values in force that were written with tokens. */
export interface Matching {
  /** Hosts with the same signature get the same answer, but for their name. */
  readonly signature: string
  /** First value in force, as written, of the keywords whose value has a `%`. */
  readonly templates: ReadonlyMap<string, string>
}

/** @returns undefined when the answer for this host cannot be told from that for others */
export function matchBlocks(text: ConfigText, host: string): Matching | undefined {
  if (!text.followed) return undefined
  let signature = ''
  let followed = true
  const first = new Map<string, string>()

  const walk = (lines: readonly ConfigLine[], entered: boolean): void => {
    let active = entered
    for (const line of lines) {
      if ('files' in line) {
        for (const file of line.files) walk(file, active)
        continue
      }
      if (line.keyword === 'host' || line.keyword === 'match') {
        const matches =
          line.keyword === 'host' ? matchesPatterns(host, line.words) : matchesMatchLine(line.words, host, first.get('hostname'))
        if (matches === undefined) followed = false
        active = entered && matches === true
        signature += active ? '1' : '0'
      } else if (active) {
        if (line.keyword === 'canonicalizehostname' && line.words[0]?.toLowerCase() !== 'no') followed = false
        const noted = first.get(line.keyword)
        const isTemplate = line.keyword === 'hostname' || line.words.some((word) => word.includes('%'))
        // The first value is in force, except where values add up: there any value with tokens counts.
        if (noted === undefined || (noted === '' && ADDING_UP.has(line.keyword))) {
          first.set(line.keyword, isTemplate ? line.words.join(' ') : '')
        }
      }
    }
  }
  for (const file of text.files) walk(file, true)
  if (!followed) return undefined
  const templates = new Map([...first].filter(([, value]) => value !== ''))
  return { signature, templates }
}

/** `all`, `host` and `originalhost`; undefined for every other criterion. */
function matchesMatchLine(words: readonly string[], host: string, template: string | undefined): boolean | undefined {
  if (words.length === 1 && words[0]!.toLowerCase() === 'all') return true
  if (words.length === 0 || words.length % 2 === 1) return undefined
  let matches = true
  for (let i = 0; i < words.length; i += 2) {
    const negated = words[i]!.startsWith('!')
    const criterion = words[i]!.slice(negated ? 1 : 0).toLowerCase()
    let name = host
    if (criterion === 'host') {
      if (template !== undefined && /%[^h%]/.test(template)) return undefined
      name = template === undefined ? host : template.replace(/%[h%]/g, (token) => (token === '%h' ? host : '%'))
    } else if (criterion !== 'originalhost') return undefined
    if (matchesPatterns(name.toLowerCase(), words[i + 1]!.toLowerCase().split(',')) === negated) matches = false
  }
  return matches
}
