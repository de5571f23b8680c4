import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { extname } from 'node:path'
import * as zod from 'zod'
import { ConfigError, isCampaignError, messageOf, systemCodeOf } from '../errors.js'

/** What a campaign or configuration file says, with a way to find the lines of a YAML file. */
export interface LoadedFile {
  readonly value: unknown
  readonly lineOf: (path: readonly (string | number)[]) => number | undefined
}

const CODE = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs']
const DATA = ['.yaml', '.yml', '.json']
/** Extensions of files that can be loaded, in the order in which they are looked for. */
export const LOADABLE = [...CODE, ...DATA]

/**
 * Reads a TypeScript, JavaScript, YAML or JSON file. Code needs no `package.json`, no `tsconfig.json` and nothing installed
 * beside it: `@cahier/core` and `zod` are those of this very copy.
 *
 * @throws ConfigError `E_CAMPAIGN_NOT_FOUND`, `E_CAMPAIGN_UNREADABLE`
 */
export async function loadFile(file: string): Promise<LoadedFile> {
  checkReadable(file)
  const extension = extname(file)
  if (DATA.includes(extension)) return loadYaml(file)
  if (CODE.includes(extension)) return { value: await loadCode(file), lineOf: () => undefined }
  throw new ConfigError('E_CAMPAIGN_UNREADABLE', `${file} is no file that can be loaded: its name ends in ${extension || 'nothing'}`, {
    suggestions: [`Use one of ${LOADABLE.join(' ')}`],
  })
}

function checkReadable(file: string): void {
  try {
    if (statSync(file).isFile()) {
      accessSync(file, constants.R_OK)
      return
    }
  } catch (cause) {
    const code = systemCodeOf(cause)
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new ConfigError('E_CAMPAIGN_NOT_FOUND', `there is no file ${file}`, { suggestions: ['Check the name and the folder'], cause })
    }
    throw new ConfigError('E_CAMPAIGN_UNREADABLE', `${file} cannot be read: ${messageOf(cause)}`, { cause })
  }
  throw new ConfigError('E_CAMPAIGN_UNREADABLE', `${file} is not a file`)
}

async function loadCode(file: string): Promise<unknown> {
  // Only here: the front door imports this module, and most commands load no code.
  const { createJiti } = await import('jiti')
  const core = await import('../index.js')
  const hosts = await import('../hosts.js')
  const spi = await import('../spi.js')
  const jiti = createJiti(file, {
    interopDefault: true,
    moduleCache: false,
    fsCache: false,
    virtualModules: { '@cahier/core': core, '@cahier/core/hosts': hosts, '@cahier/core/spi': spi, zod },
  })
  try {
    return await jiti.import(file, { default: true })
  } catch (cause) {
    if (isCampaignError(cause)) throw cause
    throw new ConfigError('E_CAMPAIGN_UNREADABLE', `${file} cannot be loaded: ${messageOf(cause).split('\n')[0]}`, {
      suggestions: [placeIn(cause, file) ?? 'Look at the cause'],
      cause,
    })
  }
}

/** `Look at line 12` out of the stack of an error. */
function placeIn(cause: unknown, file: string): string | undefined {
  const stack = cause instanceof Error ? (cause.stack ?? '') : ''
  const at = stack.indexOf(`${file}:`)
  const line = at < 0 ? undefined : /^(\d+)/.exec(stack.slice(at + file.length + 1))?.[1]
  return line === undefined ? undefined : `Look at line ${line} of ${file}`
}

async function loadYaml(file: string): Promise<LoadedFile> {
  // Only here, as with jiti.
  const { LineCounter, parseDocument } = await import('yaml')
  const lines = new LineCounter()
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ConfigError('E_CAMPAIGN_UNREADABLE', `${file} cannot be read: ${messageOf(cause)}`, { cause })
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const [error] = document.errors
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0])
    throw new ConfigError('E_CAMPAIGN_UNREADABLE', `${file}, line ${line}, column ${col}: ${error.message}`, { cause: error })
  }
  const lineOf = (path: readonly (string | number)[]): number | undefined => {
    // The key itself when it has one, else the nearest thing around it.
    for (let length = path.length; length > 0; length -= 1) {
      const parent = (length === 1 ? document.contents : document.getIn(path.slice(0, length - 1), true)) as {
        readonly items?: readonly { readonly key?: { readonly value?: unknown; readonly range?: readonly number[] } }[]
      } | null
      const name = path[length - 1]
      const pair = parent?.items?.find((item) => item.key !== undefined && item.key?.value === name)
      const node = document.getIn(path.slice(0, length), true) as { readonly range?: readonly number[] } | undefined
      const at = pair?.key?.range?.[0] ?? node?.range?.[0]
      if (at !== undefined) return lines.linePos(at).line
    }
    return undefined
  }
  return { value: document.toJS(), lineOf }
}
