import { spawn } from 'node:child_process'

/**
 * The end of its stdin is the end of the program that started it, however that came. Each line names a client over a master of the
 * user's own, and with a minus one that has ended: such a master is left alone. ssh would expand percent signs in the folder's name.
 */
const SCRIPT = `trap '' HUP INT TERM
clients=
while read -r line; do
  case $line in
    -*)
      left=
      for pid in $clients; do [ "$pid" = "\${line#-}" ] || left="$left $pid"; done
      clients=$left
      ;;
    *) clients="$clients $line" ;;
  esac
done
[ -z "$clients" ] || kill -s KILL $clients
cd "$1" || exit 0
for socket in m*; do
  [ ! -S "$socket" ] || "$0" -F none -S "./$socket" -O exit -- cahier
done
cd / && rm -rf "$1"`

/** What is to happen here when this program is killed: a process beside it waits for that. */
export interface LastWill {
  /** This client is to end as well. */
  add(pid: number): void
  remove(pid: number): void
  /** Everything has been ended in order. */
  revoke(): void
}

/**
 * Ends the masters of a control directory, with all their clients, when this program dies, and removes the directory. Without it they
 * would live for as long as anything runs in a session on a host, and then for as long as a master persists.
 */
export function writeLastWill(directory: string, program: string): LastWill {
  const child = spawn('/bin/sh', ['-c', SCRIPT, program, directory], {
    stdio: ['pipe', 'ignore', 'ignore'],
    cwd: '/',
    // Whoever kills the whole group of this program does not kill it.
    detached: true,
  })
  // Where it cannot be started or is killed, masters end when their sessions have.
  child.on('error', () => {})
  const { stdin } = child as { readonly stdin: (typeof child)['stdin'] | undefined }
  stdin?.on('error', () => {})
  child.unref()
  // A pipe is a socket here, and would keep this program alive.
  ;(stdin as { unref?(): void } | undefined)?.unref?.()
  return {
    add: (pid) => void stdin?.write(`${pid}\n`),
    remove: (pid) => void stdin?.write(`-${pid}\n`),
    revoke: () => void stdin?.end(),
  }
}
