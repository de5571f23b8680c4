/** What `npm run bench` and `npm run drill` share: names, options, the JSON on the last line. */
import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { root } from './steps.mjs'

/**
 * @param {string} kind `bench` or `drill`: the folder in test/ and the npm script
 * @param {readonly string[]} numbers options that take a whole number
 * @param {readonly string[]} helpers files of the folder that are not runnable
 * @param {readonly string[]} texts options that take any text
 */
export function readCommandLine(kind, numbers, helpers = [], texts = []) {
  const known = readdirSync(join(root, 'test', kind))
    .filter((file) => file.endsWith('.mjs') && !helpers.includes(file))
    .map((file) => basename(file, '.mjs'))
    .sort()
  let parsed
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        ...Object.fromEntries([...numbers, ...texts].map((name) => [name, { type: /** @type {const} */ ('string') }])),
      },
    })
  } catch (error) {
    fail(/** @type {Error} */ (error).message)
  }
  const { values, positionals } = parsed
  const figures = Object.fromEntries(
    numbers.map((name) => {
      const text = values[name]
      if (text === undefined) return [name, undefined]
      if (!/^\d+$/.test(text)) fail(`--${name} takes a whole number, not ${JSON.stringify(text)}`)
      return [name, Number(text)]
    }),
  )
  if (positionals.length > 1) fail(`one ${kind} at a time: ${positionals.join(', ')}`)
  const [name] = positionals
  if (name !== undefined && !known.includes(name)) fail(`there is no ${kind} ${JSON.stringify(name)}; known: ${known.join(', ')}`)
  const said = Object.fromEntries(texts.map((text) => [text, values[text]]))
  return { name, known, json: values.json === true, ...figures, ...said }

  function fail(message) {
    process.stderr.write(`${kind}: ${message}\n`)
    process.exit(2)
  }
}

/** Imports test/<kind>/<name>.mjs. @param {string} kind @param {string} name */
export function load(kind, name) {
  return import(pathToFileURL(join(root, 'test', kind, `${name}.mjs`)).href)
}

/** Prints what can be run. @param {string} kind @param {readonly string[]} known @param {boolean} json */
export async function list(kind, known, json) {
  const entries = await Promise.all(known.map(async (name) => ({ name, what: (await load(kind, name)).what })))
  if (json) return process.stdout.write(`${JSON.stringify(entries)}\n`)
  const width = Math.max(0, ...known.map((name) => name.length))
  for (const { name, what } of entries) process.stdout.write(`${name.padEnd(width)}  ${what}\n`)
  process.stdout.write(`\nnpm run ${kind} -- <name>\n`)
}
