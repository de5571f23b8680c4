import { foldHosts, formatBytes, type HostProgress, type TransferResult } from '@cahier/core/hosts'
import { describe, expect, it } from 'vitest'
import { suggestUsage } from '../src/scp-words.js'
import { wrapLine } from '../src/table.js'
import { type Measured, TransferMeter } from '../src/transfer-meter.js'
import {
  countResults,
  exitCodeOfTransfer,
  formatLeftOut,
  formatMeasured,
  formatResults,
  formatTransferEnd,
  formatTransferFaults,
} from '../src/transfer-text.js'

const words = { foldHosts, formatBytes, explain: (code: string) => (code === 'E_HOST_TIMEOUT' ? 'It was silent.' : '') }

function done(host: string, more: Partial<TransferResult> = {}): TransferResult {
  return { host, outcome: 'done', bytes: 100e6, files: 2, same: 0, seconds: 4, verified: 'sha256', via: 'chain', ...more }
}

function bad(host: string, code: string, more: Partial<TransferResult> = {}): TransferResult {
  const nothing = { bytes: 0, files: 0, verified: 'none' } as const
  return done(host, { outcome: 'failed', ...nothing, error: { code, message: `no room on ${host}`, suggestions: ['Make room'] }, ...more })
}

const unreachable = (host: string) =>
  bad(host, 'E_HOST_TIMEOUT', { outcome: 'unreachable', error: { code: 'E_HOST_TIMEOUT', message: `${host} is silent` } })

describe('TransferMeter', () => {
  const tell = (index: number, phase: HostProgress['phase'], bytes: number, total: number | undefined = 100) => ({
    index,
    phase,
    bytes,
    total,
  })

  it('adds up hosts, and knows the rate of the last moments and the time left', () => {
    const meter = new TransferMeter(2)
    expect(meter.measure(0)).toEqual({
      hosts: 2,
      good: 0,
      failed: 0,
      unreachable: 0,
      bytes: 0,
      total: undefined,
      rate: undefined,
      secondsLeft: undefined,
      phase: 'starting',
      phaseSeconds: 0,
    })
    meter.take(tell(0, 'looking', 0, undefined), 0)
    expect(meter.measure(500)).toMatchObject({ phase: 'looking', phaseSeconds: 0 })
    expect(meter.measure(4500)).toMatchObject({ phase: 'looking', phaseSeconds: 4 })
    meter.take(tell(0, 'moving', 0), 1000)
    meter.take(tell(1, 'moving', 0), 1000)
    meter.take(tell(0, 'moving', 20), 2000)
    meter.take(tell(1, 'moving', 20), 3000)
    expect(meter.measure(3000)).toMatchObject({ bytes: 40, total: 200, phase: 'moving', rate: 20, secondsLeft: 8 })
    meter.take(tell(0, 'moving', 90), 9_000)
    meter.take(tell(1, 'moving', 90), 10_000)
    // From the last sample before the window on; what is left is told by all that is known.
    expect(meter.measure(10_000)).toMatchObject({ rate: 20, secondsLeft: 1 })
    expect(meter.measure(40_000)).toMatchObject({ rate: 0 })
  })

  it('tells the time left by more than the last moments, and not before it knows something', () => {
    const meter = new TransferMeter(1)
    meter.take(tell(0, 'moving', 0, 1000), 0)
    meter.take(tell(0, 'moving', 100, 1000), 500)
    expect(meter.measure(500)).toMatchObject({ rate: 200, secondsLeft: undefined })
    for (let at = 1000; at <= 20_000; at += 1000) meter.take(tell(0, 'moving', 100 + at / 100, 1000), at)
    // 10 a second for a long time, and 100 all at once.
    meter.take(tell(0, 'moving', 400, 1000), 20_100)
    const { rate, secondsLeft } = meter.measure(20_100)
    expect(rate).toBeCloseTo(150 / 5.1, 0)
    expect(secondsLeft).toBeCloseTo((600 * 20.1) / 400, 0)
  })

  it('does not count as moved what was there before', () => {
    const meter = new TransferMeter(1)
    meter.take(tell(0, 'looking', 0), 0)
    meter.take(tell(0, 'moving', 80), 1000)
    meter.take(tell(0, 'moving', 90), 2000)
    expect(meter.measure(2000)).toMatchObject({ bytes: 90, total: 100, rate: 10, secondsLeft: 1 })
  })

  it('does not take the time before the first byte for that of bytes', () => {
    const meter = new TransferMeter(1)
    meter.take(tell(0, 'moving', 0, 1000), 0)
    meter.take(tell(0, 'moving', 100, 1000), 60_000)
    expect(meter.measure(60_000)).toMatchObject({ rate: 100, secondsLeft: 9 })
  })

  it('expects nothing more of a host that has failed', () => {
    const meter = new TransferMeter(2)
    meter.take(tell(0, 'moving', 10), 0)
    meter.take(tell(1, 'moving', 10), 0)
    meter.take({ ...tell(1, 'ended', 10), result: bad('b', 'E_TARGET_FULL') }, 1000)
    expect(meter.measure(1000)).toMatchObject({ failed: 1, total: 110, bytes: 20 })
    meter.take({ ...tell(0, 'ended', 100), result: done('a') }, 2000)
    expect(meter.measure(2000)).toMatchObject({ good: 1, total: 110, bytes: 110, secondsLeft: 0, phase: 'connecting' })
  })
})

describe('formatMeasured', () => {
  const measured: Measured = {
    hosts: 8,
    good: 2,
    failed: 1,
    unreachable: 1,
    bytes: 412e6,
    total: 800e6,
    rate: 112e6,
    secondsLeft: 3.5,
    phase: 'moving',
    phaseSeconds: 7,
  }

  it('shows all of it where there is room', () => {
    expect(formatMeasured(measured, words, 120)).toBe(
      '██████████░░░░░░░░░░   51 %  412 MB of 800 MB  112 MB/s     4 s left  4/8 hosts, 1 failed, 1 not reached',
    )
  })

  it.each([
    [95, '██████░░░░░   51 %  412 MB of 800 MB  112 MB/s     4 s left  4/8 hosts, 1 failed, 1 not reached'],
    [90, ' 51 %  412 MB of 800 MB  112 MB/s     4 s left  4/8 hosts, 1 failed, 1 not reached'],
    [75, ' 51 %  112 MB/s     4 s left  4/8 hosts, 1 failed, 1 not reached'],
    [58, ' 51 %     4 s left  4/8 hosts, 1 failed, 1 not reached'],
    [44, ' 51 %  4/8 hosts, 1 failed, 1 not reached'],
    [20, '4/8 hosts, 1 failed, 1 not reached'],
  ])('leaves out what matters less in %d columns', (width, line) => {
    expect(formatMeasured(measured, words, width)).toBe(line)
  })

  it.each<[Partial<Measured>, string]>([
    [
      { bytes: 0, total: undefined, rate: undefined, secondsLeft: undefined, phase: 'starting', good: 0 },
      'looking at the files here, 7 s  0/1 host',
    ],
    [{ bytes: 0, total: undefined, rate: undefined, phase: 'connecting', good: 0, phaseSeconds: 2 }, 'connecting  0/1 host'],
    [{ bytes: 0, rate: undefined, good: 0, phaseSeconds: 1 }, '░░░░░░░░░░░░░░░░░░░░    0 %     0 B of 800 MB  moving  0/1 host'],
    [{ bytes: 800e6, phase: 'checking', good: 0 }, '████████████████████  100 %  800 MB of 800 MB  checking, 7 s  0/1 host'],
    [{ bytes: 0, total: 0, rate: undefined, phase: 'checking', phaseSeconds: 0 }, '   0 B of 0 B  checking  1/1 host'],
    [{ bytes: 9e6, secondsLeft: 6000 }, '░░░░░░░░░░░░░░░░░░░░    1 %    9 MB of 800 MB  112 MB/s     2 h left  1/1 host'],
    [{ bytes: 0, secondsLeft: 600 }, '░░░░░░░░░░░░░░░░░░░░    0 %     0 B of 800 MB  112 MB/s  10 min left  1/1 host'],
  ])('of %j is %s', (more, line) => {
    expect(formatMeasured({ ...measured, hosts: 1, good: 1, failed: 0, unreachable: 0, ...more }, words, 200)).toBe(line)
  })
})

describe('formatResults', () => {
  it('has a line for each of a few hosts', () => {
    const results = [
      done('n1'),
      done('n2', { outcome: 'skipped-same', bytes: 0, files: 0, same: 2, seconds: 0.12, verified: 'time' }),
      bad('n3', 'E_TARGET_FULL'),
    ]
    expect(formatResults(results, words, undefined).split('\n')).toEqual([
      'host  outcome  files       bytes   seconds  rate     verified  reason',
      'n1    done     2           100 MB  4.0      25 MB/s  sha256',
      'n2    same     0 + 2 same  0 B     0.1               time',
      'n3    failed                       4.0                         E_TARGET_FULL',
    ])
  })

  it('folds many hosts that went alike', () => {
    const results = Array.from({ length: 20 }, (_, index) =>
      index === 4 ? unreachable('n5') : done(`n${index + 1}`, { seconds: index === 0 ? 2 : 4 }),
    )
    expect(formatResults(results, words, undefined).split('\n')).toEqual([
      'host              outcome      files  bytes   seconds  rate        verified  reason',
      'n[1-4,6-20] (19)  done         2      100 MB  2.0-4.0  25-50 MB/s  sha256',
      'n5                not reached                 4.0                            E_HOST_TIMEOUT',
    ])
  })

  it('folds also hosts whose files are not of one size, and says of what size', () => {
    const results = Array.from({ length: 12 }, (_, index) =>
      done(`n${index + 1}`, { bytes: 1e6 * (index + 1), files: index + 2, seconds: 1 }),
    )
    expect(formatResults(results, words, undefined).split('\n')[1]).toBe(
      'n[1-12] (12)  done     2-13   1-12 MB  1.0      1-12 MB/s  sha256',
    )
  })

  it('cuts the names of many hosts before it drops a column, and never their number', () => {
    const results = Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? unreachable(`n${index}`) : done(`n${index}`)))
    expect(formatResults(results, words, 100).split('\n')).toEqual([
      'host                               outcome      files  bytes   seconds  rate     verified',
      'n[0,2,4,6,8,10,12,14,16,18… (100)  not reached                 4.0',
      'n[1,3,5,7,9,11,13,15,17,19… (100)  done         2      100 MB  4.0      25 MB/s  sha256',
    ])
    expect(formatResults(results, words, undefined)).toContain(',199] (100)')
  })

  it.each([
    [70, 'host  outcome      files  bytes   seconds  rate     verified'],
    [44, 'host  outcome      files  bytes   seconds'],
    [30, 'host  outcome      seconds'],
  ])('drops columns until it fits into %d', (width, heads) => {
    const [first, ...rows] = formatResults([done('n1'), unreachable('n2')], words, width).split('\n')
    expect(first).toBe(heads)
    for (const row of rows) expect(row.length).toBeLessThanOrEqual(width)
  })

  it('cuts names when nothing else helps', () => {
    const name = 'a-rather-long-name.of.a.host.example.org'
    for (const row of formatResults([done(name)], words, 40).split('\n')) expect(row.length).toBeLessThanOrEqual(40)
  })
})

describe('formatTransferFaults', () => {
  it('lists failures, then hosts that were not reached, the same cause once', () => {
    const results = [unreachable('n7'), done('n1'), bad('n2', 'E_TARGET_FULL'), bad('n3', 'E_TARGET_FULL'), unreachable('n8')]
    expect(formatTransferFaults(results, words)).toEqual([
      'n[2-3]: E_TARGET_FULL First: no room on n2',
      '  Try: Make room',
      'n[7-8]: not reached, E_HOST_TIMEOUT: It was silent. First: n7 is silent',
    ])
    expect(formatTransferFaults([done('n1')], words)).toEqual([])
  })

  it('names files that failed, a few of many', () => {
    const failures = Array.from({ length: 8 }, (_, index) => ({ file: `f${index}`, code: 'E_TARGET_KIND', message: 'a directory' }))
    const lines = formatTransferFaults([bad('n1', 'E_TARGET_KIND', { failures })], words)
    expect(lines.slice(1, 3)).toEqual(['  f0: E_TARGET_KIND: a directory', '  f1: E_TARGET_KIND: a directory'])
    expect(lines[6]).toBe('  and 3 files more; --json names them')
    expect(formatTransferFaults([bad('n1', 'E_TARGET_KIND', { failures: failures.slice(0, 1) })], words)).toHaveLength(2)
  })
})

describe('formatLeftOut', () => {
  const leftOut = [{ file: 'run.sock', why: 'socket' }]

  it('says once what was left out everywhere, else where', () => {
    expect(formatLeftOut([done('n1', { leftOut }), done('n2', { leftOut })], words)).toEqual(['left out: run.sock (socket)'])
    expect(formatLeftOut([done('n1', { leftOut }), done('n2')], words)).toEqual(['n1: left out: run.sock (socket)'])
    expect(formatLeftOut([done('n1')], words)).toEqual([])
  })

  it('does not name thousands', () => {
    const many = Array.from({ length: 12 }, (_, index) => ({ file: `p${index}`, why: 'named pipe' }))
    expect(formatLeftOut([done('n1', { leftOut: many })], words)).toEqual([
      expect.stringMatching(/^left out: p0 \(named pipe\), .* and 7 more$/),
    ])
  })
})

describe('the end of a transfer', () => {
  it.each<[TransferResult[], boolean, number, string]>([
    [[done('a')], false, 0, '1 host: 1 ok, 100 MB in 4.0 s (25 MB/s)'],
    [[done('a'), done('b', { outcome: 'skipped-same', bytes: 0 })], false, 0, '2 hosts: 2 ok, 100 MB in 4.0 s (25 MB/s)'],
    [[done('a'), bad('b', 'E_TARGET_FULL')], false, 1, '2 hosts: 1 ok, 1 failed, 100 MB in 4.0 s (25 MB/s)'],
    [[bad('b', 'E_ABORTED')], true, 124, '1 host: 0 ok, 1 failed'],
    [[bad('b', 'E_ABORTED'), unreachable('c')], true, 255, '2 hosts: 0 ok, 1 failed, 1 not reached'],
  ])('of %j is the largest code', (results, timedOut, code, line) => {
    expect([exitCodeOfTransfer(countResults(results), timedOut), formatTransferEnd(results, 4, words)]).toEqual([code, line])
  })
})

describe('wrapLine', () => {
  it.each([
    ['a short line', 40, 'a short line'],
    ['a line that is a little too long for this', 30, 'a line that is a little too\n  long for this'],
    ['  Try: look whether the name is written right', 30, '  Try: look whether the name\n       is written right'],
    ['n[1,3,5,7,9,11,13,15,17,19,21]: not reached', 24, 'n[1,3,5,7,9,11,13,15,\n  17,19,21]: not reached'],
    ['a line that goes to a file, and is never broken', undefined, 'a line that goes to a file, and is never broken'],
    ['x'.repeat(50), 30, 'x'.repeat(50)],
  ])('breaks %j for %j columns between words', (line, width, lines) => {
    expect(wrapLine(line, width)).toBe(lines)
  })
})

describe('suggestUsage', () => {
  const missing = { message: 'The following error occurred:\n  Missing required flag hosts' }

  it.each<[string, string[], string]>([
    ['put', ['data', 'n1:dir'], 'Write: cahier put data -w n1 --to dir'],
    ['put', ['data', 'root@n1:'], 'Write: cahier put data -w root@n1 --to .'],
    ['put', ['n1:data', '.'], 'Write: cahier get data -w n1 --to .'],
    ['get', ['n1:/var/log/a b', 'n1:c'], "Write: cahier get '/var/log/a b' c -w n1"],
    ['get', ['data', 'n1:/tmp'], 'Write: cahier put data -w n1 --to /tmp'],
    ['broadcast', ["it's", 'n[1-8]:/tmp', '-f', '4'], "Write: cahier broadcast 'it'\\''s' -w 'n[1-8]' --to /tmp"],
    ['get', ['n1:a', 'n2:b', '.'], "Write it as in: cahier get data.tar -w 'node[1-4]'"],
    ['put', ['C:\\data', 'x'], "Write it as in: cahier put data.tar -w 'node[1-4]' --to /scratch"],
    ['put', [], "Write it as in: cahier put data.tar -w 'node[1-4]' --to /scratch"],
  ])('knows what %s %j means', (verb, args, tip) => {
    expect(suggestUsage(verb, args, missing)).toBe(tip)
  })

  it('says nothing of errors that it does not know', () => {
    expect(suggestUsage('put', ['data', 'n1:dir'], { message: 'no room' })).toBeUndefined()
    expect(suggestUsage('put', ['-nothing-here'], { message: 'Nonexistent flag: -n', flags: ['-n'] })).toBeUndefined()
  })
})
