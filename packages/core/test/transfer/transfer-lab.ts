import { randomBytes } from 'node:crypto'
import { mkdirSync, realpathSync, rmSync } from 'node:fs'
import { chmod, mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { disksUnavailable, mountDisk } from '../../../../test/testbed/disks.mjs'
import { type SshHosts, startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import type { LabDirectory, LabHost, TransferLab } from '../../src/conformance/index.js'
import { type ConnectionOptions, connectionSchema } from '../../src/model/connection.js'
import { LocalBackend } from '../../src/process/local-backend.js'
import { ConnectionPool } from '../../src/ssh/connection-pool.js'
import { systemClock } from '../../src/system/clock.js'
import type { TransferContext } from '../../src/transfer/context.js'

const NOBODY = 65_534

interface Disks {
  readonly full: NonNullable<TransferLab['full']>
  readonly readOnly: NonNullable<TransferLab['readOnly']>
}

/** Nothing is made before the first case: labs are described also where all is skipped. */
function freshName(what: string): string {
  return join(realpathSync(tmpdir()), `cahier-transfer-${what}-${randomBytes(6).toString('hex')}`)
}

type OpenLab = TransferLab & AsyncDisposable

/** Hosts that share the files of this machine. */
function makeLab(
  makeHosts: (makeDirectory: () => Promise<LabDirectory>) => [LabHost, ...LabHost[]],
  fields: Partial<TransferLab>,
): OpenLab {
  const root = freshName('lab')
  const disks: (() => Promise<void>)[] = []
  const makeDirectory = async () => {
    await mkdir(root, { recursive: true })
    const directory = await mkdtemp(join(root, "it's a place "))
    // Also who may nothing may look whether a file in it can be read.
    await chmod(directory, 0o755)
    return directory
  }
  const disk = async (options: { size?: string; readOnly?: boolean }): Promise<LabDirectory> => {
    const { there, here, end } = await mountDisk(options)
    disks.push(end)
    return { there, here }
  }
  const mounts: Disks = { full: () => disk({ size: '2m' }), readOnly: () => disk({ readOnly: true }) }
  const hosts = makeHosts(async () => {
    const directory = await makeDirectory()
    return { there: directory, here: directory }
  })
  return {
    hosts,
    makeDirectory,
    forbid,
    ...(disksUnavailable() === undefined ? mounts : {}),
    ...fields,
    [Symbol.asyncDispose]: async () => {
      await Promise.all(disks.map((end) => end()))
      rmSync(root, { recursive: true, force: true })
    },
  }
}

/** Root may read whatever it wants; so this process is nobody for a while. */
async function forbid(path: string): Promise<() => Promise<void>> {
  await chmod(path, 0)
  const isRoot = process.geteuid?.() === 0
  if (isRoot) process.seteuid?.(NOBODY)
  return async () => {
    if (isRoot) process.seteuid?.(0)
    await chmod(path, 0o755)
  }
}

/** This machine alone, three times. Its home directory is another one meanwhile. */
export function makeLocalLab(): OpenLab {
  const connection = connectionSchema.parse({})
  const home = freshName('home')
  const before = process.env['HOME']
  process.env['HOME'] = home
  const lab = makeLab(
    (makeDirectory) => {
      const host = { host: undefined, connection, makeDirectory }
      return [host, { ...host }, { ...host }]
    },
    {
      home: () => {
        mkdirSync(home, { recursive: true })
        return { there: home, here: home }
      },
    },
  )
  return {
    ...lab,
    [Symbol.asyncDispose]: async () => {
      process.env['HOME'] = before
      rmSync(home, { recursive: true, force: true })
      await lab[Symbol.asyncDispose]()
    },
  }
}

export interface SshLab extends OpenLab {
  /** Once, before the first case. */
  start(): Promise<void>
  /** For the drivers. */
  readonly context: TransferContext
  readonly bed: SshHosts
}

/** Real hosts on this machine, and one more at which nobody answers. */
export function makeSshLab(
  options: ConnectionOptions = {},
  settings: Parameters<typeof startSshHosts>[1] = {},
  fields: Partial<TransferLab> = {},
): SshLab {
  const directory = freshName('hosts')
  const connection = connectionSchema.parse({ sshConfig: join(directory, 'ssh_config'), ...options })
  const pool = new ConnectionPool()
  let started: (SshHosts & AsyncDisposable) | undefined
  const bed = (): SshHosts => {
    if (started === undefined) throw new Error('the hosts are not started yet')
    return started
  }
  const addressOf = ({ host }: LabHost): string => host?.address ?? ''
  const lab = makeLab(
    (makeDirectory) => ENDS.map((address) => ({ host: { address }, connection, makeDirectory })) as [LabHost, ...LabHost[]],
    {
      unreachable: () => ({ host: { address: NOBODY_THERE }, connection }),
      home: (host) => {
        const { home } = bed().hosts.find(({ name }) => name === addressOf(host)) as SshHosts['hosts'][number]
        return { there: home, here: home }
      },
      drop: (host) => bed().dropSessions(addressOf(host)),
      killWorkers: (host) => void bed().killProcesses(addressOf(host)),
      // Several cases are tried at once, on a machine that may have much else to do.
      patienceMs: 120_000,
      ...fields,
    },
  )
  return {
    ...lab,
    get bed(): SshHosts {
      return bed()
    },
    context: { pool: () => Promise.resolve(pool), processes: new LocalBackend(), log: silent, clock: systemClock },
    start: async () => {
      started = await startSshHosts(ENDS.length + 1, { ...settings, directory })
      started.stopHost(NOBODY_THERE)
    },
    [Symbol.asyncDispose]: async () => {
      await pool[Symbol.asyncDispose]()
      await started?.stop()
      rmSync(directory, { recursive: true, force: true })
      await lab[Symbol.asyncDispose]()
    },
  }
}

const ENDS = ['h1', 'h2', 'h3']
const NOBODY_THERE = 'h4'
const silent: TransferContext['log'] = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
