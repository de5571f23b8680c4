import { chmodSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { chmod, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { disksUnavailable, mountDisk } from '../../../../test/testbed/disks.mjs'
import type { SshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import type { LabDirectory, LabHost, TransferLab } from '../../src/conformance/index.js'
import { type ConnectionOptions, connectionSchema } from '../../src/model/connection.js'

const NOBODY = 65_534

interface Disks {
  readonly full: NonNullable<TransferLab['full']>
  readonly readOnly: NonNullable<TransferLab['readOnly']>
}

type OpenLab = TransferLab & AsyncDisposable

/** Hosts that share the files of this machine. */
function makeLab(
  makeHosts: (makeDirectory: () => Promise<LabDirectory>) => [LabHost, ...LabHost[]],
  fields: Partial<TransferLab>,
): OpenLab {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'cahier-transfer-lab-')))
  // Also who may nothing may look whether a file in it can be read.
  chmodSync(root, 0o755)
  const disks: (() => Promise<void>)[] = []
  const makeDirectory = async () => {
    const directory = await mkdtemp(join(root, "it's a place "))
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
  const home = realpathSync(mkdtempSync(join(tmpdir(), 'cahier-transfer-home-')))
  const before = process.env['HOME']
  process.env['HOME'] = home
  const lab = makeLab(
    (makeDirectory) => {
      const host = { host: undefined, connection, makeDirectory }
      return [host, { ...host }, { ...host }]
    },
    { home: () => ({ there: home, here: home }) },
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

/** The last host of the bed is nobody: it takes no connections. The others are the ends. */
export function makeSshLab(bed: SshHosts, options: ConnectionOptions = {}): OpenLab {
  const connection = connectionSchema.parse({ sshConfig: bed.sshConfig, ...options })
  const names = bed.hosts.map(({ name }) => name)
  const silent = names.at(-1) as string
  bed.stopHost(silent)
  const addressOf = ({ host }: LabHost): string => host?.address ?? ''
  return makeLab(
    (makeDirectory) => names.slice(0, -1).map((address) => ({ host: { address }, connection, makeDirectory })) as [LabHost, ...LabHost[]],
    {
      unreachable: () => ({ host: { address: silent }, connection }),
      home: (host) => {
        const { home } = bed.hosts.find(({ name }) => name === addressOf(host)) as SshHosts['hosts'][number]
        return { there: home, here: home }
      },
      drop: (host) => bed.dropSessions(addressOf(host)),
      killWorkers: (host) => bed.killProcesses(addressOf(host)),
    },
  )
}
