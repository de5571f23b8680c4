#!/usr/bin/env node
/**
 * npm run docs [-- --check]
 *
 * Writes the pages of docs/reference that are made from the code: needs a build before it. With --check nothing is written, and a
 * page that differs is a failure.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { campaignPage, commandsPage, errorsPage, jsonSchema, sitePage } from './docs-pages.mjs'
import { root } from './steps.mjs'

const pages = {
  'campaign.schema.json': jsonSchema('campaign'),
  'site.schema.json': jsonSchema('site'),
  'campaign.md': campaignPage(),
  'site.md': sitePage(),
  'errors.md': errorsPage(),
  'commands.md': await commandsPage(),
}
const check = process.argv.includes('--check')
let stale = 0
for (const [name, text] of Object.entries(pages)) {
  const file = join(root, 'docs/reference', name)
  if (text === read(file)) continue
  stale++
  process.stdout.write(`${check ? 'out of date' : 'written'}: docs/reference/${name}\n`)
  if (check) continue
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
if (check && stale > 0) {
  process.stdout.write('run "npm run docs" and commit what it writes\n')
  process.exitCode = 1
}

/** @param {string} file */
function read(file) {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}
