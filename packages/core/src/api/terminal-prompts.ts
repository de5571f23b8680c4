import { closeSync, openSync } from 'node:fs'
import { ReadStream, WriteStream } from 'node:tty'
import type { SshPrompts } from '../ssh/connection.js'

/**
 * Asks on the terminal of this program, whatever its standard streams are; what is secret is not shown. One question at a time. Without
 * a terminal, and when the person presses Ctrl-D, there is no answer; Ctrl-C interrupts the program as always.
 */
export function terminalPrompts(device = '/dev/tty'): SshPrompts {
  let turn: Promise<unknown> = Promise.resolve()
  return {
    ask: (question) => {
      const answer = turn.then(() => askOn(device, question))
      turn = answer
      return answer
    },
  }
}

async function askOn(device: string, { target, text, secret }: Parameters<NonNullable<SshPrompts['ask']>>[0]): Promise<string | undefined> {
  const descriptors: number[] = []
  try {
    descriptors.push(openSync(device, 'r'), openSync(device, 'w'))
    const [input, output] = [new ReadStream(descriptors[0] as number), new WriteStream(descriptors[1] as number)]
    descriptors.length = 0
    try {
      const prompt = printable(text).trimEnd()
      output.write(`${prompt.includes(target) ? '' : `${target}: `}${prompt} `)
      return await readLine(input, output, secret)
    } finally {
      input.setRawMode(false)
      input.destroy()
      output.destroy()
    }
  } catch {
    // No terminal: nobody can be asked.
    for (const descriptor of descriptors) closeSync(descriptor)
    return undefined
  }
}

/** Words of a server must not move the cursor, or change what the terminal shows or answers. */
function printable(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '.')
}

/** A line as a terminal gives it: backspace, Ctrl-U, Ctrl-C and Ctrl-D mean what they always do. */
function readLine(input: ReadStream, output: WriteStream, secret: boolean): Promise<string | undefined> {
  return new Promise((resolve) => {
    let typed: string[] = []
    const finish = (answer: string | undefined): void => {
      output.write('\n')
      resolve(answer)
    }
    input.setRawMode(true)
    input.setEncoding('utf8')
    input.once('error', () => resolve(undefined))
    input.once('end', () => resolve(undefined))
    input.on('data', (chunk) => {
      for (const character of String(chunk)) {
        if (character === '\r' || character === '\n') return finish(typed.join(''))
        if (character === '\x04' && typed.length === 0) return finish(undefined)
        if (character === '\x03') {
          finish(undefined)
          // Raw mode took the key from the terminal, which would have done this.
          process.kill(process.pid, 'SIGINT')
          return
        }
        if (character === '\x7f' || character === '\b') {
          if (typed.pop() !== undefined && !secret) output.write('\b \b')
        } else if (character === '\x15') {
          if (!secret) output.write('\b \b'.repeat(typed.length))
          typed = []
        } else if (character >= ' ') {
          typed.push(character)
          if (!secret) output.write(character)
        }
      }
    })
  })
}
