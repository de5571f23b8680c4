import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { LocalScheduler } from '@cahier/core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { cahier, makeFolder, start } from './cahier.js'

let folder: string

// A queue of its own, whose daemon ends with the jobs.
const sites = (more = ''): string =>
  `sites:\n  here: { scheduler: local, options: { cores: 2, directory: ${folder}/.queue, idleMs: 500 } }\n${more}defaultSite: here\n`

function prepare(): void {
  folder = makeFolder()
  writeFileSync(join(folder, 'cahier.config.yaml'), sites())
  mkdirSync(join(folder, '.home'), { recursive: true })
}

async function clear(): Promise<void> {
  await using scheduler = new LocalScheduler({ directory: join(folder, '.queue') })
  await scheduler.shutDown()
  rmSync(folder, { recursive: true, force: true, maxRetries: 20 })
}

const jobs = (...args: string[]) => cahier(['jobs', ...args], { cwd: folder })

interface Submitted {
  readonly nativeId: string
  readonly directory: string
  readonly tag: string
}

async function submit(...args: string[]): Promise<Submitted> {
  const { code, stdout, stderr } = await jobs('submit', '--json', ...args)
  expect([code, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as Submitted
}

const WAITING = 'echo begun; until [ -e go ]; do sleep 0.05; done; echo done; echo bad >&2'

describe('cahier jobs', () => {
  beforeEach(prepare)
  afterEach(clear)

  it('submits a command, lists it, shows what it writes, and says how to go on', async () => {
    const { code, stdout } = await jobs('submit', '--name', 'hello', '--', WAITING)
    expect(code).toBe(0)
    const [directory = ''] = /cahier-jobs\/hello_\d{8}-\d{6}_[0-9a-f]{6}/.exec(stdout) ?? []
    expect(stdout).toBe(
      `Submitted job 1 on here (scheduler local)\n  directory  ${directory}\n  output     cahier jobs logs ${directory}\n  end it     cahier jobs cancel ${directory}\n`,
    )
    const follower = start(['jobs', 'logs', '1', '--follow'], { cwd: folder })
    await follower.shows('begun\n')
    const list = await jobs('list')
    expect(list.stdout.split('\n')[0]).toMatch(/^id {2}name {3}state {4}time +from$/)
    expect(list.stdout).toMatch(new RegExp(`^1 {3}hello {2}RUNNING {2}since [\\d-]* ?\\d\\d:\\d\\d:\\d\\d {2}${directory}$`, 'm'))
    writeFileSync(join(folder, directory, 'go'), '')
    expect(await follower.ended).toMatchObject({ code: 0, stdout: 'begun\ndone\n', stderr: '' })
    expect((await jobs('logs', directory, '--stderr')).stdout).toBe('bad\n')
    expect((await jobs('logs', '1', '-n', '1')).stdout).toBe('done\n')
    expect((await jobs('list')).stdout).toBe('no jobs; 1 job has ended: --all shows them\n')
    expect((await jobs('list', '--all')).stdout).toMatch(/^1 {3}hello {2}COMPLETED {2}ended /m)
  })

  it('submits a script with its files, its environment and after other jobs', async () => {
    writeFileSync(join(folder, 'input.dat'), 'data\n')
    writeFileSync(join(folder, 'bench.sh'), '#!/bin/sh\ncat input.dat\necho "$THREADS in $CAHIER_SUBMIT_DIRECTORY"\n')
    const first = await submit('--', WAITING)
    // What follows a flag that may be given again is not taken for its value.
    const second = await submit('--env', 'THREADS=2', '--file', 'input.dat', '--after', first.nativeId, 'bench.sh')
    expect((await jobs('list')).stdout).toMatch(/^2 {3}bench +PENDING {2}Dependency/m)
    writeFileSync(join(first.directory, 'go'), '')
    const follower = start(['jobs', 'logs', second.directory, '--follow'], { cwd: folder })
    expect((await follower.ended).stdout).toBe(`data\n2 in ${folder}\n`)
  })

  it('cancels by id and by directory, and says what it saw of each', async () => {
    const [first, second] = [await submit('--', WAITING), await submit('--', WAITING)]
    const { code, stdout } = await jobs('cancel', first.nativeId, '99', second.directory)
    expect(code).toBe(1)
    const lines = stdout.split('\n').slice(0, -1)
    expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
      ['1', 'has ended: CANCELED'],
      ['99', 'is not known: the queue does not show it'],
      [`${second.directory} (2)`, 'has ended: CANCELED'],
    ])
    expect(await jobs('cancel', '1')).toMatchObject({ code: 0, stdout: '1  had ended before: CANCELED\n' })
    expect(JSON.parse((await jobs('cancel', '1', '--json')).stdout)).toEqual([
      { job: '1', nativeId: '1', outcome: 'was-ended', seen: 'CANCELED' },
    ])
  })

  it('goes on with a job that was written down and not submitted, once', async () => {
    const { directory, tag } = await submit('--', 'echo ran >>ledger')
    const again = await jobs('submit', '--continue', directory, '--json')
    expect(JSON.parse(again.stdout)).toMatchObject({ nativeId: '1', tag, found: true })
    const file = join(directory, 'job.json')
    const { nativeId: _lost, ...record } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
    writeFileSync(file, JSON.stringify({ ...record, state: 'intent' }))
    expect(JSON.parse((await jobs('submit', '--continue', directory, '--json')).stdout)).toMatchObject({ nativeId: '1', found: true })
    await jobs('logs', '1', '--follow')
    expect(readFileSync(join(directory, 'ledger'), 'utf8')).toBe('ran\n')
  })

  it('submits a job exactly once when it is killed at any moment and gone on with', async () => {
    for (const after of ['intent', 'submitted'] as const) {
      const running = start(['jobs', 'submit', '--name', after, '--', 'echo ran >>ledger'], { cwd: folder })
      const found = (): string | undefined =>
        existsSync(join(folder, 'cahier-jobs'))
          ? readdirSync(join(folder, 'cahier-jobs')).find((name) => name.startsWith(after))
          : undefined
      for (;;) {
        const name = found()
        const file = join(folder, 'cahier-jobs', name ?? '', 'job.json')
        if (name !== undefined && existsSync(file) && readFileSync(file, 'utf8').includes('"state"')) break
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      if (after === 'submitted') await new Promise((resolve) => setTimeout(resolve, 5))
      running.child.kill('SIGKILL')
      await running.ended
      const directory = join(folder, 'cahier-jobs', found() as string)
      expect((await jobs('submit', '--continue', directory)).code).toBe(0)
      await jobs('logs', directory, '--follow')
      expect(readFileSync(join(directory, 'ledger'), 'utf8')).toBe('ran\n')
    }
  })

  it('says when a job has not written anything yet', async () => {
    for (const _core of [1, 2]) await submit('--', WAITING)
    const { nativeId } = await submit('--', WAITING)
    const { code, stderr } = await jobs('logs', nativeId)
    expect([code, stderr]).toEqual([1, expect.stringContaining('E_NOT_FOUND: there is no ')])
    expect(stderr).toContain('Try: Wait for it: --follow')
  })

  it('ends what follows on Ctrl-C, and the job goes on', async () => {
    await submit('--', WAITING)
    const follower = start(['jobs', 'logs', '1', '-f'], { cwd: folder })
    await follower.shows('begun\n')
    follower.child.kill('SIGINT')
    expect((await follower.ended).code).toBe(130)
    expect((await jobs('list')).stdout).toContain('RUNNING')
  })

  it('shows a site that does not answer beside those that do', async () => {
    writeFileSync(join(folder, 'cahier.config.yaml'), sites('  odd: { scheduler: nothing }\n'))
    const { code, stdout, stderr } = await jobs('list')
    expect([code, stderr]).toEqual([1, ''])
    expect(stdout).toMatch(/^here: scheduler local\n {2}no jobs\n\nodd: scheduler nothing\n {2}✗ E_ADAPTER_MISSING: .*\n {4}Try: /)
  })
})

describe('cahier jobs, before anything is submitted', () => {
  beforeAll(prepare)
  afterAll(clear)

  it.each(['submit', 'list', 'cancel', 'hold', 'release', 'requeue', 'logs'])('explains %s with an example', async (command) => {
    const { code, stdout } = await jobs(command, '--help')
    expect(code).toBe(0)
    expect(stdout).toContain('EXAMPLES')
    expect(stdout).toContain(`$ cahier jobs ${command}`)
    expect(stdout).toContain('--json')
  })

  it.each<[string, string[], number, string, string]>([
    ['nothing to submit', ['submit'], 2, 'E_ARGUMENT', 'cahier jobs submit -- hostname'],
    ['a script that is not there', ['submit', 'none.sh'], 2, 'E_ARGUMENT', 'none.sh'],
    ['a script with Windows line ends', ['submit', 'crlf.sh'], 2, 'E_ARGUMENT', "Try: Turn them into Unix ones: sed -i 's/\\r$//' crlf.sh"],
    ['a script without a shell', ['submit', 'bare.sh'], 2, 'E_ARGUMENT', 'Try: Put this line at the top of bare.sh: #!/bin/sh'],
    ['two scripts', ['submit', 'bare.sh', 'crlf.sh'], 2, 'E_ARGUMENT', 'cahier jobs submit -- bare.sh crlf.sh'],
    ['a walltime without unit', ['submit', '-t', '90', '--', 'true'], 2, 'E_ARGUMENT', '--walltime: the duration "90" has no unit'],
    ['a memory without unit', ['submit', '-m', '4', '--', 'true'], 2, 'E_ARGUMENT', '--memory: the size "4" has no unit'],
    ['no cores', ['submit', '-c', '0', '--', 'true'], 2, '', '--cores'],
    ['an option without value', ['submit', '-o', 'qos', '--', 'true'], 2, 'E_ARGUMENT', 'Write it as in: -o qos=debug'],
    ['an option that the scheduler does not have', ['submit', '-o', 'qos=x', '--', 'true'], 1, 'E_NOT_SUPPORTED', 'qos'],
    ['more cores than there are', ['submit', '-c', '3', '--', 'true'], 1, 'E_JOB_INVALID', 'it asks for 3 cores'],
    ['a site that is not there', ['submit', '--site', 'heer', '--', 'true'], 1, 'E_NOT_FOUND', 'Did you mean here?'],
    ['a parent that is not there', ['submit', '--after', '77', '--', 'true'], 1, 'E_NOT_FOUND', 'does not show a job 77'],
    ['a word that is no id', ['cancel', 'abc'], 2, 'E_ARGUMENT', '"abc" is neither the id of a job nor the directory of one'],
    ['a folder without a job', ['cancel', '.home'], 1, 'E_NOT_FOUND', 'job.json'],
    ['no job', ['cancel'], 2, '', 'arg'],
    ['holding where that cannot be', ['hold', '1'], 1, 'E_NOT_SUPPORTED', 'the scheduler local cannot hold jobs'],
    ['output of a job that is not known', ['logs', '99'], 1, 'E_NOT_FOUND', '99'],
    ['to go on with a folder without a job', ['submit', '--continue', '.home'], 1, 'E_NOT_FOUND', 'job.json'],
  ])('refuses %s', async (_what, args, code, error, text) => {
    writeFileSync(join(folder, 'crlf.sh'), '#!/bin/sh\r\ntrue\r\n')
    writeFileSync(join(folder, 'bare.sh'), 'true\n')
    const ended = await jobs(...args)
    expect([ended.code, ended.stdout]).toEqual([code, ''])
    expect(ended.stderr).toContain(error)
    expect(ended.stderr).toContain(text)
    expect(existsSync(join(folder, 'cahier-jobs')) ? readdirSync(join(folder, 'cahier-jobs')) : []).toEqual([])
  })
})
