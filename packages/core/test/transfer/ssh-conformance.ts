import { afterAll, beforeAll, describe, test } from 'vitest'
import { type SshHosts, sshHostsUnavailable, type startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { registerTransfers, type TransferLab } from '../../src/conformance/index.js'
import type { ConnectionOptions } from '../../src/model/connection.js'
import type { Transfer, TransferSupports } from '../../src/ports/transfer.js'
import type { TransferContext } from '../../src/transfer/context.js'
import { makeSshLab } from './transfer-lab.js'

export interface SshSubject {
  /** A sentence without its end. */
  readonly name: string
  readonly make: (context: TransferContext, bed: SshHosts) => Transfer | Promise<Transfer>
  readonly supports: Partial<TransferSupports>
  readonly connection?: ConnectionOptions
  /** Of the hosts. */
  readonly settings?: Parameters<typeof startSshHosts>[1]
  /** What the lab says of itself. */
  readonly fields?: Partial<TransferLab>
  /** Why it cannot be tried here. */
  readonly missing?: string | undefined
}

/** Tries a driver on real hosts. */
export function conformsOverSsh({ name, make, supports, connection, settings, fields, missing }: SshSubject): void {
  const reason = sshHostsUnavailable() ?? missing
  const title = `${name} keeps the promises of a transfer${reason === undefined ? '' : ` (${reason})`}`
  describe.skipIf(reason !== undefined)(title, () => {
    const lab = makeSshLab(connection, settings, fields)
    beforeAll(() => lab.start())
    afterAll(() => lab[Symbol.asyncDispose]())
    registerTransfers({ test, subject: async () => await make(lab.context, lab.bed), lab, supports })
  })
}

export const ALL_TRANSFER_PROMISES: TransferSupports = { put: true, get: true, resume: true, limit: true }
