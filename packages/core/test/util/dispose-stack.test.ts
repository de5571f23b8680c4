import { describe, expect, it } from 'vitest'
import { DisposeStack } from '../../src/util/dispose-stack.js'

describe('DisposeStack', () => {
  it('closes the newest first, each once, and waits for it', async () => {
    const closed: string[] = []
    const stack = new DisposeStack()
    stack.use({ [Symbol.dispose]: () => void closed.push('sync') })
    stack.use({
      [Symbol.asyncDispose]: async () => {
        await Promise.resolve()
        closed.push('async')
      },
    })
    expect(stack.adopt('file', (name) => void closed.push(name))).toBe('file')
    stack.defer(() => void closed.push('deferred'))
    expect(stack.use(undefined)).toBeUndefined()
    await stack.disposeAsync()
    await stack[Symbol.asyncDispose]()
    expect(closed).toEqual(['deferred', 'file', 'async', 'sync'])
    expect(stack.disposed).toBe(true)
  })

  it('closes at the end of its scope', async () => {
    const closed: string[] = []
    {
      await using stack = new DisposeStack()
      stack.defer(() => void closed.push('first'))
      closed.push('body')
    }
    expect(closed).toEqual(['body', 'first'])
  })

  it('closes the others when one fails, and throws its error', async () => {
    const closed: string[] = []
    const stack = new DisposeStack()
    stack.defer(() => void closed.push('last'))
    stack.defer(() => {
      throw new Error('busy')
    })
    await expect(stack.disposeAsync()).rejects.toThrow('busy')
    expect(closed).toEqual(['last'])
  })

  it('throws all errors together when several fail', async () => {
    const stack = new DisposeStack()
    stack.defer(() => Promise.reject(new Error('a')))
    stack.defer(() => Promise.reject(new Error('b')))
    await expect(stack.disposeAsync()).rejects.toMatchObject({ errors: [new Error('b'), new Error('a')] })
  })

  it('hands everything over', async () => {
    const closed: string[] = []
    const stack = new DisposeStack()
    stack.defer(() => void closed.push('x'))
    const other = stack.move()
    await stack.disposeAsync()
    expect(closed).toEqual([])
    await other.disposeAsync()
    expect(closed).toEqual(['x'])
  })

  it('refuses more when it was closed', async () => {
    const stack = new DisposeStack()
    await stack.disposeAsync()
    expect(() => stack.defer(() => undefined)).toThrow(ReferenceError)
    expect(() => stack.move()).toThrow(ReferenceError)
  })
})
