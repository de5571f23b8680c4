import { readFileSync } from 'node:fs'

/** The version that an agent says in its hello. */
export const AGENT_PROTOCOL = 1

export type AgentKind = 'py' | 'pl'

/** In this order: the agent in Python is the faster one. */
export const AGENT_KINDS: readonly AgentKind[] = ['py', 'pl']

/** How an agent is started on a host: the line for the login shell, then what is written to its standard input before the requests. */
export interface AgentBootstrap {
  readonly command: string
  readonly input: Buffer
}

// Both read no byte more than the program: what follows is for the agent. Login shells differ; no quotes, backslashes or exclamation marks.
// A buffer of one byte reads exactly what is wanted, in large pieces. @source CPython 3.6 to 3.13, Modules/_io/bufferedio.c, _bufferedreader_read_generic
const PYTHON_LOADER = 'import io,sys;exec(io.BufferedReader(io.FileIO(0,"rb",False),1).read(int(sys.argv.pop(1))))'
const PERL_LOADER = '$n=shift;while($n>length$p){sysread STDIN,$p,$n-length$p,length$p or exit 3}eval$p;die$@if$@'
// The python3 of a version manager is a script that takes ten times as long to start as the one of the system.
const FIND_PYTHON = 'p=/usr/bin/python3;test -x $p||p=python3;exec $p -I -S -c "$@"'

/** @returns the line and the program for one kind of agent, as docs/reference/chain.md says */
export function bootstrapAgent(kind: AgentKind, token: string): AgentBootstrap {
  const input = programOf(kind)
  const command =
    kind === 'py'
      ? `exec /bin/sh -c '${FIND_PYTHON}' cahier '${PYTHON_LOADER}' ${input.length} ${token}`
      : `exec perl -e '${PERL_LOADER}' ${input.length} ${token}`
  return { command, input }
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

/** Without the lines that are only comment or a description in one line. The program is written so that this changes nothing. */
export function stripPython(text: string): string {
  const lines = text.split('\n').map((line) => line.trimEnd())
  return `${lines.filter((line) => line !== '' && !/^\s*(#|""".*"""$)/.test(line)).join('\n')}\n`
}

/** The same, without indentation, and without `strict`: that is for us, and its file costs a tenth of the start. */
export function stripPerl(text: string): string {
  const lines = text.split('\n').map((line) => line.trimStart())
  return `${lines.filter((line) => line !== '' && !line.startsWith('#') && line !== 'use strict;').join('\n')}\n`
}
