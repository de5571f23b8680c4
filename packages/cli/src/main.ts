import { handle, run, settings } from '@oclif/core'

/** Runs the command that the arguments name, and ends the process with its exit code. */
export async function main(args: readonly string[]): Promise<void> {
  // Else every command warns about adapters that are linked while their authors work on them.
  settings.enableAutoTranspile = false
  ignoreClosedPipes()
  try {
    await run([...args], import.meta.url)
  } catch (error) {
    await drain()
    await handle(error as Error)
  }
  await drain()
  // A connection or a timer that a plugin left open does not keep the terminal.
  process.exit(process.exitCode ?? 0)
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
