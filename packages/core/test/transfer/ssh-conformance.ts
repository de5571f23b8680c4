import { afterAll, beforeAll, describe, test } from 'vitest'
import { type SshHosts, sshHostsUnavailable, type startSshHosts } from '../../../../test/testbed/ssh-hosts.mjs'
import { registerTransfers, type TransferLab, transferCases } from '../../src/conformance/index.js'
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
  describe.skipIf(reason !== undefined)(title, { timeout: 180_000 }, () => {
    const lab = makeSshLab(connection, settings, fields)
    beforeAll(() => lab.start())
    afterAll(() => lab[Symbol.asyncDispose]())
    const subject = async () => await make(lab.context, lab.bed)
    // Each case has directories of its own. What does something to a host or to this process is alone, and so is what depends on when
    // bytes arrive.
    const isTimed = (declared: string | undefined): boolean => declared === 'resume' || declared === 'limit'
    const alone = transferCases.filter(({ needs = [], declared }) => needs.length > 0 || isTimed(declared))
    const together = transferCases.filter((one) => !alone.includes(one))
    registerTransfers({ test: test.concurrent, subject, lab, supports, cases: together })
    registerTransfers({ test, subject, lab, supports, cases: alone })
  })
}

export const ALL_TRANSFER_PROMISES: TransferSupports = { put: true, get: true, resume: true, limit: true }
