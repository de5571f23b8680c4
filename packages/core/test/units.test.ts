import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatBytes, formatClockTime, formatDuration, formatSize, parseDuration, parseSize, parseSizeMiB } from '../src/units.js'

const unitError = expect.objectContaining({ code: 'E_UNIT' })

describe('parseDuration', () => {
  it.each([
    ['90s', 90_000],
    ['1h30m', 5_400_000],
    ['1h 30 min', 5_400_000],
    ['10min', 600_000],
    ['1.5h', 5_400_000],
    ['1.1s', 1100],
    ['0.1ms', 1],
    ['250ms', 250],
    ['2d', 172_800_000],
    ['1w', 604_800_000],
    ['0s', 0],
    ['2 days', 172_800_000],
    ['02:00:00', 7_200_000],
    ['100:00:00', 360_000_000],
    ['00:00:01.5', 1500],
    ['1-02:00:00', 93_600_000],
    ['1-02:30', 95_400_000],
    ['1-12', 129_600_000],
    ['  90s\n', 90_000],
  ])('reads %j as %d ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  it.each([
    '',
    ' ',
    '90',
    '1.5',
    'h',
    '1x',
    '30m1h',
    '1h1h',
    '-5s',
    '1h-5m',
    '1e3s',
    '10:30',
    '01:60:00',
    '01:00:60',
    '1-24:00:00',
    '1,5h',
    '１s',
    'forever',
    `${'1'.repeat(40)}s`,
    '99999999999999w',
  ])('refuses %j', (text) => {
    expect(() => parseDuration(text)).toThrow(unitError)
  })

  it('refuses a number and names the cure', () => {
    expect(() => parseDuration(90 as unknown as string)).toThrow(
      expect.objectContaining({ code: 'E_UNIT', suggestions: ['Say which unit is meant: 90s, 90min'] }),
    )
  })

  it('says what an ambiguous time could be', () => {
    expect(() => parseDuration('10:30')).toThrow(
      expect.objectContaining({ suggestions: ['Write "10:30:00" or "10h30min"', 'Write "00:10:30" or "10min30s"'] }),
    )
  })

  it('names the nearest unit', () => {
    expect(() => parseDuration('10mim')).toThrow(expect.objectContaining({ suggestions: ['Write it like 10min'] }))
  })
})

describe('formatDuration', () => {
  it.each([
    [0, '0s'],
    [5_400_000, '1h30min'],
    [600_000, '10min'],
    [93_600_000, '1d2h'],
    [1500, '1s500ms'],
    [0.2, '1ms'],
  ])('writes %d as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  it('is read back as the same duration', () => {
    fc.assert(fc.property(fc.nat(Number.MAX_SAFE_INTEGER), (ms) => parseDuration(formatDuration(ms)) === ms))
  })

  it.each([-1, NaN, Infinity])('refuses %d', (ms) => {
    expect(() => formatDuration(ms)).toThrow(unitError)
  })
})

describe('formatClockTime', () => {
  it.each([
    [0, '00:00:00'],
    [5_400_000, '01:30:00'],
    [1, '00:00:01'],
    [360_000_000, '100:00:00'],
  ])('writes %d as %s', (ms, text) => {
    expect(formatClockTime(ms)).toBe(text)
  })

  it('never gives less than was asked and never a second more', () => {
    fc.assert(
      fc.property(fc.nat(3_000_000_000), (ms) => {
        const given = parseDuration(formatClockTime(ms))
        expect(given >= ms && given < ms + 1000).toBe(true)
      }),
    )
  })
})

describe('parseSize', () => {
  it.each([
    ['4GiB', 4 * 2 ** 30],
    ['4G', 4 * 2 ** 30],
    ['4GB', 4e9],
    ['500 MB', 5e8],
    ['64k', 65_536],
    ['64kB', 64_000],
    ['1.5KiB', 1536],
    ['1.0001kB', 1001],
    ['0B', 0],
    ['2TiB', 2 ** 41],
  ])('reads %j as %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes)
  })

  it.each(['', '4', 'GiB', '4gb', '4Gb', '4g', '4m', '-1GB', '1GB1MB', '4XB', '4 G B', '1e3MB', '99999999PB'])('refuses %j', (text) => {
    expect(() => parseSize(text)).toThrow(unitError)
  })

  it('gives MiB rounded up', () => {
    expect(parseSizeMiB('500MB')).toBe(477)
    expect(parseSizeMiB('1B')).toBe(1)
    expect(parseSizeMiB('2G')).toBe(2048)
  })
})

describe('formatSize', () => {
  it.each([
    [0, '0B'],
    [1000, '1kB'],
    [1024, '1KiB'],
    [4 * 2 ** 30, '4GiB'],
    [5e8, '500MB'],
    [1234, '1234B'],
  ])('writes %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text)
  })

  it('is read back as the same size', () => {
    const bytes = fc.oneof(
      fc.nat(Number.MAX_SAFE_INTEGER),
      fc.nat(9_000_000).map((n) => n * 1e9),
      fc.nat(8_000_000).map((n) => n * 2 ** 30),
    )
    fc.assert(fc.property(bytes, (n) => parseSize(formatSize(n)) === n))
  })
})

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1 kB'],
    [1549, '1.5 kB'],
    [9949, '9.9 kB'],
    [9950, '10 kB'],
    [999_499, '999 kB'],
    [999_500, '1 MB'],
    [100_000_000, '100 MB'],
    [104_857_600, '105 MB'],
    [2.5e12, '2.5 TB'],
    [3e18, '3000 PB'],
    [-1, '0 B'],
  ])('writes %d as %j', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text)
  })
})
