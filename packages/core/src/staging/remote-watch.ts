import { StringDecoder } from 'node:string_decoder'
import type { Clock } from '../ports/clock.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import type { FileWatch } from '../ports/site-files.js'
import { shellQuote } from '../util/shell-quote.js'
import { loaderCommand, makeToken, programInput } from './site-shell.js'

/** Without anything that happens, the site says so often that it still looks, in seconds. */
const BEAT_SECONDS = 5
/** Nothing was heard for so long: the connection is not what it was. */
const DEAF_MS = 4 * BEAT_SECONDS * 1000
const FIRST_PAUSE_MS = 1_000
const LONGEST_PAUSE_MS = 60_000

interface WatchOptions {
  readonly processes: ProcessBackend
  readonly clock: Clock
}

/** One long command that looks into the folders there. It is started again when its connection is lost, more and more patiently. */
export class RemoteWatch implements FileWatch {
  readonly #processes: ProcessBackend
  readonly #clock: Clock
  readonly #onFile: (path: string, text: string) => void
  readonly #end = new AbortController()
  #directories: readonly string[] = []
  /** Ends the command that looks into other folders than these. */
  #round = new AbortController()
  #running: Promise<void> | undefined
  #heardAt: number | undefined

  constructor({ processes, clock }: WatchOptions, onFile: (path: string, text: string) => void) {
    this.#processes = processes
    this.#clock = clock
    this.#onFile = onFile
  }

  get isLive(): boolean {
    return this.#heardAt !== undefined && this.#clock.monotonic() - this.#heardAt < DEAF_MS
  }

  setDirectories(directories: readonly string[]): void {
    const next = [...new Set(directories.map((path) => path.replace(/(?<=.)\/+$/, '')))]
    if (this.#end.signal.aborted || (next.length === this.#directories.length && next.every((path) => this.#directories.includes(path))))
      return
    this.#directories = next
    this.#round.abort()
    this.#round = new AbortController()
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    let pause = FIRST_PAUSE_MS
    while (!this.#end.signal.aborted && this.#directories.length > 0) {
      const round = this.#round.signal
      const heard = await this.#look(AbortSignal.any([this.#end.signal, round]))
      this.#heardAt = undefined
      if (round.aborted) continue
      if (heard) pause = FIRST_PAUSE_MS
      const jittered = pause * (0.75 + Math.random() / 2)
      await this.#clock.sleep(jittered, { signal: AbortSignal.any([this.#end.signal, round]), unref: true }).catch(() => undefined)
      pause = Math.min(LONGEST_PAUSE_MS, pause * 2)
    }
    this.#running = undefined
  }

  /** @returns whether it came to look at all */
  async #look(signal: AbortSignal): Promise<boolean> {
    const token = makeToken()
    const decoder = new StringDecoder('utf8')
    const news = new NewsReader((path, text) => {
      if (!signal.aborted) this.#onFile(path, text)
    })
    try {
      const running = await this.#processes.start(
        {
          command: loaderCommand(token),
          stdin: { text: programInput(token, [renderWatch(this.#directories)]) },
          keepBytes: 4096,
          spillTo: false,
          graceMs: 1000,
        },
        {
          signal,
          onOutput: (stream, chunk) => {
            if (stream !== 'stdout') return
            this.#heardAt = this.#clock.monotonic()
            news.push(decoder.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)))
          },
        },
      )
      await running.result
    } catch {
      // Nothing that is missed here is lost.
    }
    return this.#heardAt !== undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort()
    await this.#running
  }
}

/** What the loop prints: `.` for a beat, `F <lines> <path>` with so many lines after it for a file. */
class NewsReader {
  readonly #onFile: (path: string, text: string) => void
  #rest = ''
  #file: { readonly path: string; readonly lines: string[]; left: number } | undefined

  constructor(onFile: (path: string, text: string) => void) {
    this.#onFile = onFile
  }

  push(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop() as string
    for (const line of lines) this.#take(line)
  }

  #take(line: string): void {
    if (this.#file === undefined) {
      const found = /^F (\d+) (.+)$/s.exec(line)
      if (found !== null) this.#file = { path: found[2] as string, lines: [], left: Number(found[1]) }
      return
    }
    this.#file.lines.push(line)
    this.#file.left -= 1
    if (this.#file.left > 0) return
    const { path, lines } = this.#file
    this.#file = undefined
    this.#onFile(path, `${lines.join('\n')}\n`)
  }
}

/**
 * The loop: one `sleep` per second, and as long as nothing happens no other process. A file that was reported is removed; one that cannot be
 * is remembered.
 */
function renderWatch(directories: readonly string[]): string {
  return `s=$n b=0
printf '.\\n' || exit 0
while :; do
  set --
  for d in ${directories.map(shellQuote).join(' ')}; do
    for f in "$d"/*; do
      [ -f "$f" ] || continue
      case $f in *"$n"*) continue ;; esac
      case $s in *"$n$f$n"*) continue ;; esac
      t= c=0 l=
      while IFS= read -r l; do t=$t$l$n c=$((c + 1)); done <"$f"
      [ -z "$l" ] && [ "$c" -gt 0 ] || continue
      printf 'F %d %s\\n%s' "$c" "$f" "$t" || exit 0
      set -- "$@" "$f"
    done
  done 2>/dev/null
  if [ $# -gt 0 ]; then
    rm -f -- "$@" 2>/dev/null
    for f do [ ! -f "$f" ] || s=$s$f$n; done
  fi
  b=$((b + 1))
  if [ "$b" -ge ${BEAT_SECONDS} ]; then
    b=0
    printf '.\\n' || exit 0
  fi
  sleep 1
done`
}
