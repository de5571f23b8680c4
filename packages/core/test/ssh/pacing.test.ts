import { describe, expect, it } from 'vitest'
import { Pacing, pauseBeforeRetry, type Ticket } from '../../src/ssh/pacing.js'

function drain(pacing: Pacing<string>, now: number): Ticket<string>[] {
  const begun: Ticket<string>[] = []
  for (let ticket = pacing.next(now); ticket !== undefined; ticket = pacing.next(now)) begun.push(ticket)
  return begun
}

const names = (tickets: readonly Ticket<string>[]): string[] => tickets.map((ticket) => ticket.value)

describe('Pacing', () => {
  it('begins at most eight handshakes at a time with one server', () => {
    const pacing = new Pacing<string>({ handshakes: 64 })
    for (let n = 0; n < 20; n += 1) pacing.enter('a:22', `a${n}`)
    const begun = drain(pacing, 0)
    expect(names(begun)).toEqual(['a0', 'a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7'])
    pacing.leave(begun[3]!, 'made')
    expect(names(drain(pacing, 1))).toEqual(['a8'])
  })

  it('begins at most so many in all as it was told, and servers take turns', () => {
    const pacing = new Pacing<string>({ handshakes: 4 })
    for (const server of ['a', 'b', 'c']) for (let n = 0; n < 3; n += 1) pacing.enter(server, `${server}${n}`)
    expect(names(drain(pacing, 0))).toEqual(['a0', 'b0', 'c0', 'a1'])
  })

  it('a server with many logins does not keep one with a single login waiting', () => {
    const pacing = new Pacing<string>({ handshakes: 8, perServer: 8 })
    for (let n = 0; n < 500; n += 1) pacing.enter('crowd', `crowd${n}`)
    const begun = drain(pacing, 0)
    pacing.enter('single', 'single')
    pacing.leave(begun[0]!, 'made')
    pacing.leave(begun[1]!, 'made')
    expect(names(drain(pacing, 1))).toContain('single')
  })

  it('a handshake that waits for its server gives its place back to others, and not that at the server', () => {
    const pacing = new Pacing<string>({ handshakes: 2, perServer: 1, slowMs: 1000 })
    pacing.enter('dead1', 'dead1')
    pacing.enter('dead2', 'dead2')
    pacing.enter('dead1', 'dead1 again')
    pacing.enter('good', 'good')
    expect(names(drain(pacing, 0))).toEqual(['dead1', 'dead2'])
    expect(names(drain(pacing, 999))).toEqual([])
    expect(pacing.wakeAt()).toBe(1000)
    expect(names(drain(pacing, 1000))).toEqual(['good'])
  })

  it('has a last limit that also those count for that gave their places back', () => {
    const pacing = new Pacing<string>({ handshakes: 2, slowMs: 10, atMost: 5 })
    for (let n = 0; n < 9; n += 1) pacing.enter(`dead${n}`, `${n}`)
    const begun = [0, 10, 20, 30, 40].flatMap((now) => drain(pacing, now))
    expect(names(begun)).toEqual(['0', '1', '2', '3', '4'])
    pacing.leave(begun[0]!, 'failed')
    expect(names(drain(pacing, 50))).toEqual(['5'])
  })

  it('gives a server that drops handshakes fewer at a time, and more again when they succeed', () => {
    const pacing = new Pacing<string>({ handshakes: 64, perServer: 8 })
    for (let n = 0; n < 100; n += 1) pacing.enter('a', `a${n}`)
    let running = drain(pacing, 0)
    pacing.leave(running[0]!, 'dropped')
    pacing.leave(running[1]!, 'dropped')
    expect(drain(pacing, 1)).toEqual([])
    for (const ticket of running.slice(2)) pacing.leave(ticket, 'failed')
    running = drain(pacing, 2)
    expect(running).toHaveLength(2)
    pacing.leave(running[0]!, 'made')
    expect(drain(pacing, 3)).toHaveLength(2)
  })

  it('forgets who waits no more, and a ticket that left twice', () => {
    const pacing = new Pacing<string>({ handshakes: 1 })
    const first = pacing.enter('a', 'first')
    const second = pacing.enter('a', 'second')
    pacing.enter('b', 'third')
    expect(names(drain(pacing, 0))).toEqual(['first'])
    pacing.leave(second, 'failed')
    pacing.leave(first, 'failed')
    pacing.leave(first, 'failed')
    expect(names(drain(pacing, 1))).toEqual(['third'])
    expect(names(drain(pacing, 2))).toEqual([])
  })
})

describe('pauseBeforeRetry', () => {
  it.each([
    [1, 0.5, 50],
    [2, 0.5, 100],
    [5, 0.5, 800],
    [7, 1, 5000],
    [3, 0, 0],
  ])('after try %i with a random number of %d waits %i ms', (tries, random, pause) => {
    expect(pauseBeforeRetry(tries, 0, 15_000, random)).toBe(pause)
  })

  it('gives up after eight tries', () => {
    expect(pauseBeforeRetry(8, 0, 15_000, 0)).toBeUndefined()
  })

  it('gives up when tries and pauses took twice the limit of one login', () => {
    expect(pauseBeforeRetry(2, 1_950, 1_000, 0.9)).toBeUndefined()
    expect(pauseBeforeRetry(2, 1_750, 1_000, 0.9)).toBe(180)
  })
})
