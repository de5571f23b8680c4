import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, vi } from 'vitest'

/** Many tests start the program a dozen times, and a machine that has other work gives each start seconds. */
vi.setConfig({ testTimeout: 240_000 })

export const BIN = fileURLToPath(new URL('../bin/run.js', import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const folders: string[] = []
// The daemon of a queue may be writing there until it notices.
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
})

/** A folder of its own for one test, with files in it; it goes when the tests of the file are through. */
export function makeFolder(files: Readonly<Record<string, string>> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), 'cahier-cli-'))
  folders.push(folder)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), text)
  }
  return folder
}

/** An environment in which nothing of the person who runs the tests is read or written. */
export function cleanEnvironment(home: string): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = { ...process.env, HOME: home }
  for (const name of Object.keys(environment))
    if (/^(XDG_|CAHIER_|VITEST|NO_COLOR|FORCE_COLOR|NODE_|CI$)/.test(name)) delete environment[name]
  return environment
}

/** Starts the built program as a user's shell would. */
export function start(
  args: readonly string[],
  { cwd, env = {}, bin = BIN }: { cwd: string; env?: NodeJS.ProcessEnv; bin?: string | undefined },
) {
  const child = spawn(process.execPath, [bin, ...args], {
    cwd,
    env: { ...cleanEnvironment(join(cwd, '.home')), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  /** And all of its output is here. */
  let isOver = false
  const watchers = new Set<() => void>()
  const wake = (): void => {
    for (const watcher of watchers) watcher()
  }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    wake()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    wake()
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      isOver = true
      resolve({ code, stdout, stderr })
      wake()
    })
  })
  /** Resolves when both streams together contain the text; fails when the program ends before that. */
  const shows = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if (!`${stdout}${stderr}`.includes(text)) {
          if (!isOver) return
          reject(new Error(`ended without saying "${text}": ${stdout}${stderr}`))
        } else resolve()
        watchers.delete(look)
      }
      watchers.add(look)
      look()
    })
  return { child, ended, shows }
}

/** Runs the built program to its end. */
export async function cahier(args: readonly string[], options: { cwd: string; env?: NodeJS.ProcessEnv }): Promise<Ended> {
  return await start(args, options).ended
}
