/** Commands of SLURM that misbehave on order: programs in a folder that stands first in PATH. */
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What one call of sbatch can do wrong. Whether the job was accepted is said by the name of each. */
export const SBATCH_FAULTS = {
  'accepts, says nothing, exits with 1': `"$real" "$@" >/dev/null 2>&1; exit 1`,
  'accepts, says that nobody answered': `"$real" "$@" >/dev/null 2>&1
echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1`,
  'refuses, says that nobody answered': `cat >/dev/null
echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)' >&2; exit 1`,
  'accepts and hangs': `"$real" "$@" >/dev/null 2>&1; exec sleep 30`,
  hangs: `exec sleep 30`,
  'accepts, with noise around it': `echo 'site policy 2026.3: 120 core hours left'; echo 'sbatch: temporarily unable to accept job, sleeping and retrying' >&2
"$real" "$@"; code=$?; echo 'lustre: quota 7 of 100' >&2; exit $code`,
  'accepts, and half of its answer is lost': `"$real" "$@" >/dev/null; printf 'Sub'; exit 0`,
  // Death of our own controller between accept and record, before and after the job could be accepted.
  'accepts, and the controller dies': `answer=$("$real" "$@"); code=$?; read -r pid <"$home/controller"; kill -9 "$pid"; echo "$answer"; exit $code`,
  'accepts when the controller is dead': `read -r pid <"$home/controller"; kill -9 "$pid"; sleep 1; exec "$real" "$@"`,
}

/** What squeue can do wrong for a while, and sacct the same. */
export const QUEUE_FAULTS = {
  'says nothing, exits with 0': 'exit 0',
  'exits with 1': `echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1`,
  'stops in the middle of a line': `"$real" "$@" | head -c 150; exit 1`,
  hangs: 'exec sleep 30',
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`

export class Commands {
  #folder
  #count = 0

  /** @param {string} folder new @param {{ directory: string }} bed */
  constructor(folder, bed) {
    this.#folder = folder
    for (const name of ['sbatch', 'squeue', 'sacct']) {
      mkdirSync(join(folder, `${name}.once`), { recursive: true })
      // An order is taken by one call only: whoever can rename it.
      const text = `#!/bin/sh
home=${quote(folder)}
real=${quote(join(bed.directory, 'bin', name))}
printf . >>"$home/${name}.calls"
for order in "$home/${name}.once"/*; do
  [ -f "$order" ] && mv "$order" "$home/taken.${name}.$$" 2>/dev/null && . "$home/taken.${name}.$$"
done
[ ! -f "$home/${name}.always" ] || . "$home/${name}.always"
exec "$real" "$@"
`
      writeFileSync(join(folder, name), text, { mode: 0o755 })
    }
  }

  get folder() {
    return this.#folder
  }

  /** Whom `the controller dies` kills. @param {number} pid */
  setController(pid) {
    this.#write('controller', `${pid}\n`)
  }

  /** The next call does it. @param {string} name @param {string} script */
  once(name, script) {
    this.#count++
    this.#write(join(`${name}.once`, String(this.#count).padStart(4, '0')), `${script}\n`)
  }

  /** Every call does it, until it is called without a script. @param {string} name @param {string} [script] */
  always(name, script) {
    if (script === undefined) rmSync(join(this.#folder, `${name}.always`), { force: true })
    else this.#write(`${name}.always`, `${script}\n`)
  }

  /** How often it was called. @param {string} name */
  calls(name) {
    return statSync(join(this.#folder, `${name}.calls`), { throwIfNoEntry: false })?.size ?? 0
  }

  #write(name, text) {
    const hidden = join(this.#folder, `.new-${name.replaceAll('/', '-')}`)
    writeFileSync(hidden, text)
    renameSync(hidden, join(this.#folder, name))
  }
}
