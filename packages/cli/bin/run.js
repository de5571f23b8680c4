#!/usr/bin/env node
// The version is answered without loading anything: scripts ask for it often, and on slow file systems.
import { readFileSync } from 'node:fs'

const args = process.argv.slice(2)
if (args.length === 1 && args[0] === '--version') {
  const { name, version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`)
} else {
  const { main } = await import('../dist/main.js')
  await main(args)
}
