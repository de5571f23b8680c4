import type { ByteName } from '../../util/byte-names.js'
import { here, type ShellTalk } from './shell-talk.js'

/** The tools of a host that are not the same everywhere; `h` prints one line for each file, beginning with its SHA-256. */
const TOOLS = `h=; for x in sha256sum shasum openssl; do command -v $x >/dev/null 2>&1 && { h=$x; break; }; done
case $h in
sha256sum) h() { sha256sum "$@"; } ;;
shasum) h() { shasum -a 256 "$@"; } ;;
openssl) h() { openssl dgst -sha256 -r "$@"; } ;;
*) h() { return 9; } ;;
esac
s=; [ "$(stat -c %s / 2>/dev/null)" ] && s=stat
# In the C locale names are bytes; ash has both in one word.
e() { if [ -L "$1" ]; then if [ -d "$1" ]; then echo D; else echo l; fi; elif [ -d "$1" ]; then echo d; elif [ -f "$1" ]; then echo f; elif [ -e "$1" ]; then echo o; else echo -; fi; }
z() { set -- $(ls -lnd "$1"); echo "\${5:--} - -"; }
echo "tools \${h:--} \${s:--} $(id -u 2>/dev/null)"`

export interface ShellTools {
  readonly digests: boolean
  readonly stat: boolean
  readonly isRoot: boolean
}

export async function findTools(talk: ShellTalk): Promise<ShellTools> {
  const { text } = await talk.ask(TOOLS)
  const [, h, s, uid] = /^tools (\S+) (\S+) ?(\d*)$/m.exec(text) ?? []
  return { digests: h !== undefined && h !== '-', stat: s === 'stat', isRoot: uid === '0' }
}

/** Size, and when `stat` is there the time of the last change in microseconds, of files that are there. */
export async function sizesAndTimes(
  talk: ShellTalk,
  { stat }: ShellTools,
  names: readonly ByteName[],
): Promise<Map<ByteName, { readonly size: number; readonly timeUs: number | undefined }>> {
  const render = (batch: readonly ByteName[]): ByteName =>
    stat ? `stat -c '%s %Y %y' ${batch.map(here).join(' ')}` : batch.map((name) => `z ${here(name)}`).join('\n')
  const found = new Map<ByteName, { readonly size: number; readonly timeUs: number | undefined }>()
  for (const [batch, { text }] of await talk.askInBatches(names, render)) {
    const lines = text.split('\n').filter((line) => /^\d+ (-?\d+|-) /.test(line))
    // One went away meanwhile: nobody knows which.
    if (lines.length !== batch.length) continue
    batch.forEach((name, at) => {
      const [size = '', seconds = '', ...rest] = (lines[at] as string).split(' ')
      found.set(name, { size: Number(size), timeUs: seconds === '-' ? undefined : timeOf(seconds, rest.join(' ')) })
    })
  }
  return found
}

/** @source busybox 1.35 and coreutils 9.1 `stat -c %y`: `2023-11-14 22:13:20.123456789 +0000` */
export function timeOf(seconds: string, written: string): number {
  const digits = /:\d\d\.(\d+)/.exec(written)?.[1] ?? ''
  return Number(seconds) * 1_000_000 + Number(digits.padEnd(6, '0').slice(0, 6))
}

/** SHA-256 of files that are there, by name. */
export async function digestsOf(talk: ShellTalk, names: readonly ByteName[]): Promise<Map<ByteName, string>> {
  const found = new Map<ByteName, string>()
  const again: ByteName[] = []
  for (const [batch, { text }] of await talk.askInBatches(names, (some) => `h ${some.map(here).join(' ')}`)) {
    const digests = text.split('\n').flatMap((line) => /^\\?([0-9a-f]{64})(?= |$)/.exec(line)?.[1] ?? [])
    if (digests.length !== batch.length) again.push(...batch)
    else for (const [at, name] of batch.entries()) found.set(name, digests[at] as string)
  }
  // Some file cannot be read, or has a name that looks like an answer.
  for (const [[name = ''], { text, exitCode }] of await talk.askInBatches(again, ([one = '']) => `h ${here(one)}`, 1)) {
    const digest = /^\\?([0-9a-f]{64})(?= |$)/.exec(text)?.[1]
    if (digest !== undefined && exitCode === 0) found.set(name, digest)
  }
  return found
}

/** Sizes of the parts, by number. */
export async function sizesIn(talk: ShellTalk, folder: ByteName): Promise<Map<number, number>> {
  const { text } = await talk.ask(`ls -ln ${here(folder)}`)
  const sizes = new Map<number, number>()
  for (const line of text.split('\n')) {
    // @source POSIX.1-2017 ls, "STDOUT": mode, links, owner, group, size, date and time, name
    const [, size, name] = /^-\S*\s+\d+\s+\d+\s+\d+\s+(\d+)\s.*\s(\d+)$/.exec(line) ?? []
    if (size !== undefined && name !== undefined) sizes.set(Number(name), Number(size))
  }
  return sizes
}
