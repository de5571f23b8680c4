/** Whether what is said of each host is true, by what lies there. */
import { isSame, survey as look, partsIn } from './files.mjs'
import { FILLER } from './strikes.mjs'

const GOOD = ['done', 'skipped-same']

/**
 * @typedef {{ kind?: 'doubled' | 'lost' | 'wrong', text: string }} Problem
 */

/** @returns {Promise<Problem[]>} */
export async function judge({
  scene,
  plan,
  blow = undefined,
  before = undefined,
  changed = undefined,
  wanted,
  first,
  others = [],
  isStuck = false,
}) {
  const problems = []
  const isKilled = blow !== undefined && plan.fault === 'we are killed' && blow.hit.length > 0
  const isAgain = blow === undefined
  if (!isKilled && !isStuck) problems.push(...judgeResults(scene, first, plan, blow))
  for (const name of scene.names) {
    const result = first.results.find(({ host }) => host === name)
    const there = await look(scene.targets.get(name))
    const isGood = [first, ...(plan.fault === 'the same broadcast twice' ? others : [])].some(({ results }) =>
      results.some(({ host, outcome }) => host === name && GOOD.includes(outcome)),
    )
    const mustBeGood = isAgain || !blow.hit.includes(name) || plan.fault === 'the same broadcast twice'
    if (mustBeGood && !isGood && !isKilled && !isStuck)
      problems.push({
        kind: 'lost',
        text: `${name} was not hit, and is ${result?.outcome ?? 'not told of'}: ${result?.error?.code} ${result?.error?.message}`,
      })
    if (blow?.failed.includes(name) && (isGood || (!isStuck && result?.error?.code !== 'E_COPY_STALLED')))
      problems.push({
        kind: 'wrong',
        text: `${name} could not be served, and is ${result?.outcome}: ${result?.error?.code} ${result?.error?.message}`,
      })
    problems.push(...judgeFiles({ name, there, isGood, before: before?.get(name), wanted, changed, isAgain, plan }))
    const parts = partsIn(scene.targets.get(name))
    if (isGood && parts.length > 0) problems.push({ kind: 'doubled', text: `${name} is done, and has ${parts.join(', ')}` })
  }
  for (const other of others) {
    if (plan.fault !== 'another broadcast beside') continue
    const bad = other.results.filter(({ outcome }) => !GOOD.includes(outcome))
    if (other.code !== 0 || bad.length > 0 || other.results.length !== scene.names.length)
      problems.push({
        kind: 'lost',
        text: `the broadcast beside: exit code ${other.code}, ${JSON.stringify(bad)} ${other.errors.slice(0, 300)}`,
      })
  }
  return problems
}

/** One for each host, each failure with a reason, and the exit code that they make. */
function judgeResults(scene, { results, code, errors }, plan, blow) {
  const problems = []
  const said = results.map(({ host }) => host).sort()
  const isOne = said.length === scene.names.length && said.every((name, index) => name === [...scene.names].sort()[index])
  if (!isOne)
    problems.push({ kind: 'wrong', text: `results of ${said.join(' ') || 'nobody'} (exit code ${code}): ${errors.slice(0, 500)}` })
  for (const { host, outcome, error } of results)
    if (!GOOD.includes(outcome) && (!['failed', 'unreachable'].includes(outcome) || !error?.code || !error?.message))
      problems.push({ kind: 'wrong', text: `${host} is ${outcome} without a reason` })
  const isStopped = plan.fault === 'we are interrupted' && (blow?.hit.length ?? 0) > 0
  const has = (outcome) => results.some((result) => result.outcome === outcome)
  const due = has('unreachable') ? 255 : has('failed') ? 1 : 0
  if (isOne && code !== due && !(isStopped && code === 130)) problems.push({ kind: 'wrong', text: `exit code ${code} instead of ${due}` })
  return problems
}

function judgeFiles({ name, there, isGood, before, wanted, changed, isAgain, plan }) {
  const problems = []
  const isBeside = (file) => file === 'of-the-other' && plan.fault === 'another broadcast beside'
  for (const [file, entry] of wanted) {
    if (isBeside(file)) continue
    const now = there.get(file)
    const state = changed?.get(file)
    // A file that changed may be as it was before or after, but no mixture; its time is the time of whichever was seen.
    const isRight = isSame(now, entry) || (state !== undefined && state.time !== entry.time && [entry.what, state.what].includes(now?.what))
    if (isRight || (isAgain && plan.fault === 'source changed' && now !== undefined)) continue
    const old = before?.get(file)
    // A directory that is being filled has a time of its own until the end.
    const isKept = entry.what === 'directory' ? now === undefined || now.what === 'directory' : now?.what === old?.what
    if (isGood) problems.push({ kind: 'wrong', text: `${name} is done, and ${JSON.stringify(file)} is ${shown(now)}, not ${shown(entry)}` })
    else if (!isKept && before !== undefined)
      problems.push({ kind: 'wrong', text: `${name}: ${JSON.stringify(file)} is ${shown(now)}: neither old nor right` })
  }
  for (const file of there.keys()) {
    const isKnown =
      wanted.has(file) ||
      before?.has(file) === true ||
      file.startsWith('.cahier-') ||
      isBeside(file) ||
      file === 'theirs' ||
      file === FILLER
    if (!isKnown) problems.push({ kind: 'wrong', text: `${name} has ${JSON.stringify(file)}, which nobody sent` })
  }
  return problems
}

const shown = (entry) =>
  entry === undefined
    ? 'not there'
    : `${entry.what.slice(0, 12)} ${entry.mode.toString(8)} ${entry.time}${entry.size > 0 ? ` ${entry.size} B` : ''}`

/** @returns {Promise<Problem[]>} */
export async function judgeLeftovers(scene, blow, deadline) {
  const left = await Promise.all(
    scene.names.map(async (name) => {
      const mayLeaveSockets = blow.killed.includes(name)
      return (await scene.leftovers(name, deadline, mayLeaveSockets)).map((one) => ({ kind: 'doubled', text: `${name}: ${one} is left` }))
    }),
  )
  return left.flat()
}
