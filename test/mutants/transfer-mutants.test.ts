import { mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it, test } from 'vitest'
import { type LabHost, registerTransfers, type TransferLab, transferCases } from '../../packages/core/src/conformance/index.js'
import { makeLocalLab } from '../../packages/core/test/transfer/transfer-lab.js'
import { NOBODY, PlainTransfer } from './plain-transfer.js'
import { transferMutants } from './transfers.js'

describe('the conformance suite of transfers', () => {
  const local = makeLocalLab()
  const homes = new Map(['h1', 'h2', 'h3'].map((name) => [name, realpathSync(mkdtempSync(join(tmpdir(), `cahier-home-${name}-`)))]))
  const [{ connection, makeDirectory }] = local.hosts
  const [first, ...others] = [...homes.keys()].map((address): LabHost => ({ host: { address }, connection, makeDirectory }))
  let tried: PlainTransfer | undefined
  const breakHost = ({ host }: LabHost) => tried?.breakHost(host?.address ?? '')
  const lab: TransferLab = {
    ...local,
    patienceMs: 10_000,
    hosts: [first as LabHost, ...others] as const,
    home: ({ host }: LabHost) => {
      const home = homes.get(host?.address ?? '') ?? ''
      return { there: home, here: home }
    },
    unreachable: () => ({ host: { address: NOBODY }, connection }),
    drop: breakHost,
    killWorkers: breakHost,
  }
  const { supports } = new PlainTransfer()
  afterAll(async () => {
    for (const home of homes.values()) rmSync(home, { recursive: true, force: true })
    await local[Symbol.asyncDispose]()
  })

  describe('is passed by the simplest transfer', () => {
    const subject = () => {
      tried = new PlainTransfer(homes)
      return Promise.resolve(tried)
    }
    // Only those that hang for ever are to be heard of soon.
    registerTransfers({ test, subject, lab: { ...lab, patienceMs: 55_000 }, supports })
  })

  for (const { fault, caughtBy, make } of transferMutants) {
    const one = transferCases.find(({ id }) => id === caughtBy)
    const missing = one?.needs?.filter((ability) => lab[ability] === undefined) ?? []
    const needs = missing.length === 0 ? '' : ` (needs a lab that can do ${missing.join(', ')})`
    it.skipIf(needs !== '')(`notices a transfer that ${fault} (${caughtBy})${needs}`, async () => {
      expect(one).toBeDefined()
      await using transfer = make(homes)
      tried = transfer
      await expect(one?.run({ transfer, lab, supports })).rejects.toThrow()
    })
  }

  it('has every id once', () => {
    const ids = transferCases.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })

  it('says of each case what goes wrong without it', () => {
    for (const { id, why } of transferCases) expect(why, id).toMatch(/^\S.{20,}[.]$/s)
  })
})
