#!/usr/bin/env node
/**
 * What follows every compilation: files of `dist` whose source is gone are removed (the compiler leaves them, and a command
 * that was deleted would still be found), and the CLI gets its manifest, which spares it from importing every command at each start.
 */
import { chmodSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Plugin } from '@oclif/core'
import { cahier, root } from './steps.mjs'

/** @param {string} dist @param {string} src */
function removeOrphans(dist, src) {
  for (const entry of readdirSync(dist, { withFileTypes: true })) {
    const from = join(dist, entry.name)
    if (entry.isDirectory()) {
      if (existsSync(join(src, entry.name))) removeOrphans(from, join(src, entry.name))
      else rmSync(from, { recursive: true })
      continue
    }
    const source = /^(.+?)(?:\.d\.ts|\.js)(?:\.map)?$/.exec(entry.name)?.[1]
    if (source !== undefined && !existsSync(join(src, `${source}.ts`))) rmSync(from)
  }
}

async function writeManifest() {
  const folder = join(root, 'packages/cli')
  const plugin = new Plugin({ root: folder, type: 'core', ignoreManifest: true, errorOnManifestCreate: true, respectNoCacheDefault: true })
  await plugin.load()
  const text = `${JSON.stringify(plugin.manifest, null, 2)}\n`
  const file = join(folder, 'oclif.manifest.json')
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return
  writeFileSync(`${file}.${process.pid}`, text)
  renameSync(`${file}.${process.pid}`, file)
}

for (const name of readdirSync(join(root, 'packages'))) {
  const dist = join(root, 'packages', name, 'dist')
  if (existsSync(dist)) removeOrphans(dist, join(root, 'packages', name, 'src'))
}
if (existsSync(cahier)) chmodSync(cahier, 0o755)
await writeManifest()
