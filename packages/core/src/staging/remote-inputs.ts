import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { messageOf, SchedulerError, TransferError } from '../errors.js'
import type { Clock } from '../ports/clock.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import { byteName } from '../util/byte-names.js'
import { shellQuote } from '../util/shell-quote.js'
import { TAR_END, tarHeader, tarPadding } from '../util/tar-write.js'
import { LINKED_FROM_BYTES, type PlacedInput } from './placed-input.js'
import { exchange, makeToken, siteError } from './site-shell.js'

const PIECE_BYTES = 1 << 18
const TIMEOUT_MS = 180_000
/** Another controller uploads, and nothing has come for so long: it is no more. */
const STALE_MS = 180_000
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5_000
/** How often an upload that somebody took for stale is tried. */
const TRIES = 3
const SPOILT_EXIT_CODE = 4

/** An input with the name of its content: the SHA-256, and `.x` when it is to be executed. */
export interface KeyedInput extends PlacedInput {
  readonly key: string
  readonly mode: number
  readonly isLinked: boolean
}

/** @throws TransferError `E_STAGE` when an input cannot be read */
export async function keyInputs(inputs: readonly PlacedInput[], signal?: AbortSignal): Promise<KeyedInput[]> {
  const keyed: KeyedInput[] = []
  for (const { name, path } of inputs) {
    signal?.throwIfAborted()
    try {
      const hash = createHash('sha256')
      let bytes = 0
      for await (const chunk of createReadStream(path, { highWaterMark: PIECE_BYTES }) as AsyncIterable<Buffer>) {
        hash.update(chunk)
        bytes += chunk.length
      }
      const { mode } = await stat(path)
      const isProgram = (mode & 0o100) !== 0
      keyed.push({ name, path, bytes, key: `${hash.digest('hex')}${isProgram ? '.x' : ''}`, mode, isLinked: bytes >= LINKED_FROM_BYTES })
    } catch (cause) {
      throw new TransferError('E_STAGE', `the input file ${path} cannot be read: ${messageOf(cause)}`, { cause })
    }
  }
  return keyed
}

export interface RemoteStore {
  readonly processes: ProcessBackend
  readonly clock: Clock
  /** Absolute, there. */
  readonly folder: string
  /** Tells us from other controllers. */
  readonly token: string
}

/**
 * Brings files into the store of a site, where each lies under the name of its content, so that none is brought twice: what is there is
 * asked first, and while another controller uploads we wait for what it brings.
 *
 * @param preparation - shell text that is executed in the same exchange when everything is there
 * @throws as {@link exchange}, and TransferError `E_STAGE`, StoreError `E_STORE_FULL`, `E_RUN_DIRECTORY`
 */
export async function bringInputs(
  store: RemoteStore,
  inputs: readonly KeyedInput[],
  preparation: string,
  signal?: AbortSignal,
): Promise<void> {
  const { clock } = store
  const wanted = new Map(inputs.map((input) => [input.key, input]))
  let seen: { readonly progress: string; readonly since: number } | undefined
  let pause = FIRST_PAUSE_MS
  let isStale = false
  for (let tries = 0; ; ) {
    const { missing, others } = await ask(store, [...wanted.keys()], preparation, isStale, signal)
    isStale = false
    if (missing.length === 0) return
    if (others === undefined) {
      tries += 1
      const files = missing.flatMap((key) => wanted.get(key) ?? [])
      if (await upload(store, files, preparation, signal)) return
      if (tries >= TRIES) throw spoilt(files)
      continue
    }
    if (seen?.progress !== others) seen = { progress: others, since: clock.monotonic() }
    isStale = clock.monotonic() - seen.since >= STALE_MS
    if (isStale) continue
    await clock.sleep(pause, { signal })
    pause = Math.min(LONGEST_PAUSE_MS, pause * 2)
  }
}

/** @returns what is not there; `others`: somebody else brings it, and how far that is */
async function ask(
  { processes, folder, token }: RemoteStore,
  keys: readonly string[],
  preparation: string,
  isStale: boolean,
  signal: AbortSignal | undefined,
): Promise<{ readonly missing: readonly string[]; readonly others?: string }> {
  const what = `look for input files in ${folder}`
  const program = `i=${shellQuote(folder)} u=$i/.upload m=
mkdir -p "$i" || exit 1
for h in ${keys.join(' ')}; do [ -f "$i/$h" ] || m="$m $h"; done
if [ -z "$m" ]; then
${preparation}
exit $?
fi
o=
{ read -r o <"$u/owner"; } 2>/dev/null
if ${isStale ? 'true' : `[ "$o" = ${token} ]`}; then mv "$u" "$u.${makeToken()}" && rm -rf "$u".?*; fi 2>/dev/null
if mkdir "$u" 2>/dev/null; then
  printf '%s\\n' ${token} >"$u/owner" || exit 1
  printf 'mine\\n'
elif [ -d "$u" ]; then
  printf 'others %s %s\\n' "$o" "$(ls -ln "$u" | cksum)"
else
  mkdir "$u"
  exit 1
fi
for h in $m; do printf 'missing %s\\n' "$h"; done`
  const answer = await exchange(processes, { program: [program], signal, what, timeoutMs: TIMEOUT_MS })
  if (answer.exitCode !== 0) throw siteError(what, answer)
  const lines = answer.stdout.split('\n')
  const missing = lines.filter((line) => line.startsWith('missing ')).map((line) => line.slice(8))
  const others = lines.find((line) => line.startsWith('others '))
  return others === undefined ? { missing } : { missing, others }
}

/** @returns false when what came there is not what was sent: somebody took our folder, or a file was changed meanwhile */
async function upload(
  { processes, clock, folder, token }: RemoteStore,
  files: readonly KeyedInput[],
  preparation: string,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const what = `bring ${files.length === 1 ? files[0]?.name : `${files.length} input files`} (${bytes} bytes) to ${folder}`
  const keys = files.map(({ key }) => key)
  const programs = keys.filter((key) => key.endsWith('.x'))
  const plain = keys.filter((key) => !key.endsWith('.x'))
  const program = `i=${shellQuote(folder)} u=$i/.upload
c() { { read -r o <"$u/owner"; } 2>/dev/null; [ "$o" != ${token} ] || rm -rf "$u"; }
trap 'c; exit 97' HUP INT TERM PIPE
cd "$u" || exit ${SPOILT_EXIT_CODE}
tar xof - -m || { c; exit 1; }
if command -v sha256sum >/dev/null; then
  sha256sum ${keys.join(' ')} | while read -r a b; do case $b in "$a" | "$a.x") ;; *) exit 1 ;; esac; done
else
  ${files.map((file) => `[ "$(wc -c <${file.key})" -eq ${file.bytes} ]`).join(' && ')}
fi || { c; exit ${SPOILT_EXIT_CODE}; }
${plain.length === 0 ? '' : `chmod 444 ${plain.join(' ')} || { c; exit ${SPOILT_EXIT_CODE}; }`}
${programs.length === 0 ? '' : `chmod 555 ${programs.join(' ')} || { c; exit ${SPOILT_EXIT_CODE}; }`}
mv -f ${keys.join(' ')} "$i/" || { c; exit 1; }
cd / && c
${preparation}
exit $?`
  const answer = await exchange(processes, { program: [program], payload: archiveOf(files, clock.now()), signal, what })
  if (answer.exitCode === SPOILT_EXIT_CODE) return false
  if (answer.exitCode !== 0) throw siteError(what, answer)
  return true
}

async function* archiveOf(files: readonly KeyedInput[], now: number): AsyncGenerator<Uint8Array> {
  for (const { key, path, bytes, name } of files) {
    yield tarHeader(byteName(key), bytes, 0o600, now)
    let left = bytes
    for await (const chunk of createReadStream(path, { highWaterMark: PIECE_BYTES }) as AsyncIterable<Buffer>) {
      left -= chunk.length
      if (left < 0) break
      yield chunk
    }
    if (left !== 0) throw new TransferError('E_STAGE', `the input file ${name} was changed while it was brought to the site`)
    yield tarPadding(bytes)
  }
  yield TAR_END
}

function spoilt(files: readonly KeyedInput[]): Error {
  return new SchedulerError('E_SCHEDULER_SILENT', `input files did not arrive whole: ${files.map(({ name }) => name).join(', ')}`, {
    suggestions: ['See that no other program writes into the work directory of the site'],
    data: { code: 'E_STAGE' },
  })
}
