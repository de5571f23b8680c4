import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BROADCAST_SPARES_BYTES, CHAIN_SPARES_BYTES, chooseTransfer, type TransferFacts } from '../../src/transfer/auto.js'

const MB = 1_000_000

describe('chooseTransfer', () => {
  it.each<[TransferFacts, string, string]>([
    [{ direction: 'put', hosts: 0, bytes: 5 }, 'local', 'everything is on this machine'],
    [{ direction: 'get', hosts: 0 }, 'local', 'everything is on this machine'],
    [{ direction: 'put', hosts: 1 }, 'sftp', 'to one host'],
    [{ direction: 'put', hosts: 8, bytes: 4000 }, 'sftp', '4 kB to 8 hosts, too little for a chain to be faster'],
    [{ direction: 'put', hosts: 8, bytes: 0 }, 'sftp', '0 B to 8 hosts, too little for a chain to be faster'],
    [{ direction: 'put', hosts: 8, bytes: 100 * MB }, 'chain', '100 MB to 8 hosts (sftp would send 800 MB from here)'],
    [{ direction: 'put', hosts: 2, bytes: CHAIN_SPARES_BYTES - 1 }, 'sftp', '16 MB to 2 hosts, too little for a chain to be faster'],
    [{ direction: 'put', hosts: 2, bytes: CHAIN_SPARES_BYTES }, 'chain', '16 MB to 2 hosts (sftp would send 32 MB from here)'],
    [{ direction: 'put', hosts: 8, bytes: MB, broadcast: true }, 'chain', '1 MB to 8 hosts (sftp would send 8 MB from here)'],
    [{ direction: 'put', hosts: 8, bytes: 10, broadcast: true }, 'sftp', '10 B to 8 hosts, too little for a chain to be faster'],
    [
      { direction: 'put', hosts: 8, bytes: 245_000, files: 10_000 },
      'chain',
      '245 kB in 10000 files to 8 hosts (sftp would bring each by itself)',
    ],
    [{ direction: 'put', hosts: 8, bytes: 25_000, files: 1000 }, 'sftp', '25 kB to 8 hosts, too little for a chain to be faster'],
    [{ direction: 'put', hosts: 2, bytes: 245_000, files: 10_000 }, 'sftp', '245 kB to 2 hosts, too little for a chain to be faster'],
    [{ direction: 'put', hosts: 1, bytes: 245_000, files: 100_000 }, 'sftp', 'to one host'],
    [{ direction: 'put', hosts: 1, bytes: 900 * MB, broadcast: true }, 'sftp', 'to one host'],
    [{ direction: 'get', hosts: 1 }, 'sftp', 'from one host'],
    [{ direction: 'get', hosts: 9 }, 'sftp', 'from 9 hosts, each has files of its own'],
  ])('of %j takes %s: %s', (facts, via, why) => {
    expect(chooseTransfer(facts)).toEqual({ via, why })
  })

  it('never goes back from a chain when there is more to send, in more files, or to more hosts', () => {
    const facts = fc.record({ hosts: fc.integer({ min: 1, max: 5000 }), bytes: fc.nat(1e12), files: fc.nat(1e6), broadcast: fc.boolean() })
    fc.assert(
      fc.property(facts, fc.nat(100), fc.nat(1e9), fc.nat(1e5), (one, hosts, bytes, files) => {
        const more = { ...one, hosts: one.hosts + hosts, bytes: one.bytes + bytes, files: one.files + files }
        if (chooseTransfer({ direction: 'put', ...one }).via === 'chain')
          expect(chooseTransfer({ direction: 'put', ...more }).via).toBe('chain')
      }),
    )
  })

  it('takes a chain earlier for who asked for a broadcast', () => {
    expect(BROADCAST_SPARES_BYTES).toBeLessThan(CHAIN_SPARES_BYTES)
  })
})
