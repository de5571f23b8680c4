import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { PooledConnection } from '../../ssh/pooled-connection.js'
import { settlesWithin } from '../../util/async.js'
import type { ByteName } from '../../util/byte-names.js'
import { LOCK_FILE } from '../local/lock-line.js'
import { shellWord } from './shell-session.js'
import { type ShellAnswer, ShellTalk } from './shell-talk.js'

/** So often whoever holds it answers who asks. */
const ANSWER_MS = 4_000
/** So often the lock is renewed. */
const RENEW_BEATS = 15
/** A shell that does not answer by then is at work, and another one is asked. */
const AT_WORK_MS = 3_000
/** Nobody answers any more: longer than from one answer to the next, also over another shell. */
const ANSWER_BEATS = 9
/** So long who asks waits. */
const ASKING_MS = 14_000
const BEAT_MS = 1_000
/** One that cannot be looked at lives as long as its lock is renewed; `find` knows minutes. */
const LEASE_MINUTES = 3

/**
 * `take` makes the folder $1 and the lock in it, or takes over what nobody holds, as docs/reference/chain.md says; $2 is a token. It holds
 * as long as this shell lives, and says whose it is when it is another's.
 *
 * Of two who find the same dead one only one gets it out of the way: whoever moved a lock that is not the one it had read puts it back.
 *
 * `watch` goes on beside the shell, which cannot look around while it waits for a question: it renews the lock, and ends the shell when
 * somebody asks for the parts and nobody who talks to the shell takes the sign away. A program of its own, it keeps no channel open. It makes
 * no lock anew: the shell may let go of it at any moment.
 *
 * @source proc(5): after the name in brackets, the state is field 1 and the start time field 20 of /proc/pid/stat
 */
const LOCK = `started() { x=; { IFS= read -r x </proc/$1/stat; } 2>/dev/null; x=\${x##*) }; set -- $x; case $1 in Z | X) return;; esac; echo "\${20}"; }
b=; { read -r b </proc/sys/kernel/random/boot_id; } 2>/dev/null
u=; { read -r u </proc/sys/kernel/hostname; } 2>/dev/null
: "\${u:=$(uname -n 2>/dev/null || echo -)}"
s=$(readlink /proc/$$/ns/pid 2>/dev/null || echo -)
i=$(started $$)
a=-; command -v sleep >/dev/null 2>&1 && a=answers
w="$u \${b:--} $$ \${i:--} $s $a"
held() {
  lh= lb= lp= li= ls=
  read -r lh lb lp li ls lk <"$1" 2>/dev/null
  case $lp in '' | *[!0-9]*) ;; *)
    if [ "$u" != - ] && [ "$lh $lb $ls" = "$u \${b:--} $s" ]; then
      if [ -d "/proc/$$" ]; then x=$(started "$lp"); [ -n "$x" ] && { [ "$li" = - ] || [ "$li" = "$x" ]; }
      else kill -0 "$lp" 2>/dev/null; fi
      return
    fi ;;
  esac
  true >"$1.$k" 2>/dev/null
  x=$(find "$1.$k" -mmin -1 2>/dev/null)
  rm -f "$1.$k"
  [ "$x" ] || return 0
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
    if (set -C; echo "$w $2" >"$1/${LOCK_FILE}") 2>/dev/null; then
      rm -f "$1/asked"
      if [ $a = answers ]; then sh -c "$watch" cahier "$1" "$2" $$ </dev/null >/dev/null 2>&1 & fi
      return 0
    fi
    if [ ! -e "$1/${LOCK_FILE}" ]; then
      [ $t = 5 ] && { printf 'Permission denied'; return 5; }
      continue
    fi
    y=$(cat "$1/${LOCK_FILE}" 2>/dev/null)
    held "$1/${LOCK_FILE}" && { printf '%s' "$y"; return 7; }
    mv "$1/${LOCK_FILE}" "$1/${LOCK_FILE}.$2" 2>/dev/null || continue
    z=$(cat "$1/${LOCK_FILE}.$2" 2>/dev/null)
    [ "$y" = "$z" ] || ln "$1/${LOCK_FILE}.$2" "$1/${LOCK_FILE}" 2>/dev/null
    rm -f "$1/${LOCK_FILE}.$2"
    [ "$y" = "$z" ] || return 7
  done
  return 7
}
watch='t=0 q=0
  cd /
  while sleep 1 && kill -0 "$3"; do
    x=; { IFS= read -r x <"$1/${LOCK_FILE}"; }
    case $x in *" $2") ;; *) exit ;; esac
    t=$((t + 1))
    [ $((t % ${RENEW_BEATS})) != 0 ] || touch -c "$1/${LOCK_FILE}"
    if [ -e "$1/asked" ]; then q=$((q + 1)); else q=0; fi
    [ $q -le ${ANSWER_BEATS} ] || { kill -9 "$3"; exit; }
  done'`

/** $1 folder, $2 token. Everything but locks goes first: whoever takes the folder meanwhile keeps its own. */
const RELEASE = `mine() { x=; { IFS= read -r x <"$1/${LOCK_FILE}"; } 2>/dev/null; case $x in *" $2") ;; *) return 1 ;; esac; }
answer() { mine "$1" "$2" || return 0; [ ! -e "$1/asked" ] || rm -f "$1/asked"; [ "$a" = answers ] || touch -c "$1/${LOCK_FILE}"; }
release() { mine "$1" "$2" || return 0; rm -f "$1/${LOCK_FILE}" "$1/asked"; rmdir "$1" 2>/dev/null; return 0; }
empty() { mine "$1" "$2" || return 0; find "$1" ! -type d ! -name '${LOCK_FILE}*' -exec rm -f {} +; }`

/** Says that a shell uses a folder of parts, as long as it lives. */
export class ShellLock {
  /** Absolute. */
  readonly #folder: ByteName
  readonly #pooled: PooledConnection
  readonly #token = randomBytes(8).toString('hex')
  #timer: NodeJS.Timeout | undefined
  #isAnswering = false

  /** @param folder - absolute */
  constructor(folder: ByteName, pooled: PooledConnection) {
    this.#folder = folder
    this.#pooled = pooled
  }

  /** Exit code 7: somebody lives who uses it, whose line is the text. 5: it cannot be made. */
  async take(talk: ShellTalk, signal?: AbortSignal): Promise<ShellAnswer> {
    const words = `${this.#word} ${this.#token}`
    let answer = await talk.ask(`${LOCK}\n${RELEASE}\ntake ${words}`)
    if (answer.exitCode === 7 && answer.text.split(' ')[5]?.trim() === 'answers') answer = await this.#outwait(talk, answer, signal)
    if (answer.exitCode === 0) {
      this.#timer = setInterval(() => void this.#answer(talk), ANSWER_MS)
      this.#timer.unref()
    }
    return answer
  }

  /** Until a living holder has let go, which it does when nobody is at its other end. */
  async #outwait(talk: ShellTalk, held: ShellAnswer, signal: AbortSignal | undefined): Promise<ShellAnswer> {
    const sign = `${this.#word}/asked`
    if ((await talk.ask(`true >${sign}`)).exitCode !== 0) return held
    const until = performance.now() + ASKING_MS
    for (let unasked = 0; unasked < 2 && performance.now() < until; ) {
      await pause(BEAT_MS, undefined, { signal })
      const again = await talk.ask(`take ${this.#word} ${this.#token}`)
      if (again.exitCode !== 7 || again.text !== held.text) return again
      // Who removes the folder removes that first, perhaps.
      unasked = (await talk.ask(`[ -e ${sign} ]`)).exitCode === 0 ? 0 : unasked + 1
    }
    return held
  }

  /** Where nothing watches beside the shell, it also renews the lock. */
  async #answer(talk: ShellTalk): Promise<void> {
    if (this.#isAnswering) return
    this.#isAnswering = true
    const text = `answer ${this.#word} ${this.#token}`
    const answered = talk.ask(text).catch(() => this.#stop())
    if (!(await settlesWithin(answered, AT_WORK_MS)) && this.#timer !== undefined) {
      try {
        await using other = await ShellTalk.start(this.#pooled)
        await other.ask(`${RELEASE}\na=answers; ${text}`)
      } catch {
        // No other session is to be had: what the shell does now has to be done by the time somebody asks.
      }
    }
    this.#isAnswering = false
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
    this.#timer = undefined
  }

  get #word(): ByteName {
    return shellWord(this.#folder)
  }
}
