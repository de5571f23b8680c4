import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectionOf } from '../../src/api/connections.js'
import { copyOptionsSchema } from '../../src/model/transfer.js'
import type { TransferProgress, TransferRequest } from '../../src/ports/transfer.js'
import { AutoTransfer, type DriverChoice } from '../../src/transfer/auto-transfer.js'
import { failure, TellingTransfer } from '../api/transfer-fakes.js'

let folder: string
let small: string
let large: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cahier-auto-'))
  small = join(folder, 'small')
  writeFileSync(small, 'abc')
  large = join(folder, 'large')
  writeFileSync(large, '')
  truncateSync(large, 200_000_000)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function request(file: string, ...hosts: readonly (string | undefined)[]): TransferRequest {
  const ends = hosts.map((address) => ({
    host: address === undefined ? undefined : { address },
    connection: connectionOf(),
    directory: '/t',
  }))
  return { files: [file], ends, policy: copyOptionsSchema.parse({}) }
}

/** Ways that hosts do not have, by `way host`. */
function open(...missing: readonly string[]) {
  const made = new Map<string, TellingTransfer>()
  const choices: DriverChoice[] = []
  const auto = new AutoTransfer({
    make: async (name) => {
      const driver = new TellingTransfer((host) =>
        missing.includes(`${name} ${host}`) ? failure('E_NOT_SUPPORTED', `no ${name}`) : { via: name },
      )
      made.set(name, driver)
      return driver
    },
    onChoice: (choice) => choices.push(choice),
  })
  return { auto, made, choices }
}

describe('AutoTransfer', () => {
  it('asks for the size of what several hosts get, and says what it takes', async () => {
    const { auto, made, choices } = open()
    await auto.put(request(large, 'a', 'b', 'c'))
    await auto.put(request(small, 'a', 'b', 'c'))
    await auto.put(request(large, 'a'))
    await auto.put(request(large, undefined))
    await auto.get(request('far', 'a', 'b'))
    expect(choices).toEqual([
      { via: 'chain', why: '200 MB to 3 hosts (sftp would send 600 MB from here)' },
      { via: 'sftp', why: '3 B to 3 hosts, too little for a chain to be faster' },
      { via: 'sftp', why: 'to one host' },
      { via: 'local', why: 'everything is on this machine' },
      { via: 'sftp', why: 'from 2 hosts, each has files of its own' },
    ])
    expect([...made].map(([name, { asked }]) => `${name} ${asked.length}`)).toEqual(['chain 1', 'sftp 3', 'local 1'])
    await auto[Symbol.asyncDispose]()
    expect([...made.values()].map(({ closed }) => closed)).toEqual([1, 1, 1])
  })

  it('serves hosts that do not have what it takes in another way, the others not again', async () => {
    const { auto, made, choices } = open('chain b', 'chain c', 'sftp c')
    const told: TransferProgress[] = []
    const results = await auto.put(request(large, 'a', 'b', 'c'), { onProgress: (progress) => told.push(progress) })
    expect(results.map(({ host, outcome, via }) => [host, outcome, via])).toEqual([
      ['a', 'done', 'chain'],
      ['b', 'done', 'sftp'],
      ['c', 'done', 'scp'],
    ])
    expect([...made].map(([name, { asked }]) => [name, asked[0]?.request.ends.map(({ host }) => host?.address)])).toEqual([
      ['chain', ['a', 'b', 'c']],
      ['sftp', ['b', 'c']],
      ['scp', ['c']],
    ])
    expect(choices.slice(1)).toEqual([
      { via: 'sftp', why: 'b and 1 more: no chain' },
      { via: 'scp', why: 'c: no sftp' },
    ])
    expect(told.filter(({ phase }) => phase === 'ended').map(({ index, result }) => [index, result?.outcome])).toEqual([
      [0, 'done'],
      [1, 'done'],
      [2, 'done'],
    ])
  })

  it('gives up a host that has none of the ways, and says so at the end', async () => {
    const { auto } = open('sftp a', 'scp a', 'cat a')
    const told: TransferProgress[] = []
    const [result] = await auto.get(request('far', 'a'), { onProgress: (progress) => told.push(progress) })
    expect(result).toMatchObject({ outcome: 'failed', error: { code: 'E_NOT_SUPPORTED', message: 'no cat' } })
    expect(told.filter(({ phase }) => phase === 'ended')).toHaveLength(1)
  })

  it('does not try again what failed for another reason', async () => {
    const asked: string[] = []
    const auto = new AutoTransfer({
      make: async (name) => {
        asked.push(name)
        return new TellingTransfer(() => failure('E_TARGET_FULL'))
      },
    })
    expect(await auto.put(request(small, 'a'))).toMatchObject([{ outcome: 'failed', error: { code: 'E_TARGET_FULL' } }])
    expect(asked).toEqual(['sftp'])
  })

  it('asks nobody when a source is missing', async () => {
    const { auto, made } = open()
    await expect(auto.put(request(join(folder, 'none'), 'a', 'b'))).rejects.toMatchObject({ code: 'E_SOURCE_MISSING' })
    expect(made.size).toBe(0)
  })
})
