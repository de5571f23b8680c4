import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from './cahier.js'

/** Each job writes a line here when it begins and one when it ends. */
export const LEDGER = 'ledger'

/** A local site whose daemon does not outlive the tests by a minute. */
export const SITES = 'sites:\n  here:\n    scheduler: local\n    options: { cores: 2, idleMs: 2000 }\ndefaultSite: here\n'

const command = (body: string): string => `job:
  command: |
    echo "begin {{ x }}" >> "$LEDGER"
${body
  .trim()
  .split('\n')
  .map((line) => `    ${line}`)
  .join('\n')}
    echo "end {{ x }}" >> "$LEDGER"
`

/** A folder with a small campaign: the jobs of `levels` run `body`. */
export function campaignFolder(levels: string, body: string, more = ''): string {
  const folder = makeFolder({ 'cahier.config.yaml': SITES })
  return write(folder, levels, body, more)
}

export function campaignText(folder: string, levels: string, body: string, more = ''): string {
  return `name: small
factors:
  x: ${levels}
${command(body).replaceAll('$LEDGER', `${folder}/${LEDGER}`)}results:
  y: { type: number }
collect:
  y: { pattern: 'y (\\S+)' }
${more}`
}

function write(folder: string, levels: string, body: string, more: string): string {
  writeFileSync(join(folder, 'campaign.yaml'), campaignText(folder, levels, body, more))
  return folder
}
