import { writeFile } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { SshPrompts } from './connection.js'

/** Who is told while a login asks. */
export interface QuestionEvents {
  /** A person is being asked, or is no longer. */
  onAsking(asking: boolean): void
  /** Nobody answered a question without which there is no login. Called before ssh hears of it. */
  onSilence(): void
  /** False when it is the server that asks: it may ask in the words with which ssh asks for a passphrase. */
  mayAskForKey(): boolean
}

/** So long a question that nobody answered is not put again. */
const REST_AFTER_SILENCE_MS = 60_000
const LONGEST_QUESTION = 4096

/** What one login asks, and what became of it. */
export interface Questioner {
  /** For the environment of ssh. */
  readonly environment: Readonly<Record<string, string>>
  readonly unanswered: string[]
  /** A question came again after an answer. */
  wrong: boolean
  forget(): void
}

/**
 * Answers the questions of ssh: a small program that ssh calls (SSH_ASKPASS) hands them over a private socket to the person who sits
 * here. The passphrase of a key is asked once, however many hosts want it.
 *
 * @source ssh(1) SSH_ASKPASS, SSH_ASKPASS_REQUIRE, SSH_ASKPASS_PROMPT, OpenSSH 8.4 and later
 */
export class Askpass implements AsyncDisposable {
  readonly #server: Server
  readonly #prompts: SshPrompts
  readonly #program: string
  readonly #sockets = new Set<Socket>()
  readonly #askers = new Map<
    string,
    { readonly target: string; readonly asked: Set<string>; readonly questioner: Questioner; readonly events: QuestionEvents }
  >()
  readonly #answers = new Map<string, Promise<string | undefined>>()
  #next = 0

  private constructor(server: Server, prompts: SshPrompts, program: string) {
    this.#server = server
    this.#prompts = prompts
    this.#program = program
    server.on('connection', (connection) => this.#serve(connection))
    server.unref()
  }

  /** @param directory - 0700, of ours */
  static async start(directory: string, prompts: SshPrompts): Promise<Askpass> {
    const socket = join(directory, 'ask')
    const program = join(directory, 'askpass')
    await writeFile(program, makeProgram(process.execPath, socket), { mode: 0o700 })
    const server = createServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socket, resolve)
    })
    return new Askpass(server, prompts, program)
  }

  open(target: string, events: QuestionEvents): Questioner {
    const id = String(++this.#next)
    const questioner: Questioner = {
      environment: { SSH_ASKPASS: this.#program, SSH_ASKPASS_REQUIRE: 'force', CAHIER_ASKPASS_ID: id },
      unanswered: [],
      wrong: false,
      forget: () => this.#askers.delete(id),
    }
    this.#askers.set(id, { target, asked: new Set(), questioner, events })
    return questioner
  }

  #serve(connection: Socket): void {
    this.#sockets.add(connection)
    connection.unref()
    connection.on('close', () => this.#sockets.delete(connection))
    connection.on('error', () => connection.destroy())
    let text = ''
    connection.setEncoding('utf8')
    connection.on('data', (chunk: string) => {
      text += chunk
      if (text.length > LONGEST_QUESTION) connection.destroy()
      const end = text.indexOf('\n')
      if (end < 0) return
      connection.pause()
      void this.#reply(text.slice(0, end)).then((answer) => connection.end(answer === undefined ? '' : `${JSON.stringify({ answer })}\n`))
    })
  }

  async #reply(line: string): Promise<string | undefined> {
    let question: { id?: unknown; text?: unknown; kind?: unknown }
    try {
      question = JSON.parse(line) as typeof question
    } catch {
      return undefined
    }
    const asker = this.#askers.get(String(question.id))
    const text = String(question.text ?? '').trim()
    if (asker === undefined) return undefined
    // A notice (touch your security key), not a question.
    if (question.kind === 'none') return ''
    const again = asker.asked.has(text)
    asker.asked.add(text)
    const isPassphrase = isAboutKey(text) && asker.events.mayAskForKey()
    const key = isPassphrase ? text : `${asker.target}\n${text}`
    if (again) {
      if (asker.questioner.unanswered.includes(text)) return undefined
      asker.questioner.wrong = true
      this.#answers.delete(key)
    }
    asker.events.onAsking(true)
    try {
      const known = this.#answers.get(key)
      const answer = await (known ?? this.#ask(key, asker.target, text, question.kind !== 'confirm'))
      // A password is for one login; only passphrases are kept.
      if (!isPassphrase) this.#answers.delete(key)
      if (answer === undefined) {
        asker.questioner.unanswered.push(text)
        // ssh would send an empty password instead, and servers count those.
        if (!isPassphrase) asker.events.onSilence()
      }
      return answer
    } finally {
      asker.events.onAsking(false)
    }
  }

  #ask(key: string, target: string, text: string, secret: boolean): Promise<string | undefined> {
    const asked = Promise.resolve()
      .then(() => this.#prompts.ask?.({ target, text, secret }))
      .catch(() => undefined)
    this.#answers.set(key, asked)
    void asked.then((answer) => {
      if (answer !== undefined) return
      setTimeout(() => this.#answers.get(key) === asked && this.#answers.delete(key), REST_AFTER_SILENCE_MS).unref()
    })
    return asked
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}

/** A question about a key of ours, which the server hears nothing of. */
export function isAboutKey(question: string): boolean {
  return /^Enter (?:passphrase|PIN) for /.test(question)
}

/** A shell script that holds a program for Node; ssh wants one word without arguments. */
function makeProgram(node: string, socket: string): string {
  const program = [
    'const [socket, text] = process.argv.slice(1)',
    'let got = ""',
    'const c = require("net").connect(socket, () => c.write(JSON.stringify({ id: process.env.CAHIER_ASKPASS_ID, text, kind: process.env.SSH_ASKPASS_PROMPT }) + "\\n"))',
    'c.setEncoding("utf8").on("data", (chunk) => { got += chunk })',
    'c.on("error", () => { process.exitCode = 1 })',
    'c.on("end", () => { if (got === "") process.exitCode = 1; else process.stdout.write(JSON.parse(got).answer + "\\n") })',
  ].join('; ')
  const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`
  return `#!/bin/sh\nunset NODE_OPTIONS\nexec ${quote(node)} -e ${quote(program)} ${quote(socket)} "$1"\n`
}
