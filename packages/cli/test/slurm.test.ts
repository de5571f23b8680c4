import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../../../test/testbed/slurm.mjs'
import { type SshHosts, sshHostsUnavailable, startSshHosts } from '../../../test/testbed/ssh-hosts.mjs'
import { cahier, makeFolder, start } from './cahier.js'

const reason = slurmUnavailable() ?? sshHostsUnavailable()

interface Submitted {
  readonly nativeId: string
  readonly directory: string
  readonly siteDirectory: string
  readonly host?: string
}

/** `near` is the cluster seen from its login node; `far` the same cluster from a machine that shares no files with it. */
describe.skipIf(reason !== undefined)(`sites and jobs on SLURM${reason === undefined ? '' : ' (needs slurmctld)'}`, () => {
  let bed: SlurmBed & AsyncDisposable
  let hosts: SshHosts & AsyncDisposable
  let folder: string

  beforeAll(async () => {
    ;[bed, hosts] = await Promise.all([startSlurm({ nodes: 2 }), startSshHosts(1)])
    bed.offerCommands(join(hosts.hosts[0]?.directory ?? '', 'bin'))
    folder = makeFolder({
      'cahier.config.yaml': `connection: { sshConfig: ${hosts.sshConfig} }
sites:
  near: { scheduler: slurm, queue: main, options: { pollInterval: 1s } }
  far: { scheduler: slurm, host: h1, workDirectory: ~/work, options: { pollInterval: 1s } }
  wrong: { scheduler: slurm, queue: mian }
  claims: { scheduler: slurm, host: h1, sharedFiles: true }
defaultSite: near
`,
      'bench.sh': "#!/bin/bash\n#SBATCH -N 2 --time=5 -o bench_%j.out\nsrun sh -c 'echo node $SLURMD_NODENAME'\ncat input.dat\n",
      'input.dat': 'data\n',
      'campaign.yaml':
        'name: squares\nfactors: { n: [1, 2, 3] }\njob:\n  command: "echo y $(( {{ n }} * {{ n }} ))"\n  resources: { cores: 2, walltime: 30min }\nresults: { y: { type: number } }\ncollect: { y: { pattern: \'y (\\S+)\' } }\n',
    })
    mkdirSync(join(folder, '.home'), { recursive: true })
  })
  afterAll(async () => {
    await hosts?.stop()
    await bed?.stop()
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  })

  /** @param first - a folder with programs that stand before those of the bed */
  const environment = (first = ''): NodeJS.ProcessEnv => ({ ...bed.env, PATH: `${first}:${bed.env['PATH']}:${process.env['PATH']}` })
  const run = (...args: string[]) => cahier(args, { cwd: folder, env: environment() })
  const submit = async (...args: string[]): Promise<Submitted> => {
    const { stdout, stderr } = await run('jobs', 'submit', '--json', ...args)
    expect(stderr).toBe('')
    return JSON.parse(stdout) as Submitted
  }

  it.each(['near', 'far'])('ends one job of a pack, and no other of it: %s', async (site) => {
    const pack = {
      name: 'packed',
      site,
      factors: { n: [1, 2, 3] },
      job: { command: 'echo begun; while [ {{ n }} = 1 ]; do sleep 0.2; done', pack: 3, resources: { walltime: '5min' } },
    }
    writeFileSync(join(folder, 'packed.json'), JSON.stringify(pack))
    const running = start(['run', 'packed.json', '--dir', `packed-${site}`], { cwd: folder, env: environment() })
    const memberOf = async (n: number): Promise<{ nativeId: string; state: string }> => {
      const { stdout } = await run('why', `packed-${site}`, `n=${n}`, '--json')
      const { attempts, state } = JSON.parse(stdout) as { attempts: { nativeId: string }[]; state: string }
      return { nativeId: attempts[0]?.nativeId ?? '', state }
    }
    await running.shows('1 running')
    const [first, , third] = [await memberOf(1), await memberOf(2), await memberOf(3)]
    expect([first.nativeId, third.nativeId]).toEqual([expect.stringMatching(/^\d+\/0$/), expect.stringMatching(/^\d+\/2$/)])
    const { stdout: waiting } = await run('jobs', 'hold', '--site', site, third.nativeId)
    expect(waiting).toBe('')
    const { code, stdout } = await run('jobs', 'cancel', '--site', site, third.nativeId, first.nativeId)
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^\d+\/2 +has ended: canceled\n\d+\/0 +has ended: canceled\n$/)])
    expect((await running.ended).code).toBe(3)
    expect((await Promise.all([1, 2, 3].map(memberOf))).map(({ state }) => state)).toEqual(['failed', 'done', 'failed'])
    const { code: refused, stderr } = await run('jobs', 'cancel', '--site', site, '99999/1')
    expect([refused, stderr]).toEqual([1, expect.stringContaining('End all jobs of the pack: cahier jobs cancel 99999')])
  })

  it('checks sites with the whole way of a job, with one login to a host', async () => {
    const before = hosts.logins('h1')
    const { code, stdout } = await run('sites', 'check', 'near', 'far', '--job')
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^near: scheduler slurm\n/)])
    for (const line of [
      /^ {2}✓ scheduler +slurm \d+\.\d+\S*, cluster bed$/m,
      /^ {2}✓ limits +arrays of up to 10001 jobs/m,
      /^ {2}✓ queues +main: 2 of 2 nodes up/m,
      /^ {2}! accounting +off: /m,
      /^far: scheduler slurm on h1$/m,
      /^ {2}✓ login +\S+ on h1, in \d+\.\d s \((ssh2|openssh)\)$/m,
      /^ {2}✓ clock +as here$/m,
      /^ {2}✓ files +~\/work is \/.+\/work: can be written$/m,
      /^ {2}main \* +up +2 of 2 +4 /m,
    ]) {
      expect(stdout).toMatch(line)
    }
    expect(stdout.match(/^ {2}✓ job +job \d+ ran on \S+, and its record was seen after \d+\.\d s$/gm)).toHaveLength(2)
    expect(hosts.logins('h1') - before).toBe(1)
    expect(readdirSync(join(folder, 'cahier-jobs'))).toEqual([])
  })

  it('says what is wrong with each site, and what to try', async () => {
    const { code, stdout } = await run('sites', 'check', 'wrong', 'claims')
    expect(code).toBe(1)
    expect(stdout).toMatch(/^ {2}✗ queues +there is no queue mian\n +Try: Did you mean main\?$/m)
    // The hosts of the bed are on this machine: they do see the folder.
    expect(stdout).toMatch(/^ {2}✓ files +h1 sees /m)
  })

  it('says that there is no SLURM on a site, and tries the rest', async () => {
    const bin = join(folder, 'bin')
    mkdirSync(bin)
    for (const name of ['sh', 'date', 'cat']) symlinkSync(`/bin/${name}`, join(bin, name))
    const { code, stdout } = await cahier(['sites', 'check', 'near'], { cwd: folder, env: { PATH: bin } })
    expect(code).toBe(1)
    expect(stdout).toMatch(/^ {2}✗ scheduler +E_SCHEDULER_MISSING: .*\n +Try: /m)
    expect(stdout).toMatch(/^ {2}✓ files /m)
  })

  it.each(['near', 'far'])('submits a batch script with its directives and files to %s, and shows its output', async (site) => {
    const job = await submit('--site', site, '--file', 'input.dat', 'bench.sh')
    const { stdout } = await run('jobs', 'logs', job.directory, '--follow')
    expect(stdout.split('\n').sort()).toEqual(['', 'data', 'node n1', 'node n2'])
    expect(readdirSync(job.siteDirectory)).toEqual(expect.arrayContaining(['stdout', 'exit.json', `bench_${job.nativeId}.out`]))
    expect(site === 'near').toBe(job.siteDirectory === job.directory)
    expect((await run('jobs', 'logs', job.nativeId, '--site', site, '-n', '1')).stdout).toBe('data\n')
    expect(job.host).toBe(site === 'far' ? 'h1' : undefined)
    if (job.host === undefined) return
    await run('get', `${job.siteDirectory}/*`, '-w', job.host, '--site', site, '--to', job.directory)
    expect(readdirSync(job.directory)).toEqual(expect.arrayContaining(['job.json', 'stdout', 'exit.json', 'input.dat']))
  })

  it('lists, holds, releases and cancels, and says what it saw', async () => {
    const blocker = await submit('-N', '2', '-c', '4', '--name', 'blocker', '--', 'sleep 100')
    const { nativeId } = await submit('--name', 'held one', '--', 'sleep 100')
    expect(await run('jobs', 'hold', nativeId)).toMatchObject({ code: 0, stdout: expect.stringMatching(/ {2}is held: PENDING \(JobHeld/) })
    const list = await run('jobs', 'list', '--site', 'near')
    expect(list.stdout).toMatch(new RegExp(`^${nativeId} +held one +PENDING +JobHeld.* +main +submitted .* cahier-jobs/held-one_`, 'm'))
    expect(await run('jobs', 'release', nativeId)).toMatchObject({ code: 0, stdout: expect.stringContaining('may run: ') })
    const { code, stdout } = await run('jobs', 'cancel', nativeId, '99999', blocker.directory)
    expect(code).toBe(1)
    expect(stdout).toMatch(new RegExp(`^${nativeId} +has ended: CANCELLED$`, 'm'))
    expect(stdout).toMatch(/^99999 +is not known: the queue does not show it$/m)
    expect(stdout).toMatch(new RegExp(`^${blocker.directory} \\(${blocker.nativeId}\\) +has ended: CANCELLED$`, 'm'))
  })

  it('ends an array that others submitted, one element and the rest', async () => {
    const { stdout: id } = await bed.run(['sbatch', '--parsable', '--hold', '-a', '0-5', '--wrap', 'sleep 100'])
    const array = id.trim()
    expect((await run('jobs', 'list', '--site', 'near')).stdout).toMatch(new RegExp(`^${array} \\(6\\) `, 'm'))
    expect(await run('jobs', 'cancel', `${array}_3`)).toMatchObject({ code: 0, stdout: expect.stringContaining('has ended') })
    expect((await run('jobs', 'list', '--site', 'near')).stdout).toMatch(new RegExp(`^${array} \\(5\\) `, 'm'))
    expect(await run('jobs', 'cancel', array)).toMatchObject({ code: 0, stdout: expect.stringContaining('has ended: ') })
    const left = await bed.run(['squeue', '-h', '-j', array])
    expect(left.stdout).toBe('')
  })

  it('lets a job wait for another, and refuses to wait for one that has failed', async () => {
    const bad = await submit('--', 'exit 3')
    const after = await submit('--after', bad.nativeId, '--kind', 'afterany', '--', 'echo ran')
    expect((await run('jobs', 'logs', after.directory, '-f')).stdout).toBe('ran\n')
    const refused = await run('jobs', 'submit', '--after', bad.nativeId, '--', 'true')
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/^Error E_UPSTREAM_FAILED: .* exit code 3\n/)])
  })

  it.each([
    ['more nodes than there are', ['-N', '9'], 'E_JOB_INVALID', '9 nodes'],
    ['a queue that is not there', ['-q', 'mian'], 'E_JOB_INVALID', 'mian'],
    ['an option that SLURM does not have', ['-o', 'qso=x'], 'E_JOB_INVALID', 'qso'],
  ])('refuses %s, and leaves nothing behind', async (_what, args, error, text) => {
    const before = readdirSync(join(folder, 'cahier-jobs'))
    const { code, stderr } = await run('jobs', 'submit', ...args, '--', 'true')
    expect([code, stderr]).toEqual([1, expect.stringMatching(new RegExp(`^Error ${error}: .*${text}`))])
    expect(readdirSync(join(folder, 'cahier-jobs'))).toEqual(before)
  })

  it('finds a job that the controller took without saying so, and has it once', async () => {
    const first = join(folder, 'unclear')
    mkdirSync(first)
    const said = 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation'
    const real = join(bed.directory, 'bin/sbatch')
    writeFileSync(join(first, 'sbatch'), `#!/bin/sh\n'${real}' "$@" >/dev/null\necho '${said}' >&2\nexit 1\n`, { mode: 0o755 })
    const { code, stdout, stderr } = await cahier(['jobs', 'submit', '--', 'echo ran'], { cwd: folder, env: environment(first) })
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^Found job \d+ on near/)])
    expect(stderr).toContain('looking it up')
    const [directory = ''] = /cahier-jobs\/\S+/.exec(stdout) ?? []
    expect((await run('jobs', 'logs', directory, '-f')).stdout).toBe('ran\n')
    const tag = directory.slice('cahier-jobs/'.length)
    expect((await bed.run(['squeue', '-h', '-t', 'all', '-n', tag, '-o', '%i'])).stdout.trim().split('\n')).toHaveLength(1)
  })

  it('shows what a job of a campaign writes on a site that shares no files, while it runs and afterwards', async () => {
    const job = `command: "echo y 1; until [ -e ${folder}/go ]; do sleep 0.1; done; echo end"`
    writeFileSync(
      join(folder, 'slow.yaml'),
      `name: slow\nfactors: { n: [1] }\njob: { ${job} }\nresults: { y: { type: number } }\ncollect: { y: { pattern: 'y (\\S+)' } }\n`,
    )
    const running = start(['run', 'slow.yaml', '--site', 'far'], { cwd: folder, env: environment() })
    await running.shows('Job submitted: ')
    const list = JSON.parse((await run('jobs', 'list', '--site', 'far', '--json')).stdout) as {
      jobs: { nativeId: string; campaign?: string }[]
    }[]
    const shown = list[0]?.jobs.find(({ campaign }) => campaign === 'slow')
    expect(shown).toMatchObject({ directory: expect.stringMatching(/\/slow_\d{8}-\d{6}$/) })
    const { nativeId = '' } = shown ?? {}
    const follower = start(['jobs', 'logs', nativeId, '--site', 'far', '-f'], { cwd: folder, env: environment() })
    await follower.shows('y 1\n')
    writeFileSync(join(folder, 'go'), '')
    expect(await follower.ended).toMatchObject({ code: 0, stdout: 'y 1\nend\n' })
    expect((await running.ended).code).toBe(0)
    expect(await run('jobs', 'logs', nativeId, '--site', 'far')).toMatchObject({ code: 0, stdout: 'y 1\nend\n' })
    const why = await run('why', 'n=1', '--ask')
    expect(why.stdout).toMatch(new RegExp(`^  job ${nativeId} on far, tag slow-`, 'm'))
    expect(why.stdout).toMatch(new RegExp(`^the queue of far says now of ${nativeId}: COMPLETED`, 'm'))
  })

  it('plans exactly what would be submitted, and the limits that the site has', async () => {
    const { code, stdout } = await run('plan')
    expect(code).toBe(0)
    expect(stdout).toContain('  submissions   1 of all 3 jobs\n  core-hours    at most 3\n')
    expect(stdout).toMatch(/sbatch .*--array=0-2/)
    expect(stdout).toMatch(/^#SBATCH --cpus-per-task=2$/m)
    writeFileSync(join(folder, 'large.yaml'), 'name: large\nfactors: { n: [1] }\njob: { command: "true", resources: { nodes: 7 } }\n')
    const large = await run('plan', 'large.yaml', '--check')
    expect(large.stdout).toMatch(/^ {2}limit +near would never run 1 job: .*7 nodes/m)
  })
})
