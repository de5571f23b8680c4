import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RunnerKind } from './runner-program.js'

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** 16 letters and digits: what tells the frames of one runner from whatever else is printed. */
export function makeToken(): string {
  return Array.from({ length: 16 }, () => ALPHABET.charAt(randomInt(ALPHABET.length))).join('')
}

/** How a runner is started on a host: the line for the login shell, then what is written to its standard input before the requests. */
export interface Bootstrap {
  readonly command: string
  readonly input: Buffer
}

// sysread, because what a buffer holds beyond the program would be lost for the runner.
const PERL_LOADER = '$n=shift;while($n>length$p){sysread STDIN,$p,$n-length$p,length$p or exit 3}eval$p;die$@if$@'
// The line that is the token ends the program: without it, what came is not the whole. A line end is had without a backslash.
const SHELL_LOADER =
  'n=$(echo;echo .);n=${n%.};p=;while IFS= read -r l;do case $l in "$1")break;;esac;p=$p$l$n;done;case $l in "$1")eval "$p";;esac'

/** @returns the line and the program text for one kind of runner, as docs/reference/runner.md says */
export function bootstrapRunner(kind: RunnerKind, token: string, leaseSeconds: number, graceSeconds: number): Bootstrap {
  const program = programOf(`runner.${kind === 'perl' ? 'pl' : 'sh'}`)
  if (kind === 'perl') {
    return { command: `exec perl -e '${PERL_LOADER}' ${program.length} ${token} ${leaseSeconds} ${graceSeconds}`, input: program }
  }
  const input = Buffer.concat([program, Buffer.from(`${token}\n`)])
  return { command: `exec /bin/sh -c '${SHELL_LOADER}' cahier ${token} ${leaseSeconds} ${graceSeconds}`, input }
}

/**
 * The line that carries bytes between a new channel and the runner that is there already.
 *
 * @throws Error when the folder that the runner named could not stand in a command line
 */
export function bootstrapRelay(kind: RunnerKind, pid: number, directory: string): string {
  const program = inOneLine(programOf(`relay.${kind === 'perl' ? 'pl' : 'sh'}`).toString('utf8'))
  if (!/^[\w./-]+$/.test(directory)) throw new Error(`the folder of the runner has an odd name: ${JSON.stringify(directory)}`)
  const words = `${pid} ${directory}`
  return kind === 'perl' ? `exec perl -e '${program}' ${words}` : `exec /bin/sh -c '${program}' cahier ${words}`
}

const programs = new Map<string, Buffer>()

function programOf(name: string): Buffer {
  const known = programs.get(name)
  if (known !== undefined) return known
  const program = Buffer.from(stripComments(readFileSync(new URL(`../../../assets/${name}`, import.meta.url), 'utf8')))
  programs.set(name, program)
  return program
}

/** Without `use strict`, the lines that are only comment, and indentation. The programs are written so that this changes nothing. */
export function stripComments(text: string): string {
  const lines = text.split('\n').map((line) => line.trimStart())
  // strict is for us: it finds its mistakes when the program is compiled, and its file costs a tenth of the start.
  return `${lines.filter((line) => line !== '' && !line.startsWith('#') && line !== 'use strict;').join('\n')}\n`
}

/** For the command line: every login shell must read the same. The number of the last child is no history: csh leaves `$!` alone. */
function inOneLine(text: string): string {
  const line = text.trimEnd().replaceAll('\n', ' ')
  if (/['\\]|(?<!\$)!/.test(line)) throw new Error(`a relay may not hold quotes, backslashes or exclamation marks: ${line}`)
  return line
}
