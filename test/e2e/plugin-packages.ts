import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cleanEnvironment } from '../../packages/cli/test/cahier.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Notes every module that the program loads, in a file that `LOADED` names. */
export const HOOKS = {
  'register.mjs': "import { register } from 'node:module'\nregister('./hooks.mjs', import.meta.url)\n",
  'hooks.mjs': `import { appendFileSync } from 'node:fs'
    export async function load(url, context, next) {
      appendFileSync(process.env.LOADED, url + '\\n')
      return await next(url, context)
    }`,
}

/** As on a machine without a network: nobody answers for the registry, and npm has nothing of its own. */
export const OFFLINE = {
  npm_config_registry: 'http://127.0.0.1:9/',
  npm_config_fetch_retries: '0',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
}

/** @returns the name of the tarball */
export function pack(directory: string, into: string): string {
  return execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', into], {
    cwd: directory,
    env: cleanEnvironment(into),
    encoding: 'utf8',
  }).trim()
}

/** A copy of the program whose package.json does not name an adapter; the rest is that of the repository. @param name - its package */
export function leanProgram(into: string, name: string): string {
  const copy = join(into, 'cli')
  mkdirSync(copy)
  for (const part of ['bin', 'dist', 'oclif.manifest.json']) cpSync(join(root, 'packages/cli', part), join(copy, part), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(into, 'node_modules'))
  const manifest = JSON.parse(readFileSync(join(root, 'packages/cli/package.json'), 'utf8')) as {
    dependencies: Record<string, string>
    oclif: { plugins: string[] }
  }
  delete manifest.dependencies[name]
  manifest.oclif.plugins = manifest.oclif.plugins.filter((plugin) => plugin !== name)
  writeFileSync(join(copy, 'package.json'), JSON.stringify(manifest))
  return copy
}
