const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24
  for (let bit = 0; bit < 8; bit += 1) value = value < 0 ? (value << 1) ^ 0x04c11db7 : value << 1
  return value
})

/**
 * The checksum of `cksum`, in pieces.
 *
 * @source cksum(1), POSIX.1-2017: CRC of ISO 8802-3 over the bytes and then over their number, the lowest byte first, complemented
 */
export class PosixCksum {
  #crc = 0
  #bytes = 0

  update(data: Uint8Array): void {
    let crc = this.#crc
    for (const byte of data) crc = (crc << 8) ^ (TABLE[(crc >>> 24) ^ byte] as number)
    this.#crc = crc
    this.#bytes += data.length
  }

  /** As `cksum` prints it. */
  digest(): string {
    let crc = this.#crc
    for (let left = this.#bytes; left > 0; left = Math.floor(left / 256)) crc = (crc << 8) ^ (TABLE[(crc >>> 24) ^ (left % 256)] as number)
    return String(~crc >>> 0)
  }
}
