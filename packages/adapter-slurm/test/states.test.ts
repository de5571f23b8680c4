import { describe, expect, it } from 'vitest'
import { readExit, readState, STATE_WORDS } from '../src/states.js'

describe('readState', () => {
  it.each([
    ['COMPLETED', 'ended', 'completed'],
    ['CD', 'ended', 'completed'],
    ['CANCELLED by 1000', 'ended', 'canceled'],
    ['CANCELLED+', 'ended', 'canceled'],
    ['OUT_OF_ME+', 'ended', 'out-of-memory'],
    ['OOM', 'ended', 'out-of-memory'],
    ['NODE_FAIL', 'ended', 'node-failed'],
    ['BOOT_FAIL', 'ended', 'node-failed'],
    ['TIMEOUT', 'ended', 'timed-out'],
    ['PREEMPTED', 'ended', 'preempted'],
    ['DEADLINE', 'ended', 'refused'],
    ['PENDING', 'pending', undefined],
    ['REQUEUED', 'pending', undefined],
    ['CONFIGURI+', 'pending', undefined],
    ['RUNNING', 'running', undefined],
    ['S', 'running', undefined],
    ['RS', 'running', undefined],
    ['CG', 'ending', undefined],
    ['STAGE_OUT', 'ending', undefined],
    ['SPECIAL_EXIT', 'held', undefined],
    ['RESV_DEL_H+', 'held', undefined],
    ['REQUEUE_HOLD', 'held', undefined],
  ])('reads %s', (text, state, end) => {
    expect(readState(text)).toMatchObject({ state, ...(end && { end }) })
    expect(readState(text).end).toBe(end)
  })

  it.each(['HIBERNATING', 'REV+', 'REQUE+', '', '17', 'completed-ish+', 'Z'])(
    'keeps the unknown word %j and concludes nothing of it',
    (text) => {
      expect(readState(text)).toEqual({ word: text, state: 'unknown' })
    },
  )

  it('takes a job that another cluster of a federation has started for neither ended nor running', () => {
    expect(readState('REVOKED').state).toBe('unknown')
  })

  it('knows every word also when it is cut to ten characters, where it stays clear', () => {
    for (const word of STATE_WORDS.filter((each) => each.length > 10)) expect(readState(`${word.slice(0, 9)}+`).word, word).toBe(word)
  })
})

describe('readExit', () => {
  it.each([
    ['3:0', { exitCode: 3 }],
    ['0:0', { exitCode: 0 }],
    ['255:0', { exitCode: 255 }],
    ['0:9', { signal: 'SIGKILL' }],
    ['0:15', { signal: 'SIGTERM' }],
    ['0:40', { signal: '40' }],
  ])('reads %s', (text, exit) => {
    expect(readExit(text)).toEqual(exit)
  })

  it('explains what is no signal', () => {
    expect(readExit('0:53').explanation).toMatch(/working directory or the folder of its output does not exist/)
    expect(readExit('0:125')).toEqual({ explanation: 'out of memory (0:125)' })
  })

  it.each(['', '3', ':', '3:', 'a:b', '1:2:3'])('refuses %j', (text) => {
    expect(readExit(text)).toEqual({})
  })
})
