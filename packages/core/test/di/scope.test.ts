import { describe, expect, it } from 'vitest'
import { Scope, token } from '../../src/di/scope.js'

const A = token<{ readonly name: string }>('TestA')
const B = token<{ readonly a: { readonly name: string } }>('TestB')
const C = token<string | undefined>('TestC')
const D = token<string>('TestD')

const wiring = (problems: readonly string[]) => expect.objectContaining({ code: 'E_WIRING', data: { problems } })

/** Something that notes its end in `ends`. */
function ending(name: string, ends: string[]) {
  return { name, [Symbol.asyncDispose]: async () => void ends.push(name) }
}

describe('Scope', () => {
  it('makes a service out of others, once', () => {
    const scope = new Scope('root').bind(A, [], () => ({ name: 'a' })).bind(B, [A], (a) => ({ a }))
    expect(scope.resolve(B)).toEqual({ a: { name: 'a' } })
    expect(scope.resolve(B).a).toBe(scope.resolve(A))
  })

  it('makes nothing before it is asked for', () => {
    let made = 0
    const scope = new Scope('root').bind(A, [], () => ({ name: `a${++made}` }))
    scope.check()
    scope.describe()
    expect(made).toBe(0)
  })

  it('makes a service that is undefined only once', () => {
    let made = 0
    const scope = new Scope('root').bind(C, [], () => {
      made += 1
      return undefined
    })
    scope.resolve(C)
    scope.resolve(C)
    expect(made).toBe(1)
  })

  it('gives the services of the scope around, the same to all children', () => {
    const root = new Scope('root').bind(A, [], () => ({ name: 'shared' }))
    const first = root.child('first').bind(B, [A], (a) => ({ a }))
    const second = root.child('second').bind(B, [A], (a) => ({ a }))
    expect(first.resolve(B)).not.toBe(second.resolve(B))
    expect(first.resolve(B).a).toBe(second.resolve(B).a)
  })

  it('knows a token by its name, as a second copy of this module would make it', () => {
    const scope = new Scope('root').bindValue(D, 'here')
    expect(scope.resolve(Symbol.for('@cahier/core:TestD') as typeof D)).toBe('here')
  })

  it('names everything that does not fit, at once', () => {
    const scope = new Scope('root')
      .bind(A, [D], () => ({ name: 'a' }))
      .bind(B, [C, A], (_c, a) => ({ a }))
      .bind(C, [B], () => 'c')
      .bind(C, [], () => 'again')
    expect(() => scope.check()).toThrow(
      wiring(['TestA needs TestD, which is not bound', 'TestB -> TestC -> TestB is a circle', 'TestC is bound 2 times (root, root)']),
    )
  })

  it('refuses a root service that needs one of a campaign, and a campaign that hides one of the root', () => {
    const root = new Scope('root').bind(A, [D], (name) => ({ name }))
    const campaign = root.child('campaign').bindValue(D, 'd').bindValue(A, { name: 'other' })
    expect(() => campaign.check()).toThrow(wiring(['TestA needs TestD, which is not bound', 'TestA is bound 2 times (root, campaign)']))
  })

  it('refuses to resolve what is not bound, and says where', () => {
    const scope = new Scope('root').child('campaign')
    expect(() => scope.resolve(A)).toThrow(
      expect.objectContaining({ code: 'E_WIRING', message: 'TestA is not bound in the scope root/campaign' }),
    )
  })

  it('answers a circle with an error, not with an overflow', () => {
    const scope = new Scope('root').bind(A, [B], (b) => b.a).bind(B, [A], (a) => ({ a }))
    expect(() => scope.resolve(A)).toThrow(
      expect.objectContaining({ code: 'E_WIRING', message: 'services need each other in a circle: TestA -> TestB -> TestA' }),
    )
  })

  it('ends what it made, last made first, children before, given values never', async () => {
    const ends: string[] = []
    const GIVEN = token<object>('TestGiven')
    const root = new Scope('root')
      .bindValue(GIVEN, ending('given', ends))
      .bind(A, [GIVEN], () => ending('a', ends))
      .bind(D, [], () => {
        ends.push('never made')
        return ''
      })
    const child = root.child('campaign').bind(B, [A], (a) => ({ a, ...ending('b', ends) }))
    child.resolve(B)
    await root[Symbol.asyncDispose]()
    await root[Symbol.asyncDispose]()
    expect(ends).toEqual(['b', 'a'])
    expect(() => child.resolve(B)).toThrow(expect.objectContaining({ code: 'E_WIRING' }))
  })

  it('ends the others when one of them fails to end', async () => {
    const ends: string[] = []
    const scope = new Scope('root')
      .bind(A, [], () => ending('a', ends))
      .bind(B, [A], (a) => ({
        a,
        [Symbol.dispose]: () => {
          throw new Error('stuck')
        },
      }))
    scope.resolve(B)
    await expect(scope[Symbol.asyncDispose]()).rejects.toThrow('stuck')
    expect(ends).toEqual(['a'])
  })

  it('describes the services as a graph that can be read', () => {
    const campaign = new Scope('root')
      .bindValue(D, 'd')
      .child('campaign')
      .bind(A, [D], (name) => ({ name }))
      .bind(B, [A], (a) => ({ a }))
    expect(campaign.describe()).toBe('scope root\n  TestD (given)\nscope campaign in root\n  TestA <- TestD\n  TestB <- TestA')
  })
})
