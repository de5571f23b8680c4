import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  MOST_PACKET,
  makeRequest,
  PACKET,
  type SftpAttributes,
  SftpFields,
  SftpNonsense,
  SftpParser,
} from '../../src/transfer/sftp/sftp-packets.js'

const answers = [PACKET.version, PACKET.status, PACKET.handle, PACKET.data, PACKET.name, PACKET.attrs, PACKET.extendedReply]
const packet = fc.record({ type: fc.constantFrom(...answers), body: fc.uint8Array({ maxLength: 300 }) })

function encode(packets: readonly { readonly type: number; readonly body: Uint8Array }[]): Buffer {
  return Buffer.concat(
    packets.flatMap(({ type, body }) => {
      const head = Buffer.alloc(5)
      head.writeUInt32BE(1 + body.length)
      head[4] = type
      return [head, body]
    }),
  )
}

describe('SftpParser', () => {
  it('reads the same packets wherever the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(packet, { maxLength: 20 }), fc.array(fc.nat(400), { maxLength: 50 }), (packets, cuts) => {
        const bytes = encode(packets)
        const parser = new SftpParser()
        const found = []
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          found.push(...parser.push(bytes.subarray(at, at + cut)))
          at = Math.min(at + cut, bytes.length)
        }
        expect(found.map(({ type, body }) => [type, body.toString('hex')])).toEqual(
          packets.map(({ type, body }) => [type, Buffer.from(body).toString('hex')]),
        )
      }),
    )
  })

  it('refuses a length that no answer has, and a type that is none, as soon as it is seen', () => {
    fc.assert(
      fc.property(fc.oneof(fc.constant(0), fc.integer({ min: MOST_PACKET + 1, max: 0xffff_ffff })), (length) => {
        const head = Buffer.alloc(5)
        head.writeUInt32BE(length)
        head[4] = PACKET.data
        expect(() => new SftpParser().push(head)).toThrow(SftpNonsense)
      }),
    )
    for (const type of [0, 3, 100, 106, 199, 200, 202, 255]) {
      expect(() => new SftpParser().push(Buffer.from([0, 0, 0, 9, type]))).toThrow(SftpNonsense)
    }
    expect(() => new SftpParser().push(Buffer.from('Welcome to the host\n'))).toThrow(SftpNonsense)
  })
})

describe('SftpFields', () => {
  const uint32 = fc.nat(0xffff_ffff)
  const attributes: fc.Arbitrary<SftpAttributes> = fc
    .record({ size: fc.maxSafeNat(), mode: uint32, owner: fc.tuple(uint32, uint32), mtime: uint32 }, { requiredKeys: [] })
    .map(({ size, mode, owner, mtime }) => ({ size, uid: owner?.[0], gid: owner?.[1], mode, atime: mtime, mtime }))

  it('reads what requests are made of', () => {
    fc.assert(
      fc.property(uint32, uint32, fc.uint8Array(), fc.maxSafeNat(), attributes, (id, number, bytes, long, all) => {
        const name = Buffer.from(bytes).toString('latin1')
        const request = makeRequest(PACKET.open, id, [number, name, BigInt(long), { attributes: all }])
        expect(request.readUInt32BE(0)).toBe(request.length - 4)
        const fields = new SftpFields(request.subarray(5))
        expect([fields.number(), fields.number(), fields.name(), fields.long()]).toEqual([id, number, name, long])
        expect(fields.attributes()).toEqual(all)
        expect(fields.left).toBe(0)
      }),
    )
  })

  it('refuses what ends in the middle of a field', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1 }), attributes, fc.nat(), (bytes, all, cut) => {
        const request = makeRequest(PACKET.setstat, 1, [Buffer.from(bytes).toString('latin1'), { attributes: all }])
        const body = request.subarray(9, 9 + (cut % (request.length - 9)))
        expect(() => {
          const fields = new SftpFields(body)
          fields.name()
          fields.attributes()
        }).toThrow(SftpNonsense)
      }),
    )
  })
})
