import { spawnSync } from 'node:child_process'
import { afterEach, describe, expect, it } from 'vitest'
import { terminalPrompts } from '../../src/api/terminal-prompts.js'
import { Process } from '../../src/index.js'

const hasScript = spawnSync('script', ['-q', '-e', '-f', '-E', 'never', '-c', 'true', '/dev/null'], { stdio: 'ignore' }).status === 0
const open: Process[] = []
afterEach(async () => {
  for (const process of open.splice(0)) await process[Symbol.asyncDispose]()
})

/** A terminal with echo, and the person before it. */
async function openTerminal(): Promise<{ device: string; person: Process }> {
  const line = 'stty echo; echo "line:$(tty):"; exec sleep 1000'
  const person = new Process(['script', '-q', '-f', '-E', 'never', '-c', line, '/dev/null'], { stdin: 'pipe' }).start()
  open.push(person)
  const { match } = await person.expect(/line:(.*):/, { timeout: '20s' })
  return { device: match?.[1] ?? '', person }
}
const settingsOf = async (device: string): Promise<string> => (await new Process(['stty', '-a', '-F', device]).run()).stdout
const question = (text: string, secret: boolean) => ({ target: 'alice@node1', text, secret })

describe(`terminalPrompts${hasScript ? '' : ' (needs script of util-linux 2.36 or later)'}`, () => {
  it.skipIf(!hasScript)('does not show what is secret, and leaves the terminal as it was', async () => {
    const { device, person } = await openTerminal()
    const before = await settingsOf(device)
    const answer = terminalPrompts(device).ask!(question('Password: ', true))
    await person.expect('alice@node1: Password: ', { timeout: '20s' })
    await person.write('wrong\x15secx\x7fret é\r')
    expect(await answer).toBe('secret é')
    expect(person.stdout).not.toMatch(/wrong|cret/)
    expect(await settingsOf(device)).toBe(before)
  })

  it.skipIf(!hasScript)('shows what is no secret, and names the host once', async () => {
    const { device, person } = await openTerminal()
    const answer = terminalPrompts(device).ask!(question('Code for alice@node1', false))
    await person.expect('Code for alice@node1 ', { timeout: '20s' })
    await person.write('12x\x7f3\n')
    expect(await answer).toBe('123')
    await person.expect('12x\b \b3', { timeout: '20s' })
    expect(person.stdout).not.toContain('alice@node1: Code')
  })

  it.skipIf(!hasScript)('shows no control characters of a server', async () => {
    const { device, person } = await openTerminal()
    const answer = terminalPrompts(device).ask!(question('Notice\r\n\x1b]0;title\x07\x1b[2J\x9b1A\rCode: ', false))
    await person.expect('Code: ', { timeout: '20s' })
    await person.write('1\r')
    expect(await answer).toBe('1')
    expect(person.stdout).toContain('Notice\r\n.]0;title..[2J.1A.Code: ')
  })

  it.skipIf(!hasScript)('asks one thing at a time', async () => {
    const { device, person } = await openTerminal()
    const prompts = terminalPrompts(device)
    const answers = Promise.all(['one', 'two', 'three'].map((text) => prompts.ask!(question(text, true))))
    await person.expect('one ', { timeout: '20s' })
    expect(person.stdout).not.toContain('two')
    await person.write('1\r')
    await person.expect('two ', { timeout: '20s' })
    await person.write('\x04')
    await person.expect('three ', { timeout: '20s' })
    await person.write('\r')
    expect(await answers).toEqual(['1', undefined, ''])
  })

  it('answers nothing where there is no terminal', async () => {
    expect(await terminalPrompts('/dev/no-such-terminal').ask!(question('Password', true))).toBeUndefined()
    expect(await terminalPrompts('/dev/null').ask!(question('Password', true))).toBeUndefined()
  })
})
