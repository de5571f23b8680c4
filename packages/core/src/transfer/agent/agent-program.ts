import { readFileSync } from 'node:fs'

/** The version that an agent says in its hello. */
export const AGENT_PROTOCOL = 1

export type AgentKind = 'py' | 'pl'

/** In this order: the agent in Python is the faster one. */
export const AGENT_KINDS: readonly AgentKind[] = ['py', 'pl']

/**
 * What is looked for on a host, in this order.
 *
 * The `python3` of a version manager is a script that takes ten times as long to start as the one of the system. That is asked for by its
 * path, because a shell that looks whether it is there costs every host a millisecond.
 */
export const AGENT_PROGRAMS: Readonly<Record<AgentKind, readonly string[]>> = { py: ['/usr/bin/python3', 'python3'], pl: ['perl'] }

/** How an agent is started on a host: the line for the login shell, then what is written to its standard input before the requests. */
export interface AgentBootstrap {
  readonly command: string
  readonly input: Buffer
}

// Both read no byte more than the program, run none of one that was cut off, and keep its other parts as text: what follows is for the agent.
// Login shells differ; no quotes, backslashes or exclamation marks.
// A buffer of one byte reads exactly what is wanted, in large pieces. @source CPython 3.6 to 3.13, Modules/_io/bufferedio.c, _bufferedreader_read_generic
const PYTHON_LOADER =
  'import io,sys;n=int(sys.argv.pop(1));p=io.BufferedReader(io.FileIO(0,"rb",False),1).read(n);len(p)<n and sys.exit(3);PARTS=p.split(bytes([12]));exec(PARTS.pop(0))'
const PERL_LOADER =
  '$n=shift;while($n>length$p){sysread STDIN,$p,$n-length$p,length$p or exit 3}@later=split chr 12,$p;eval shift@later;die$@if$@'

/** @returns the line and the program for one kind of agent, as docs/reference/chain.md says */
export function bootstrapAgent(kind: AgentKind, token: string, program = AGENT_PROGRAMS[kind][0]): AgentBootstrap {
  const input = programOf(kind)
  const loader = kind === 'py' ? `-I -S -c '${PYTHON_LOADER}'` : `-e '${PERL_LOADER}'`
  return { command: `exec ${program} ${loader} ${input.length} ${token}`, input }
}

/** Reads and shortens the program of one kind, unless that was done before. */
export function loadAgent(kind: AgentKind): void {
  programOf(kind)
}

const programs = new Map<AgentKind, Buffer>()

function programOf(kind: AgentKind): Buffer {
  const known = programs.get(kind)
  if (known !== undefined) return known
  const text = readFileSync(new URL(`../../../assets/agent.${kind}`, import.meta.url), 'utf8')
  const program = Buffer.from(kind === 'py' ? stripPython(text) : stripPerl(text))
  programs.set(kind, program)
  return program
}

/** A line with which a part of a program begins that is compiled later; with a form feed in front, it separates them on their way. */
const PART = /^# ---- part \w+$/

/**
 * Without the lines that are only comment or a description in one line, and with a quarter of the indentation. The program is written so
 * that this changes nothing.
 */
export function stripPython(text: string): string {
  return strip(text, (line) =>
    /^\s*(#|""".*"""$)/.test(line) ? '' : line.replace(/^(?: {4})+/, (spaces) => ' '.repeat(spaces.length / 4)),
  )
}

/** The same, without indentation, and without `strict`: that is for us, and its file costs a tenth of the start. */
export function stripPerl(text: string): string {
  return strip(text, (line) => (/^\s*(#|use strict;$)/.test(line) ? '' : line.trimStart()))
}

function strip(text: string, stripLine: (line: string) => string): string {
  const lines = text.split('\n').map((line) => (PART.test(line) ? `\f${line}` : stripLine(line.trimEnd())))
  return `${lines.filter((line) => line !== '').join('\n')}\n`
}
