import { readFileSync } from 'node:fs'
import type { CommandAnswer } from '@cahier/core/spi'

export interface Recorded extends CommandAnswer {
  readonly command: string
  /** Lines of the script that was submitted, where they matter. */
  readonly script?: string
  /** `Key=value` of the job that came of it. */
  readonly job?: Readonly<Record<string, string>>
}

/** Reads `transcripts/slurm-22.05/<name>.txt`. */
export function readTranscript(name: string): readonly Recorded[] {
  const blocks: { -readonly [key in keyof Recorded]: Recorded[key] }[] = []
  let script: string | undefined
  let part = ''
  for (const line of transcriptText(name).split('\n').slice(1, -1)) {
    const block = blocks.at(-1)
    const marker = /^\[(script|exit|stdout|stderr|job)(?: (\d+|none))?\]$/.exec(line)
    if (marker?.[1] === 'exit') block!.exitCode = marker[2] === 'none' ? undefined : Number(marker[2])
    if (marker?.[1] === 'script') script = ''
    if (marker !== null) part = marker[1]!
    else if (line.startsWith('$ ')) {
      blocks.push({ command: line.slice(2), exitCode: 0, timedOut: false, stdout: '', stderr: '', ...(script !== undefined && { script }) })
      script = undefined
      part = ''
    } else if (part === 'script') script += `${line}\n`
    else if (part === 'job') block!.job = { ...block!.job, [line.split('=')[0]!]: line.slice(line.indexOf('=') + 1).trim() }
    else if (part === 'stdout' || part === 'stderr') block![part] += `${line}\n`
  }
  return blocks
}

/** The only answer of a file to a command that begins so. */
export function recorded(name: string, command = ''): Recorded {
  const found = readTranscript(name).filter((each) => each.command.startsWith(command))
  if (found.length !== 1) throw new Error(`${found.length} answers to ${JSON.stringify(command)} in ${name}.txt`)
  return found[0]!
}

export function transcriptText(name: string): string {
  return readFileSync(new URL(`./transcripts/slurm-22.05/${name}.txt`, import.meta.url), 'utf8')
}

export function answer(parts: Partial<CommandAnswer>): CommandAnswer {
  return { exitCode: 0, timedOut: false, stdout: '', stderr: '', ...parts }
}
