import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const git = existsSync(join(root, '.git'))
const files = git
  ? execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8', maxBuffer: 1 << 26 })
      .split('\0')
      .filter((file) => file !== '' && existsSync(join(root, file)))
  : []
const text = (file: string): string => readFileSync(join(root, file), 'utf8')
const json = (file: string): Record<string, unknown> => JSON.parse(text(file)) as Record<string, unknown>

describe.skipIf(!git)('the files of the repository (needs git)', () => {
  it('name no folder of one machine', () => {
    // Written in pieces so that this file does not find itself.
    const forbidden = new RegExp(['/wo' + 'rk/', '\\.\\./sha' + 'red/'].join('|'))
    const found = files
      .filter((file) => !/\.(png|ico|woff2?)$/.test(file) && file !== 'package-lock.json')
      .flatMap((file) =>
        text(file)
          .split('\n')
          .flatMap((line, at) => (forbidden.test(line) ? [`${file}:${at + 1}: ${line.trim().slice(0, 100)}`] : [])),
      )
    expect(found).toEqual([])
  })

  it('hold nothing that is made: no compiled code, no archive, no run', () => {
    expect(files.filter((file) => /(^|\/)(dist|node_modules|coverage|runs)\/|\.tgz$|\.tsbuildinfo$/.test(file))).toEqual([])
  })

  it('are not large', () => {
    expect(files.filter((file) => file !== 'package-lock.json' && statSync(join(root, file)).size > 400_000)).toEqual([])
  })

  it('link to pages that exist', () => {
    const broken = files
      .filter((file) => file.endsWith('.md'))
      .flatMap((file) =>
        [...text(file).matchAll(/\]\(([^)\s]+)\)/g)]
          .map((match) => match[1]!)
          .filter((target) => !/^([a-z]+:|#)/.test(target))
          .filter((target) => !existsSync(resolve(root, dirname(file), target.replace(/#.*$/, ''))))
          .map((target) => `${file} → ${target}`),
      )
    expect(broken).toEqual([])
  })
})

describe('the packages', () => {
  const packages = files.filter((file) => /^packages\/[^/]+\/package\.json$/.test(file))
  const version = json('lerna.json')['version']

  it.each(packages)('%s has the one version, the licence and the Node of all', (file) => {
    const manifest = json(file)
    expect(manifest['version']).toBe(version)
    expect(manifest['license']).toBe('MIT')
    expect(manifest['engines']).toEqual({ node: '>=20.19' })
    expect(manifest['type']).toBe('module')
  })

  it.each(packages)('%s pins what it depends on', (file) => {
    const { dependencies = {}, devDependencies = {} } = json(file) as Record<string, Record<string, string>>
    const loose = Object.entries({ ...dependencies, ...devDependencies }).filter(([, range]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(range))
    expect(loose).toEqual([])
  })
})

describe('the commands of the README', () => {
  it('are scripts of package.json', () => {
    const scripts = json('package.json')['scripts'] as Record<string, string>
    const named = [...text('README.md').matchAll(/npm (?:run ([\w:-]+)|(test))/g)].map((match) => match[1] ?? match[2]!)
    expect(named).toContain('quickstart')
    expect(named).toContain('test')
    expect(named.filter((name) => !(name in scripts))).toEqual([])
  })

  it('are the ones that continuous integration runs', () => {
    expect(text('.ci/run')).toMatch(/npm test$/m)
    expect(text('scripts/test.mjs')).toContain("'scripts/quickstart.mjs'")
  })
})
