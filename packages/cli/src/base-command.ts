import { Command, Flags } from '@oclif/core'
import { formatError, readError } from './error-text.js'
import { exitCodeOf } from './exit-codes.js'
import { toJson } from './json.js'
import { paint } from './style.js'
import { terminalWidth } from './table.js'

export type Core = typeof import('@cahier/core')

/** What every command has: `--json`, `--debug`, errors with code and suggestions, exit codes. */
export abstract class CahierCommand extends Command {
  static override enableJsonFlag = true
  static override baseFlags = {
    debug: Flags.boolean({ description: 'Show the causes of an error and where it was thrown.', helpGroup: 'GLOBAL' }),
  }

  /** Core is loaded when a command runs, so that help and completion stay quick. */
  protected async core(): Promise<Core> {
    return await import('@cahier/core')
  }

  /** Ends the process with this code once the command is through. */
  protected endWith(code: number): void {
    process.exitCode = code
  }

  /** The table of results below what was said before; nothing when there is none. */
  protected logResults(table: string | undefined): void {
    if (table !== undefined) this.log(`\n${table}`)
  }

  override logJson(json: unknown): void {
    process.stdout.write(`${toJson(json)}\n`)
  }

  protected override toErrorJson(error: unknown): unknown {
    const { code, message, suggestions, data, causes } = readError(error)
    return { error: { ...(code === undefined ? {} : { code }), message, suggestions, ...(data === undefined ? {} : { data }), causes } }
  }

  protected override async catch(
    error: Error & { readonly code?: string; readonly flags?: unknown; suggestions?: readonly string[] },
  ): Promise<void> {
    if (error.code === 'EEXIT') throw error
    process.exitCode = exitCodeOf(error)
    await this.suggestFlags(error)
    if (this.jsonEnabled()) {
      this.logJson(this.toErrorJson(error))
      return
    }
    const text = formatError(error, { debug: this.argv.includes('--debug'), width: terminalWidth(process.stderr) })
    const end = text.indexOf(':')
    process.stderr.write(`${paint('red', text.slice(0, end), process.stderr)}${text.slice(end)}\n`)
  }

  /** Adds the nearest flag of this command to oclif's "Nonexistent flag". */
  private async suggestFlags(error: { readonly flags?: unknown; suggestions?: readonly string[] }): Promise<void> {
    if (!Array.isArray(error.flags)) return
    const { nearestName } = await this.core()
    const known = Object.keys({ ...this.ctor.flags, ...this.ctor.baseFlags, json: true })
    const tips = error.flags.flatMap((flag: unknown) => {
      const near = nearestName(String(flag).replace(/^-+/, ''), known)
      return near === undefined ? [] : [`Write "--${near}" instead of "${String(flag)}"`]
    })
    error.suggestions = [...(error.suggestions ?? []), ...tips]
  }
}
