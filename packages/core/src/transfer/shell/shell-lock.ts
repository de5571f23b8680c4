import { randomBytes } from 'node:crypto'
import type { ByteName } from '../../util/byte-names.js'
import { LOCK_FILE } from '../local/parts-lock.js'
import { shellWord } from './shell-session.js'
import type { ShellAnswer, ShellTalk } from './shell-talk.js'

/** So often whoever holds it says that it lives, for those who cannot look at its process. */
const RENEW_MS = 60_000
/** Whoever has said nothing for so long is not there any more. Longer than a shell is busy with one question. */
const LEASE_MINUTES = 10

/**
 * `take` makes the folder $1 and the lock in it, or takes over what nobody holds; $2 is a token. It holds as long as this shell lives: the
 * lock names its process, as that of an agent does. One that cannot be looked at from here lives as long as its lock is renewed.
 *
 * Of two who find the same dead one only one gets it out of the way: whoever moved a lock that is not the one it had read puts it back.
 *
 * @source proc(5): after the name in brackets, the state is field 1 and the start time field 20 of /proc/pid/stat
 */
const LOCK = `started() { x=; { IFS= read -r x </proc/$1/stat; } 2>/dev/null; x=\${x##*) }; set -- $x; case $1 in Z | X) return;; esac; echo "\${20}"; }
b=; { read -r b </proc/sys/kernel/random/boot_id; } 2>/dev/null
w="$(uname -n 2>/dev/null || echo -) \${b:--} $$"
i="$(started $$)"; i="\${i:--} $(readlink /proc/$$/ns/pid 2>/dev/null || echo -)"
held() {
  lh= lb= lp= ls= ln=
  read -r lh lb lp ls ln lk <"$1" 2>/dev/null
  case $lp in '' | *[!0-9]*) ;; *)
    if [ "$lb" = "\${b:--}" ] && [ "$lb" != - ] && { [ "$ln" = "\${i#* }" ] || [ "\${ln#pid}" = "$ln" ]; }; then
      if [ -d "/proc/$$" ]; then x=$(started "$lp"); [ -n "$x" ] && { [ "$ls" = - ] || [ "$ls" = "$x" ]; }
      else kill -0 "$lp" 2>/dev/null; fi
      return
    fi ;;
  esac
  o=$(find "$1" -mmin -${LEASE_MINUTES} 2>/dev/null) || return 0
  [ "$o" ]
}
take() {
  for t in 1 2 3 4 5; do
    if ! o=$(mkdir -m 700 -- "$1" 2>&1); then
      if [ ! -d "$1" ] || [ -L "$1" ] || [ ! -O "$1" ]; then
        if [ -e "$1" ] || [ -L "$1" ] || [ $t = 5 ]; then printf '%s' "$o"; return 5; fi
        continue
      fi
    fi
    (set -C; echo "$w $i $2" >"$1/${LOCK_FILE}") 2>/dev/null && return
    if [ ! -e "$1/${LOCK_FILE}" ]; then
      [ $t = 5 ] && { printf 'Permission denied'; return 5; }
      continue
    fi
    y=$(cat "$1/${LOCK_FILE}" 2>/dev/null)
    held "$1/${LOCK_FILE}" && return 7
    mv "$1/${LOCK_FILE}" "$1/${LOCK_FILE}.$2" 2>/dev/null || continue
    z=$(cat "$1/${LOCK_FILE}.$2" 2>/dev/null)
    [ "$y" = "$z" ] || ln "$1/${LOCK_FILE}.$2" "$1/${LOCK_FILE}" 2>/dev/null
    rm -f "$1/${LOCK_FILE}.$2"
    [ "$y" = "$z" ] || return 7
  done
  return 7
}`

/** $1 folder, $2 token. Everything but locks goes first: whoever takes the folder meanwhile keeps its own. */
const RELEASE = `mine() { case $(cat "$1/${LOCK_FILE}" 2>/dev/null) in *" $2") ;; *) return 1 ;; esac; }
release() { mine "$1" "$2" || return 0; rm -f "$1/${LOCK_FILE}"; rmdir "$1" 2>/dev/null; return 0; }
empty() { mine "$1" "$2" || return 0; find "$1" ! -type d ! -name '${LOCK_FILE}*' -exec rm -f {} +; }`

/** Says that a shell uses a folder of parts, as long as it lives. */
export class ShellLock {
  /** Absolute. */
  readonly #folder: ByteName
  readonly #token = randomBytes(8).toString('hex')
  #timer: NodeJS.Timeout | undefined

  /** @param folder - absolute */
  constructor(folder: ByteName) {
    this.#folder = folder
  }

  /** Exit code 7: somebody lives who uses it. 5: it cannot be made. */
  async take(talk: ShellTalk): Promise<ShellAnswer> {
    const word = this.#word
    const answer = await talk.ask(`${LOCK}\n${RELEASE}\ntake ${word} ${this.#token}`)
    if (answer.exitCode === 0) {
      this.#timer = setInterval(() => {
        // When the shell is gone, so is the lock.
        talk.ask(`mine ${word} ${this.#token} && touch ${word}/${LOCK_FILE}`).catch(() => this.#stop())
      }, RENEW_MS)
      this.#timer.unref()
    }
    return answer
  }

  /** False when somebody else has it. */
  async isMine(talk: ShellTalk): Promise<boolean> {
    return (await talk.ask(`${RELEASE}\nmine ${this.#word} ${this.#token}`)).exitCode === 0
  }

  /** Lets go of it, if it is ours. May be asked of another shell than the one that took it. */
  async release(talk: ShellTalk, { keep }: { readonly keep: boolean }): Promise<void> {
    this.#stop()
    const words = `${this.#word} ${this.#token}`
    await talk.ask(`${RELEASE}\n${keep ? '' : `empty ${words}\n`}release ${words}`)
  }

  #stop(): void {
    clearInterval(this.#timer)
  }

  get #word(): ByteName {
    return shellWord(this.#folder)
  }
}
