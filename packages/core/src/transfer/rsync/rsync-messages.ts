import type { ByteName } from '../../util/byte-names.js'

/** A file that rsync could not bring. */
export interface RsyncComplaint {
  /** As it was said: of the source, or of the target. */
  readonly path: ByteName
  readonly isSource: boolean
  /** Name of the system's error; undefined for one that has no meaning of its own here. */
  readonly systemCode: string | undefined
  readonly why: string
}

/** The system's errors in words, as every Linux says them in the language C. */
const SYSTEM_CODES: Readonly<Record<string, string>> = {
  'No such file or directory': 'ENOENT',
  'Not a directory': 'ENOTDIR',
  'Permission denied': 'EACCES',
  'Operation not permitted': 'EPERM',
  'Read-only file system': 'EROFS',
  'No space left on device': 'ENOSPC',
  'Disk quota exceeded': 'EDQUOT',
}
/** What only the side complains that has the sources. */
const OF_SOURCE = /\[sender\]|link_stat|send_files|read errors mapping/i

/**
 * Reads from a line which file rsync could not bring, and why.
 *
 * @param line - in the language C; one character per byte
 * @returns undefined when it is about no file
 * @source rsync 3.5.0 (Debian 12): `rsync: [sender] link_stat "/x/7" failed: No such file or directory (2)`; 3.1 the same without the
 * bracket; `file has vanished: "/x/7"`, and of a link `symlink has no referent: "/x/7"`
 */
export function readComplaint(line: string): RsyncComplaint | undefined {
  const vanished = /^(?:rsync: (?:\[\w+\] )?)?(?:file has vanished|symlink has no referent): "(.*)"/.exec(line)
  if (vanished !== null) return { path: unescapeName(vanished[1] as string), isSource: true, systemCode: 'ENOENT', why: 'it has vanished' }
  const failed = /^rsync: .*?"(.*)"(?: failed)?: (.*) \(\d+\)\s*$/.exec(line)
  if (failed === null) return undefined
  const why = failed[2] as string
  const isSource = OF_SOURCE.test(line.slice(0, line.indexOf('"')))
  return { path: unescapeName(failed[1] as string), isSource, systemCode: SYSTEM_CODES[why], why }
}

/** A name in a message or in a log: what cannot be shown is `\#` and three octal digits. @source rsync(1) 3.2.7, -8 */
export function unescapeName(text: string): ByteName {
  return text.replaceAll(/\\#([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** The last thing that it said, in a line for people. */
export function lastWords(stderr: string): string {
  const lines = Buffer.from(stderr, 'latin1')
    .toString('utf8')
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const reasons = lines.filter((line) => !line.startsWith('rsync error:'))
  return (reasons.at(-1) ?? lines.at(-1) ?? 'it said nothing').slice(0, 300)
}
