/**
 * Asks the out-of-band controllers (iDRAC, iLO…) of a room for the power state of their nodes, and switches nodes on.
 *
 *   npx jiti power.ts                 # who is on, who is off
 *   npx jiti power.ts on @bmc         # switch on those that are off, four at a time
 *
 * A controller has no shell: `runner: 'raw'` sends it the text as it is.
 */
import { Remote, useConfiguration } from '@cahier/core'

const [action = 'state', where = '@bmc'] = process.argv.slice(2)
if (action !== 'state' && action !== 'on') {
  console.error('usage: power.ts [state|on] [HOSTS]')
  process.exit(2)
}

await useConfiguration()
const raw = { connection: { runner: 'raw' as const }, process: { timeout: '30s' } }

const states = await new Remote('racadm serveraction powerstatus', where, raw).run()
for (const { hosts, text, error, exitCode } of states.byOutput()) {
  const state = error !== undefined ? `not reached, ${error.code}` : exitCode === 0 ? text.trim() : `exit code ${exitCode}: ${text.trim()}`
  console.log(`${hosts}: ${state}`)
}

const off = states.processes.filter((process) => process.ok && /OFF/.test(process.stdout)).map((process) => process.host)
let bad = states.processes.filter((process) => !process.ok).length
if (action === 'on' && off.length > 0) {
  // Not all at once: the current that nodes draw when they start would trip the breaker.
  const switched = await new Remote('racadm serveraction powerup', off, { ...raw, concurrency: 4 }).run()
  for (const { hosts, exitCode, text, error } of switched.byOutput()) {
    console.log(`${hosts}: ${exitCode === 0 ? 'switched on' : `NOT switched on: ${error?.message ?? text.trim()}`}`)
  }
  bad += switched.processes.filter((process) => !process.ok).length
}
process.exitCode = bad === 0 ? 0 : 1
