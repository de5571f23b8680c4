/**
 * Creates an account on all servers of the lab: user, quota, scheduler, ssh key, and a try.
 *
 *   npx jiti accounts.ts ada 'Ada Lovelace' --quota 200 --key ada.pub
 *
 * Every step looks first whether it is done. When a server was down, run the same command again later: only what is open is done.
 */
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { Remote, type SshProcess, useConfiguration } from '@cahier/core'

const { values: given, positionals } = parseArgs({
  options: { quota: { type: 'string', default: '100' }, key: { type: 'string' }, account: { type: 'string', default: 'lab' } },
  allowPositionals: true,
})
const [login = '', name = ''] = positionals
if (!/^[a-z][a-z0-9]{1,30}$/.test(login) || name === '' || !/^[1-9]\d*$/.test(given.quota)) {
  console.error("usage: accounts.ts LOGIN 'FULL NAME' [--quota GIB] [--key FILE.pub] [--account NAME]")
  process.exit(2)
}

await useConfiguration()

// Each value arrives as one word, whatever is in it.
const values = { login, name, account: given.account, blocks: Number(given.quota) * 1024 * 1024 }
const key = given.key === undefined ? undefined : readFileSync(given.key, 'utf8')

const steps = [
  { title: 'user', on: '@servers', command: 'id -u {{login}} >/dev/null 2>&1 || useradd --create-home --comment {{name}} {{login}}' },
  { title: 'quota', on: '@files', command: 'setquota -u {{login}} {{blocks}} {{blocks}} 0 0 /home' },
  {
    title: 'scheduler',
    on: '@slurm',
    command: `sacctmgr -nP show user {{login}} | grep -q . || sacctmgr -i add user {{login}} account={{account}}`,
  },
  ...(key === undefined
    ? []
    : [
        {
          title: 'ssh key',
          on: '@build',
          // The key comes through stdin; it is added once.
          command: `read -r key && file=$(getent passwd {{login}} | cut -d: -f6)/.ssh/authorized_keys && mkdir -p "\${file%/*}" &&
            { grep -qxF "$key" "$file" 2>/dev/null || echo "$key" >>"$file"; } && chown -R {{login}}: "\${file%/*}" && chmod 700 "\${file%/*}"`,
          stdin: { text: key },
        },
      ]),
  { title: 'try', on: '@build', command: `su - {{login}} -c 'echo "int main() { return 0; }" | cc -x c - -o /dev/null'` },
]

let open = 0
for (const { title, on, command, ...talk } of steps) {
  const step = await new Remote(command, on, { values, process: { timeout: '1min', ...talk } }).run()
  for (const process of step.processes) {
    if (process.ok) console.log(`done      ${title} on ${process.host}`)
    else {
      open += 1
      console.log(`NOT DONE  ${title} on ${process.host}: ${whyNot(process)}`)
    }
  }
}
console.log(
  open === 0
    ? `${login} can work.`
    : `${open} ${open === 1 ? 'step is' : 'steps are'} open. Run the same command again when the cause is gone: what is done is not done twice.`,
)
process.exitCode = open === 0 ? 0 : 1

function whyNot(process: SshProcess): string {
  if (process.errorReason !== undefined) return process.errorReason.message
  if (process.timedOut) return 'it took more than a minute'
  return process.stderr.trim().split('\n').at(-1) || `exit code ${process.exitCode}`
}
