import fs from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isCampaignError } from '../../src/errors.js'
import { repairJournal } from '../../src/store/repair.js'
import { eventsFile, fastScratch, openCollecting, scratch } from './scratch.js'

const EVENTS = [
  { type: 'first', text: 'a "quoted"\ttext' },
  { type: 'number', n: 17 },
  { type: 'text', text: 'é🜚' },
  { type: 'last', list: [1, 2, 3] },
]

/** A journal as a killed process leaves it: nothing says how far it got. */
async function killedJournal(): Promise<{ directory: string; whole: Buffer }> {
  const directory = fastScratch()
  const { store } = await openCollecting(directory)
  for (const event of EVENTS) await store.append([event])
  await store[Symbol.asyncDispose]()
  fs.rmSync(join(directory, 'journal', 'head.json'))
  return { directory, whole: fs.readFileSync(eventsFile(directory)) }
}

async function reopen(directory: string, readOnly = false): Promise<{ seen: unknown[]; recovery: unknown } | { code: string }> {
  try {
    const { store, seen } = await openCollecting(directory, { readOnly })
    const { recovery } = store
    await store[Symbol.asyncDispose]()
    return { seen, recovery }
  } catch (error) {
    if (!isCampaignError(error)) throw error
    return { code: error.code }
  }
}

function put(directory: string, bytes: Uint8Array): void {
  fs.rmSync(join(directory, 'journal'), { recursive: true, force: true })
  fs.mkdirSync(join(directory, 'journal'))
  fs.writeFileSync(eventsFile(directory), bytes)
}

describe('a journal after a crash', () => {
  it('is recovered when it was cut at any byte, and what was cut is kept aside', async () => {
    const { directory, whole } = await killedJournal()
    for (let length = 0; length < whole.length; length++) {
      put(directory, whole.subarray(0, length))
      const result = await reopen(directory)
      const text = whole.subarray(0, length).toString('latin1')
      const lines = text.split('\n')
      const torn = lines.pop()!
      const isComplete = whole[length] === 10
      const events = Math.max(0, lines.length - 1 + (isComplete && lines.length > 0 ? 1 : 0))
      expect(result, `cut at ${length}`).toMatchObject({ seen: EVENTS.slice(0, events) })
      if (torn === '') expect(result).toMatchObject({ recovery: undefined })
      else if (isComplete) expect(result).toMatchObject({ recovery: { kind: 'kept' } })
      else {
        expect(result).toMatchObject({ recovery: { kind: 'cut', file: 'torn-1' } })
        expect(fs.readFileSync(join(directory, 'journal', 'torn-1'))).toEqual(whole.subarray(length - torn.length, length))
      }
      // and the next opening finds it in order
      expect(await reopen(directory)).toMatchObject({ seen: EVENTS.slice(0, events), recovery: undefined })
    }
  })

  it('is recovered when the file grew before its bytes arrived', async () => {
    const { directory, whole } = await killedJournal()
    for (const length of [whole.length, whole.length - 1, whole.length - 5, whole.length - 30]) {
      put(directory, Buffer.concat([whole.subarray(0, length), Buffer.alloc(5000)]))
      const result = await reopen(directory)
      expect(result).toMatchObject({ seen: EVENTS.slice(0, length >= whole.length - 1 ? 4 : 3) })
    }
  })

  it('is either exactly what was acknowledged or refused when any byte is changed', async () => {
    const { directory, whole } = await killedJournal()
    for (let at = 0; at < whole.length; at++) {
      for (const change of [at % 2 === 0 ? 1 : 32, whole[at]!, whole[at]! ^ 10]) {
        if (change === 0) continue
        const bytes = Buffer.from(whole)
        bytes[at]! ^= change
        put(directory, bytes)
        const result = await reopen(directory)
        if (at === whole.length - 1) expect(result, `byte ${at}`).toMatchObject({ seen: EVENTS, recovery: { kind: 'kept' } })
        else {
          expect(result, `byte ${at} ^ ${change}`).toEqual({ code: 'E_JOURNAL_DAMAGED' })
          // stop and preserve
          expect(fs.readFileSync(eventsFile(directory))).toEqual(bytes)
        }
      }
    }
  })

  it.each([false, true])('never shows a wrong state after several changes (read only: %s)', async (readOnly) => {
    const { directory, whole } = await killedJournal()
    const change = fc.oneof(
      fc.record({ kind: fc.constant('cut' as const), at: fc.nat(whole.length - 1), length: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant('put' as const), at: fc.nat(whole.length - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
      fc.record({ kind: fc.constant('copy' as const), at: fc.nat(whole.length - 1), to: fc.nat(whole.length - 1), length: fc.nat(200) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        let bytes = Buffer.from(whole)
        for (const c of changes) {
          if (c.kind === 'cut') bytes = Buffer.concat([bytes.subarray(0, c.at), bytes.subarray(c.at + c.length)])
          else if (c.kind === 'put') bytes = Buffer.concat([bytes.subarray(0, c.at), c.bytes, bytes.subarray(c.at)])
          else bytes = Buffer.concat([bytes.subarray(0, c.to), bytes.subarray(c.at, c.at + c.length), bytes.subarray(c.to)])
        }
        put(directory, bytes)
        const result = await reopen(directory, readOnly)
        if ('code' in result) expect(result.code).toBe('E_JOURNAL_DAMAGED')
        else expect(EVENTS.slice(0, result.seen.length)).toEqual(result.seen)
      }),
      { numRuns: readOnly ? 40 : 150 },
    )
  })

  it('says that something acknowledged is missing when it had been closed in order', async () => {
    const { directory } = await killedJournal()
    const { store } = await openCollecting(directory)
    await store[Symbol.asyncDispose]()
    const head = fs.readFileSync(join(directory, 'journal', 'head.json'))
    const whole = fs.readFileSync(eventsFile(directory))
    const lines = whole.toString().split('\n')
    const lastLine = whole.length - 1 - Buffer.byteLength(lines.at(-2)!)
    for (let length = 0; length < whole.length; length++) {
      put(directory, whole.subarray(0, length))
      fs.writeFileSync(join(directory, 'journal', 'head.json'), head)
      const result = await reopen(directory)
      if (length === whole.length - 1) expect(result).toMatchObject({ seen: EVENTS })
      else if (length > lastLine) expect(result).toMatchObject({ seen: EVENTS.slice(0, 3), recovery: { kind: 'cut', acknowledged: true } })
      else expect(result, `cut at ${length}`).toEqual({ code: 'E_JOURNAL_DAMAGED' })
    }
  })
})

describe('repairJournal', () => {
  it('leaves a whole journal alone', async () => {
    const { directory, whole } = await killedJournal()
    expect(await repairJournal(directory)).toMatchObject({ repaired: false, events: 4 })
    expect(fs.readFileSync(eventsFile(directory))).toEqual(whole)
  })

  it('keeps a copy, the events before and the whole ones after, whichever line is damaged', async () => {
    const { directory, whole } = await killedJournal()
    for (let at = 0; at < whole.length - 1; at++) {
      const bytes = Buffer.from(whole)
      bytes[at]! ^= 1
      put(directory, bytes)
      const report = await repairJournal(directory)
      expect(fs.readFileSync(report.copy!)).toEqual(bytes)
      const result = await reopen(directory)
      if ('code' in result) throw new Error(`byte ${at}: ${result.code}`)
      const kept = result.seen.map((event) => (event as { type: string }).type)
      expect(report.events).toBe(kept.length)
      // what is left is what was written, in its order
      expect(EVENTS.map(({ type }) => type).filter((type) => kept.includes(type))).toEqual(kept)
      const damagedLine = bytes.subarray(0, at).toString('latin1').split('\n').length - 1
      for (const event of EVENTS.slice(0, Math.max(0, damagedLine - 1))) expect(kept).toContain(event.type)
    }
  })

  it('refuses a directory without a journal', async () => {
    await expect(repairJournal(scratch())).rejects.toEqual(expect.objectContaining({ code: 'E_RUN_DIRECTORY' }))
  })
})
