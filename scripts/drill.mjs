#!/usr/bin/env node
/**
 * npm run drill -- <name> [--cases N] [--seed N] [--json]
 *
 * Injects faults and judges by a ledger that the jobs themselves write. Without a name: lists what there is. Ends with 1 when
 * anything was doubled, lost or wrong.
 */
import { list, load, readCommandLine } from './harness.mjs'

const { name, known, json, cases, seed = Math.floor(Math.random() * 2 ** 31) } = readCommandLine('drill', ['cases', 'seed'], ['shared.mjs'])
if (name === undefined) {
  await list('drill', known, json)
} else {
  const drill = await load('drill', name)
  const log = (line) => process.stderr.write(`${line}\n`)
  process.stdout.write(`${name}: ${drill.what}\nseed ${seed} (the same choices again: npm run drill -- ${name} --seed ${seed})\n`)
  const result = await drill.default({ seed, cases: cases ?? drill.cases ?? 50, log })
  for (const failure of result.failures)
    process.stdout.write(`failure: ${typeof failure === 'string' ? failure : JSON.stringify(failure)}\n`)
  const { doubled, lost, wrong, failures } = result
  process.stdout.write(`${result.cases} cases: ${doubled} doubled, ${lost} lost, ${wrong} wrong, ${failures.length} failures\n`)
  if (json) process.stdout.write(`${JSON.stringify({ name, seed, cases: result.cases, doubled, lost, wrong, failures })}\n`)
  process.exitCode = doubled + lost + wrong + failures.length === 0 ? 0 : 1
}
