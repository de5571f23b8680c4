import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const ALLOWED = new Set([
  'MIT',
  'ISC',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '0BSD',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'CC-BY-3.0',
  'CC-BY-4.0',
  'Unlicense',
  'Python-2.0',
  'Artistic-2.0',
])

/** Tools only: nothing of them is in what we publish. */
const ALLOWED_IN_TOOLS = new Set([...ALLOWED, 'MPL-2.0', 'BSD'])
/** State their licence (Apache-2.0; MIT for the last three) in a form of package.json that npm no longer reads. */
const STATED_ELSEWHERE = new Set([
  'node_modules/npm/node_modules/qrcode-terminal',
  'node_modules/ssh2',
  'node_modules/cpu-features',
  'node_modules/buildcheck',
])

interface LockedPackage {
  readonly license?: string
  readonly dev?: boolean
  readonly link?: boolean
}

/** `(MIT OR GPL-3.0)` is allowed when one choice is; `MIT AND X` when all parts are. */
function isAllowed(expression: string, allowed: ReadonlySet<string>): boolean {
  return expression
    .replace(/[()]/g, '')
    .split(' OR ')
    .some((choice) => choice.split(' AND ').every((licence) => allowed.has(licence)))
}

describe('the licences of what we depend on', () => {
  const lock = JSON.parse(readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8')) as {
    packages: Record<string, LockedPackage>
  }
  const installed = Object.entries(lock.packages).filter(([path, entry]) => path.includes('node_modules/') && entry.link !== true)

  it('allow us to be MIT', () => {
    const refused = installed
      .filter(([path]) => !STATED_ELSEWHERE.has(path))
      .filter(([, entry]) => !isAllowed(entry.license ?? 'none stated', entry.dev === true ? ALLOWED_IN_TOOLS : ALLOWED))
      .map(([path, entry]) => `${path}: ${entry.license}`)
    expect(refused).toEqual([])
  })

  it('come from the registry that npm is told to use, not from an address of one machine', () => {
    const resolved = Object.entries(lock.packages).flatMap(([, entry]) => ('resolved' in entry ? [String(entry.resolved)] : []))
    expect(resolved.filter((address) => /^https?:/.test(address) && !address.startsWith('https://registry.npmjs.org/'))).toEqual([])
  })
})
