import { Config, handle, run, settings } from '@oclif/core'
import { EXIT_CODES } from './exit-codes.js'

/** Runs the command that the arguments name, and ends the process with its exit code. */
export async function main(args: readonly string[]): Promise<void> {
  // Else every command warns about adapters that are linked while their authors work on them.
  settings.enableAutoTranspile = false
  ignoreClosedPipes()
  try {
    await run([...args], import.meta.url)
  } catch (error) {
    await drain()
    await suggestCommand(error as Error, args)
    await handle(error as Error)
  }
  await drain()
  // A connection or a timer that a plugin left open does not keep the terminal.
  process.exit(process.exitCode ?? 0)
}

/** Whoever sits at a terminal was asked already whether the nearest command was meant. */
async function suggestCommand(error: Error & { readonly oclif?: { readonly exit?: number } }, args: readonly string[]): Promise<void> {
  if (error.oclif?.exit !== EXIT_CODES.unknownCommand.code || process.stdin.isTTY) return
  const { commandIDs } = await Config.load(import.meta.url)
  const { nearestName } = await import('@cahier/core')
  const known = commandIDs.map((id) => id.replaceAll(':', ' '))
  const near = nearestName(args.slice(0, 2).join(' '), known) ?? nearestName(args[0] ?? '', known)
  if (near !== undefined) error.message = `Did you mean cahier ${near}? ${error.message}`
}

/** `cahier status | head` closes our output early; that is no error. */
function ignoreClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}

/** Waits until everything written is on its way: output to a pipe is asynchronous. */
async function drain(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => stream.write('', () => resolve()))))
}
