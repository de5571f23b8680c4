import fs from 'node:fs'

/**
 * File systems of this machine alone. Only here may the lock be given back before the bytes are on the disk: on all others
 * (NFS, Lustre, GPFS, FUSE, unknown ones) the next writer may be on a host that does not see them yet.
 *
 * @source statfs(2), Linux: magic numbers
 */
const LOCAL = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlay'],
  [0x2fc12fc1, 'zfs'],
  [0xf2f52010, 'f2fs'],
])
const SHARED = new Map([
  [0x6969, 'nfs'],
  [0x0bd00bd0, 'lustre'],
  [0x47504653, 'gpfs'],
  [0xff534d42, 'cifs'],
  [0xfe534d42, 'smb2'],
  [0x517b, 'smb'],
  [0x00c36400, 'ceph'],
  [0x19830326, 'beegfs'],
  [0x65735546, 'fuse'],
  [0x01021997, '9p'],
])

export interface FileSystemKind {
  readonly name: string
  /** Other hosts may write here at the same time. */
  readonly shared: boolean
}

export function fileSystemOf(path: string): FileSystemKind {
  try {
    const { type } = fs.statfsSync(path)
    const local = LOCAL.get(type)
    if (local !== undefined) return { name: local, shared: false }
    return { name: SHARED.get(type) ?? `unknown (0x${type.toString(16)})`, shared: true }
  } catch {
    return { name: 'unknown', shared: true }
  }
}
