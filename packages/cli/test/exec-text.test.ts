import { ERROR_CODES, foldHosts, type ProcessResult } from '@cahier/core'
import { describe, expect, it } from 'vitest'
import { readWords, scriptCommand, terminalCommand } from '../src/exec-command.js'
import {
  countHosts,
  formatEnd,
  formatFaults,
  formatGroups,
  formatProgress,
  formatShortened,
  type HostProcess,
  hostJson,
} from '../src/exec-text.js'
import { LabelledLines } from '../src/labelled-lines.js'
import { LiveLine } from '../src/live-line.js'

const core = { foldHosts, explain: (code: string) => ERROR_CODES[code as keyof typeof ERROR_CODES] ?? '' }
const nothing = { text: '', bytes: 0, truncated: false }

function ended(host: string, fields: Partial<ProcessResult> = {}): HostProcess {
  const result: ProcessResult = {
    outcome: 'exited',
    exitCode: 0,
    signal: undefined,
    stdout: nothing,
    stderr: nothing,
    startedAt: 1,
    endedAt: 2,
    durationMs: 1.4,
    host,
    forced: false,
    survivors: [],
    ...fields,
  }
  return { host, ok: result.outcome === 'exited' && result.exitCode === 0, killed: false, result }
}

const unreachable = (host: string, code: string): HostProcess =>
  ended(host, { outcome: 'unreachable', exitCode: undefined, error: { code, message: `Cannot reach ${host}: no answer` } })

describe('readWords', () => {
  it.each<[readonly string[], string | readonly string[]]>([
    [['uptime'], 'uptime'],
    [['a | b'], 'a | b'],
    [
      ['grep', 'a b', 'file'],
      ['grep', 'a b', 'file'],
    ],
    [
      ['printf', ''],
      ['printf', ''],
    ],
  ])('reads %j', (words, command) => {
    expect(readWords(words)).toEqual(command)
  })

  it.each([[[]], [['']], [['', 'a']]])('refuses %j', (words) => {
    expect(() => readWords(words)).toThrow(expect.objectContaining({ code: 'E_ARGUMENT' }))
  })
})

describe('scriptCommand', () => {
  it.each<[string, readonly string[], readonly string[]]>([
    ['echo hi\n', [], ['/bin/sh', '-s', '--']],
    ['', ['-x', 'a b'], ['/bin/sh', '-s', '--', '-x', 'a b']],
    ['#!/bin/bash\n', ['a'], ['/bin/bash', '-s', '--', 'a']],
    ['#! /bin/bash -eu\n', [], ['/bin/bash', '-eu', '-s', '--']],
    ['#!/usr/bin/env zsh\r\n', [], ['/usr/bin/env', 'zsh', '-s', '--']],
    ['#!/usr/bin/env python3\nprint(1)\n', ['a'], ['/usr/bin/env', 'python3', '-', 'a']],
    ['#!/usr/bin/perl -w\n', [], ['/usr/bin/perl', '-w', '-']],
    ['\n#!/bin/bash\n', [], ['/bin/sh', '-s', '--']],
  ])('gives %j to its interpreter', (script, args, words) => {
    expect(scriptCommand(Buffer.from(script), args)).toEqual(words)
  })
})

describe('terminalCommand', () => {
  it('gives the terminal there the size of the one here', () => {
    const size = { rows: 40, columns: 120 }
    expect(terminalCommand('a | b', size)).toBe('stty echo rows 40 cols 120 2>/dev/null\na | b')
    expect(terminalCommand(['vi', 'a b'], size)).toEqual(['/bin/sh', '-c', expect.stringMatching(/120.*; exec "\$@"$/), 'sh', 'vi', 'a b'])
    expect(terminalCommand('a', { rows: 0, columns: 0 })).toBe('stty echo 2>/dev/null\na')
  })
})

describe('LabelledLines', () => {
  function write(...chunks: (string | number[])[]): Buffer {
    const given: Buffer[] = []
    const lines = new LabelledLines('h: ', (text) => given.push(text))
    for (const chunk of chunks) lines.push(Buffer.from(chunk as string))
    lines.end()
    return Buffer.concat(given)
  }

  it.each<[string[], string]>([
    [['a\nb\n'], 'h: a\nh: b\n'],
    [['a', 'b\nc', '\n'], 'h: ab\nh: c\n'],
    [['no end'], 'h: no end\n'],
    [['\n\n'], 'h: \nh: \n'],
    [[''], ''],
    [['a\r\n'], 'h: a\r\n'],
  ])('makes lines of %j', (chunks, text) => {
    expect(write(...chunks).toString()).toBe(text)
  })

  it('keeps bytes that are not UTF-8', () => {
    expect([...write([0x61, 0xff], [0x00, 0x0a])]).toEqual([...Buffer.from('h: '), 0x61, 0xff, 0, 0x0a])
  })

  it('shows a line before the next one has ended', () => {
    const given: string[] = []
    const lines = new LabelledLines('h: ', (text) => given.push(text.toString()))
    lines.push(Buffer.from('one\ntw'))
    expect(given).toEqual(['h: one\n'])
    lines.push(Buffer.from('o\n'))
    expect(given).toEqual(['h: one\n', 'h: two\n'])
  })

  it('does not keep a buffer that the caller uses again', () => {
    const given: string[] = []
    const lines = new LabelledLines('', (text) => given.push(text.toString()))
    const buffer = Buffer.from('abc')
    lines.push(buffer)
    buffer.fill('x')
    lines.end()
    expect(given).toEqual(['abc\n'])
  })

  it('shows a line without end in pieces', () => {
    const given: Buffer[] = []
    const lines = new LabelledLines('h: ', (text) => given.push(text))
    for (let count = 0; count < 4; count += 1) lines.push(Buffer.alloc(600_000, 'x'))
    expect(given.length).toBe(2)
    expect(given[0]?.length).toBe(1_200_004)
  })
})

describe('LiveLine', () => {
  const terminal = (isTTY: boolean) => {
    const written: string[] = []
    const stream = { isTTY, columns: 20, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream
    return { stream, written }
  }

  it('is erased before anything else is written, and comes back', async () => {
    const { stream, written } = terminal(true)
    const live = new LiveLine(stream, {})
    live.set('1/2 done')
    await expect.poll(() => written).toEqual(['\r\u001b[K1/2 done'])
    live.write(stream, 'output\n')
    expect(written.slice(1)).toEqual(['\r\u001b[K', 'output\n'])
    await expect.poll(() => written.slice(3)).toEqual(['\r\u001b[K1/2 done'])
    live.close()
    expect(written.at(-1)).toBe('\r\u001b[K')
  })

  it('begins at once when asked to, and is gone at the end', () => {
    const { stream, written } = terminal(true)
    const live = new LiveLine(stream, {})
    live.begin('starting')
    expect(written).toEqual(['\r\u001b[Kstarting'])
    live.close()
    expect(written.at(-1)).toBe('\r\u001b[K')
  })

  it('is never broken over two lines', async () => {
    const { stream, written } = terminal(true)
    const live = new LiveLine(stream, {})
    live.set('x'.repeat(50))
    await expect.poll(() => written).toEqual([`\r\u001b[K${'x'.repeat(19)}`])
    live.close()
  })

  it.each([
    ['without a terminal', false, {}],
    ['on a dumb one', true, { TERM: 'dumb' }],
  ])('is not shown %s', (_title, isTTY, environment) => {
    const { stream, written } = terminal(isTTY)
    const live = new LiveLine(stream, environment)
    live.set('1/2 done')
    live.write(stream, 'output\n')
    live.close()
    expect(written).toEqual(['output\n'])
  })
})

describe('formatProgress and formatEnd', () => {
  const processes = [
    ended('a'),
    ended('b', { exitCode: 2 }),
    unreachable('c', 'E_HOST_TIMEOUT'),
    { host: 'd', ok: true, killed: false, result: undefined },
  ]

  it('count what has ended, and how', () => {
    expect(formatProgress(processes)).toBe('3/4 done, 1 failed, 1 unreachable, waiting for d')
    expect(formatProgress([ended('a')])).toBe('1/1 done')
    expect(formatProgress(processes.slice(-1))).toBe('0/1 done')
    expect(
      formatProgress([...'efgh'].map((host) => ({ host, ok: true, killed: false, result: undefined })).concat(processes as never)),
    ).toBe('3/8 done, 1 failed, 1 unreachable')
    expect(formatEnd(countHosts(processes))).toBe('4 hosts: 1 ok, 1 failed, 1 not reached, 1 not begun')
    expect(formatEnd(countHosts([ended('a')]))).toBe('1 host: 1 ok')
  })

  it('do not count as ok what was given up', () => {
    const given = { ...ended('a', { exitCode: 9 }), ok: true, killed: true }
    const before = { ...ended('b', { outcome: 'canceled', exitCode: undefined, startedAt: undefined }), ok: true, killed: true }
    expect(countHosts([given, before])).toEqual({ hosts: 2, ok: 0, failed: 1, unreachable: 0 })
    expect(formatFaults([given, before], core)).toEqual(['a: ended as asked', 'b: not begun'])
  })
})

describe('formatFaults', () => {
  it('lists failed commands, then hosts that were not reached, the same cause once', () => {
    const lines = formatFaults(
      [
        unreachable('n7', 'E_HOST_REFUSED'),
        ended('n1'),
        ended('n2', { exitCode: 3 }),
        ended('n3', { exitCode: 3 }),
        ended('n4', { outcome: 'signaled', exitCode: undefined, signal: 'SIGKILL' }),
        ended('n5', { outcome: 'timed-out', exitCode: undefined, signal: 'SIGTERM' }),
        unreachable('n8', 'E_HOST_TIMEOUT'),
        unreachable('n9', 'E_HOST_TIMEOUT'),
        { host: 'n10', ok: true, killed: false, result: undefined },
      ],
      core,
    )
    expect(lines).toEqual([
      'n[2-3]: exit code 3',
      'n4: ended by SIGKILL',
      'n5: ended at its time limit',
      'n10: not begun',
      'n7: not reached, E_HOST_REFUSED: Cannot reach n7: no answer',
      `n[8-9]: not reached, E_HOST_TIMEOUT: ${ERROR_CODES.E_HOST_TIMEOUT} First: Cannot reach n8: no answer`,
    ])
  })

  it('says what helps below each cause, once', () => {
    const refused = (host: string, code: string, ...suggestions: string[]): HostProcess =>
      ended(host, { outcome: 'unreachable', exitCode: undefined, error: { code, message: 'no', suggestions } })
    const lines = formatFaults(
      [
        refused('n1', 'E_HOST_KEY_UNKNOWN', 'Take down the key of n1', 'Or --accept-new'),
        refused('n2', 'E_HOST_KEY_UNKNOWN', 'Take down the key of n2', 'Or --accept-new'),
        refused('n3', 'E_HOST_REFUSED', 'Look at n3', 'Or --accept-new'),
        unreachable('n4', 'E_HOST_TIMEOUT'),
      ],
      core,
    )
    expect(lines).toEqual([
      'n[1-2]: not reached, E_HOST_KEY_UNKNOWN: no',
      '  Try: Take down the key of n1',
      '  Try: Or --accept-new',
      'n3: not reached, E_HOST_REFUSED: no',
      '  Try: Look at n3',
      'n4: not reached, E_HOST_TIMEOUT: Cannot reach n4: no answer',
    ])
  })

  it('says nothing of hosts where all went well', () => {
    expect(formatFaults([ended('a'), ended('b')], core)).toEqual([])
  })

  it('names hosts with brackets of their own', () => {
    expect(formatFaults([ended('[::1]:22', { exitCode: 1 }), ended('n1', { exitCode: 1 })], core)).toEqual(['n1,[::1]:22: exit code 1'])
  })
})

describe('formatGroups', () => {
  it('puts a header over each output, and completes its last line', () => {
    const processes = [ended('a')] as never
    expect(
      formatGroups([
        { hosts: 'n[1-2]', processes: [ended('n1'), ended('n2')] as never, text: 'same' },
        { hosts: 'n3', processes, text: 'other\n' },
        { hosts: 'n4', processes, text: '' },
      ]),
    ).toBe('---------------\nn[1-2] (2)\n---------------\nsame\n---------------\nn3\n---------------\nother\n')
  })
})

describe('formatShortened', () => {
  it('names the hosts of which not everything is shown', () => {
    const cut = { stdout: { text: 'begin end', bytes: 1e7, truncated: true } }
    expect(formatShortened([ended('n1', cut), ended('n2', cut), ended('n3')], core)).toEqual([
      expect.stringMatching(/^n\[1-2\]: output shortened/),
    ])
    expect(formatShortened([ended('n3')], core)).toEqual([])
  })
})

describe('hostJson', () => {
  it('has every field, also of a host that was not reached', () => {
    expect(hostJson(ended('n1', { stdout: { text: 'out\n', bytes: 4, truncated: false } }))).toEqual({
      host: 'n1',
      outcome: 'exited',
      exitCode: 0,
      signal: null,
      stdout: 'out\n',
      stderr: '',
      durationMs: 1,
    })
    expect(hostJson(unreachable('n2', 'E_HOST_TIMEOUT'))).toMatchObject({
      outcome: 'unreachable',
      exitCode: null,
      error: { code: 'E_HOST_TIMEOUT' },
    })
    expect(hostJson({ host: 'n3', result: undefined })).toEqual({ host: 'n3', outcome: 'not-begun' })
  })
})
