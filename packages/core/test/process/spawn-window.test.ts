import { describe, expect, it } from 'vitest'
import { isShortage, SpawnWindow, windowFor } from '../../src/process/spawn-window.js'

describe('SpawnWindow', () => {
  it('lets in as many as its size, and the others in order as places are free', async () => {
    const window = new SpawnWindow(2)
    expect([window.enter(), window.enter()]).toEqual([true, true])
    const order: string[] = []
    const third = Promise.resolve(window.enter()).then(() => order.push('third'))
    const fourth = Promise.resolve(window.enter()).then(() => order.push('fourth'))
    window.leave()
    await third
    window.leave()
    await fourth
    expect(order).toEqual(['third', 'fourth'])
    expect(window.running).toBe(2)
  })

  it('lets nobody wait whose signal is aborted', async () => {
    const window = new SpawnWindow(1)
    window.enter()
    const controller = new AbortController()
    const waiting = window.enter(controller.signal)
    controller.abort()
    expect(await waiting).toBe(false)
    window.leave()
    expect(window.running).toBe(0)
    expect(window.enter()).toBe(true)
  })

  it('shrinks to what runs when something is short, lets that one in first, and grows again', async () => {
    const window = new SpawnWindow(10)
    for (let count = 0; count < 5; count += 1) window.enter()
    const again = window.shrink()
    expect(window).toMatchObject({ size: 4, running: 4 })
    window.leave()
    expect(await again).toBe(true)
    expect(window.running).toBe(4)
    for (let count = 0; count < 4; count += 1) window.leave()
    expect(window.size).toBeGreaterThan(6)
  })

  it('says when nothing of ours runs that could end', async () => {
    const window = new SpawnWindow(10)
    window.enter()
    expect(await window.shrink()).toBe(false)
    expect(window.running).toBe(0)
  })

  it.each([
    [256, 20, 56],
    [1024, 20, 261],
    [1_048_576, 20, 4096],
    [64, 60, 1],
  ])('allows, of %d descriptors with %d open, %d processes', (limit, open, size) => {
    expect(windowFor(limit, open)).toBe(size)
  })

  it.each(['EMFILE', 'EAGAIN', 'ENOMEM'])('takes %s for a shortage', (code) => {
    expect(isShortage(code)).toBe(true)
  })
  it.each(['ENOENT', 'EACCES', undefined])('does not take %s for a shortage', (code) => {
    expect(isShortage(code)).toBe(false)
  })
})
