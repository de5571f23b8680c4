import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { waitUntil } from './bed.mjs'
import { isAlive, processesWith } from './proc.mjs'
import { type SlurmBed, slurmUnavailable, startSlurm, stopSlurm } from './slurm.mjs'
import { MARK } from './slurm-config.mjs'
import { sshHostsUnavailable, startSshHosts } from './ssh-hosts.mjs'

const program = fileURLToPath(new URL('./slurm.mjs', import.meta.url))
const reason = slurmUnavailable()
const title = (text: string, why = reason) => (why === undefined ? text : `${text} (${why})`)
const check = it.skipIf(reason !== undefined)

/** Nothing is asked of a controller that does not answer. */
const patient = { messageTimeout: 20 }

const until = (holds: () => boolean | Promise<boolean>, what: string) => waitUntil(holds, { what, timeoutMs: 50_000 })

/** The only word that a command printed. */
async function word(bed: SlurmBed, ...argv: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await bed.run(argv)
  if (exitCode !== 0) throw new Error(`${argv.join(' ')}: exit code ${exitCode}: ${stderr}`)
  return stdout.trim()
}

const submit = (bed: SlurmBed, ...args: string[]) => word(bed, 'sbatch', '--parsable', ...args)
const stateOf = (bed: SlurmBed, id: string) => word(bed, 'squeue', '-h', '-t', 'all', '-r', '-j', id, '-o', '%T')

describe('a SLURM bed', () => {
  let bed: SlurmBed & AsyncDisposable

  beforeAll(async () => {
    // So long a silent controller is waited for: one that is only busy must be heard of before.
    if (reason === undefined) bed = await startSlurm({ config: ['MaxArraySize=5'], messageTimeout: 5 })
  })
  afterAll(() => bed?.stop())

  check(title('runs a job, an array and a step over two nodes'), async () => {
    const [job, array] = await Promise.all([submit(bed, '--wrap', 'exit 3'), submit(bed, '-a', '0-2', '--wrap', 'true')])
    expect((await word(bed, 'srun', '-N2', '-w', 'n1,n2', 'sh', '-c', 'echo $SLURMD_NODENAME')).split('\n').sort()).toEqual(['n1', 'n2'])
    await until(async () => (await stateOf(bed, job)) === 'FAILED', 'the job has failed')
    await until(async () => (await stateOf(bed, array)) === 'COMPLETED\nCOMPLETED\nCOMPLETED', 'the array has ended')
  })

  check(title('has the configuration that it was given, in place of its own'), async () => {
    const { exitCode, stderr } = await bed.run(['sbatch', '-a', '0-7', '--wrap', 'true'])
    expect([exitCode, stderr]).toEqual([1, expect.stringContaining('Invalid job array specification')])
    expect(readFileSync(bed.conf, 'utf8').match(/^MaxArraySize=.*/gm)).toEqual(['MaxArraySize=5'])
  })

  check(title('counts the calls that others make, not its own and not those of jobs'), async () => {
    const before = Date.now() - 20
    const job = await submit(bed, '--wrap', 'squeue; scontrol show job $SLURM_JOB_ID')
    await until(async () => (await stateOf(bed, job)) === 'COMPLETED', 'the job has ended')
    await bed.run(['sh', '-c', 'squeue --me; squeue; sinfo -h'])
    expect(bed.calls(before)).toEqual({ sbatch: 0, squeue: 2, sacct: 0, scontrol: 0, sinfo: 1, scancel: 0, sacctmgr: 0 })
    expect(bed.callList(before).map(({ args }) => args)).toEqual(['--me', '', '-h'])
    expect(bed.calls(Date.now() + 1000).squeue).toBe(0)
  })

  check(title('tells nothing while its controller is frozen, and what was asked is done afterwards'), async () => {
    const thaw = bed.freezeController()
    try {
      const { exitCode, stderr } = await bed.run(['sbatch', '-J', 'asked', '--wrap', 'true'])
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining('Socket timed out')])
    } finally {
      thaw()
    }
    await until(async () => (await word(bed, 'squeue', '-h', '-t', 'all', '-n', 'asked')) !== '', 'the job is there')
  })

  check(title('refuses while its controller is stopped or killed, and knows its jobs when it is back'), async () => {
    const job = await submit(bed, '-H', '--wrap', 'true')
    await bed.stopController()
    expect(await bed.run(['squeue'])).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Unable to contact slurm controller') })
    await bed.startController()
    await bed.killController()
    expect(await bed.run(['scontrol', 'ping'])).toMatchObject({ exitCode: 1 })
    await bed.startController()
    expect(await stateOf(bed, job)).toBe('PENDING')
    await word(bed, 'scancel', job)
  })

  check(title('cannot be talked to without munge'), async () => {
    await bed.stopMunge()
    expect(await bed.run(['squeue'])).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Munge encode failed') })
    await bed.startMunge()
    expect(await bed.run(['squeue'])).toMatchObject({ exitCode: 0 })
  })

  check(
    title('loses a node with its jobs when it is killed, and has it back'),
    async () => {
      const file = join(bed.directory, 'pid')
      const job = await submit(bed, '-w', 'n3', '--no-requeue', '--wrap', `echo $$ >${file}; sleep 1000`)
      await until(() => existsSync(file) && readFileSync(file, 'utf8') !== '', 'the job runs')
      await bed.killNode('n3')
      expect(isAlive(Number(readFileSync(file, 'utf8')))).toBe(false)
      await until(async () => (await stateOf(bed, job)) === 'NODE_FAIL', 'the node has failed')
      await bed.startNode('n3')
      expect(await word(bed, 'srun', '-w', 'n3', 'echo', 'back')).toBe('back')
      // The controller itself takes half a minute to call a node dead.
    },
    120_000,
  )

  check(title('starts its jobs on a node that stands still for longer than commands wait'), async () => {
    const node = processesWith(`${MARK}=${bed.directory}/slurmd-n1\0`)
    expect(node).not.toEqual([])
    for (const pid of node) process.kill(pid, 'SIGSTOP')
    let job = ''
    try {
      job = await submit(bed, '-w', 'n1', '--wrap', 'true')
      await until(async () => (await stateOf(bed, job)) === 'RUNNING', 'the job is given to the node')
      await sleep(4000)
    } finally {
      for (const pid of node) process.kill(pid, 'SIGCONT')
    }
    await until(async () => (await stateOf(bed, job)) === 'COMPLETED', 'the job has ended')
  })

  check(title('sets a node down at once'), async () => {
    const job = await submit(bed, '-w', 'n4', '--no-requeue', '--wrap', 'sleep 1000')
    await until(async () => (await stateOf(bed, job)) === 'RUNNING', 'the job runs')
    await bed.downNode('n4')
    expect(await stateOf(bed, job)).toBe('NODE_FAIL')
    await bed.startNode('n4')
  })

  check(title('offers its commands in another folder'), async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cahier-commands-'))
    try {
      bed.offerCommands(folder)
      const { stdout } = await promisify(execFile)(join(folder, 'scontrol'), ['ping'], { env: { PATH: '/usr/bin:/bin' } })
      expect(stdout).toContain('is UP')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('SLURM beds', () => {
  check(title('live beside each other'), async () => {
    const beds = await Promise.all([startSlurm({ ...patient, nodes: 1 }), startSlurm({ ...patient, nodes: 2, clusterName: 'second' })])
    try {
      expect(beds.map(({ nodes }) => nodes)).toEqual([['n1'], ['n1', 'n2']])
      const jobs = await Promise.all(beds.map((bed) => submit(bed, '--wrap', 'sleep 1000')))
      expect(jobs).toEqual(['1', '1'])
      await beds[0].stop()
      expect(await word(beds[1], 'squeue', '-h', '-o', '%i')).toBe('1')
      expect(beds[1].cluster).toBe('second')
    } finally {
      await Promise.all(beds.map((bed) => bed.stop()))
    }
  })

  check(title('leave nothing behind: processes, files, ports, also with jobs that ignore signals and nodes that are stuck'), async () => {
    const bed = await startSlurm({ ...patient, nodes: 2 })
    const { claim } = JSON.parse(readFileSync(join(bed.directory, 'bed.json'), 'utf8')) as { claim: string }
    const marks = [1, 2].map((number) => join(bed.directory, `up${number}`))
    await submit(bed, '--wrap', `trap "" TERM INT HUP; setsid sleep 1001 & touch ${marks[0]}; while :; do sleep 1; done`)
    await submit(bed, '-w', 'n2', '--export=NONE', '--wrap', `touch ${marks[1]}; exec sleep 1002`)
    await until(() => marks.every((mark) => existsSync(mark)), 'the jobs run')
    await bed.killNode('n2', { onlyDaemon: true })
    bed.freezeController()
    const conf = `SLURM_CONF=${bed.conf}`
    expect(processesWith(conf).length).toBeGreaterThan(4)
    await bed.stop()
    expect(processesWith(bed.directory)).toEqual([])
    expect(processesWith(conf)).toEqual([])
    expect([bed.directory, claim].filter((file) => existsSync(file))).toEqual([])
  })

  check(title('go when the program that started them is killed'), async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cahier-killed-'))
    const code = `import { startSlurm } from ${JSON.stringify(program)}
      await startSlurm(${JSON.stringify({ nodes: 1, directory })})
      process.stdout.write('up')
      setInterval(() => {}, 1000)`
    const starter = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    await new Promise((resolve) => starter.stdout.once('data', resolve))
    expect(processesWith(directory).length).toBeGreaterThan(3)
    starter.kill('SIGKILL')
    await until(() => !existsSync(directory) && processesWith(directory).length === 0, 'the bed is gone')
  })

  check(title('say why they cannot start, and leave nothing then'), async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cahier-bad-'))
    await expect(startSlurm({ directory, config: ['Nonsense=1'] })).rejects.toThrow(/slurmctld ended while it started[\s\S]*Nonsense/)
    expect(existsSync(directory)).toBe(false)
    expect(processesWith(directory)).toEqual([])
  })

  check(title('are refused for a directory that has one, or that is no good for sockets and shells'), async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cahier-taken-'))
    try {
      writeFileSync(join(directory, 'bed.json'), '{}')
      await expect(startSlurm({ directory })).rejects.toThrow('there is a bed in')
      await expect(startSlurm({ directory: join(directory, 'a b') })).rejects.toThrow('no blanks')
      await expect(startSlurm({ directory: join(directory, 'x'.repeat(80)) })).rejects.toThrow('too long')
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it.skipIf(process.platform !== 'linux')('are refused with the names of what is missing', async () => {
    const code = `import { startSlurm } from ${JSON.stringify(program)}
      await startSlurm().catch((error) => process.stdout.write(error.message))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', code], { env: { PATH: '/nowhere' } })
    expect(stdout).toMatch(/^no SLURM test bed: needs .*sbatch.* \(Debian: slurm-wlm munge/)
  })
})

describe('a SLURM bed with accounting', () => {
  const why = slurmUnavailable({ accounting: 'dbd' })

  it.skipIf(why !== undefined)(title('answers sacct, keeps limits, and can lose its database', why), async () => {
    const bed = await startSlurm({
      ...patient,
      nodes: 1,
      accounting: 'dbd',
      enforce: 'associations,limits,qos',
      limits: [['modify', 'qos', 'normal', 'set', 'MaxSubmitJobsPerUser=1']],
    })
    try {
      const go = join(bed.directory, 'go')
      const job = await submit(bed, '--wrap', `until [ -e ${go} ]; do sleep 0.1; done; exit 3`)
      const { exitCode, stderr } = await bed.run(['sbatch', '--wrap', 'true'])
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining('QOSMaxSubmitJobPerUserLimit')])
      writeFileSync(go, '')
      const account = ['sacct', '-nPX', '-j', job, '-o', 'State,ExitCode']
      await until(async () => (await word(bed, ...account)) === 'FAILED|3:0', 'sacct knows the end')
      const thaw = bed.freezeAccounting()
      try {
        expect((await bed.run(account, { timeoutMs: 1000 })).exitCode).toBeUndefined()
      } finally {
        thaw()
      }
      await bed.stopAccounting()
      expect(await bed.run(account)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('Connection refused') })
      await bed.startAccounting()
      expect(await word(bed, ...account)).toBe('FAILED|3:0')
    } finally {
      await bed.stop()
    }
    expect(processesWith(bed.directory)).toEqual([])
  })

  check(title('is not there when nobody asked for it'), async () => {
    const bed = await startSlurm({ ...patient, nodes: 1 })
    try {
      expect((await bed.run(['sacct'])).stderr).toContain('accounting storage is disabled')
      expect(() => bed.freezeAccounting()).toThrow('no accounting')
    } finally {
      await bed.stop()
    }
  })
})

describe('a SLURM bed on ssh hosts', () => {
  const why = sshHostsUnavailable({ netns: true }) ?? reason

  it.skipIf(why !== undefined)(title('has nodes with own names and addresses, and a login node', why), async () => {
    const hosts = await startSshHosts(2, { netns: true })
    try {
      const bed = await startSlurm({ ...patient, nodes: 2, hosts })
      try {
        expect((await word(bed, 'srun', '-N2', 'hostname')).split('\n').sort()).toEqual(['h1', 'h2'])
        bed.offerCommands(join(hosts.hosts[0]!.directory, 'bin'))
        const { stdout } = await promisify(execFile)('ssh', ['-F', hosts.sshConfig, 'h1', 'srun -w h2 cat /proc/sys/kernel/hostname'])
        expect(stdout).toBe('h2\n')
        await bed.killNode('h2')
        await bed.startNode('h2')
      } finally {
        await bed.stop()
      }
    } finally {
      await hosts.stop()
    }
  })
})

describe('the program of SLURM beds', () => {
  check(title('starts a bed that stays, and ends it'), async () => {
    const directory = mkdtempSync(join(tmpdir(), 'cahier-up-'))
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [
        program,
        'up',
        '--nodes',
        '2',
        '--min-job-age',
        '7',
        '--dir',
        directory,
      ])
      expect(stdout).toBe(`${join(directory, 'env.sh')}\n`)
      const look = '. "$1"; sinfo -h -o %D; scontrol show config | grep MinJobAge; echo $SLURM_BED_NODES'
      const seen = await promisify(execFile)('sh', ['-c', look, 'sh', stdout.trim()])
      expect(seen.stdout).toMatch(/^2\nMinJobAge\s+= 7 sec\nn1 n2\n$/)
      await promisify(execFile)(process.execPath, [program, 'down', directory])
      expect([existsSync(directory), processesWith(directory)]).toEqual([false, []])
    } finally {
      await stopSlurm(directory)
    }
  })
})
