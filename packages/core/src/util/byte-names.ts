/**
 * A name as a file system has it: any bytes but NUL. One character per byte, so that a name that is no UTF-8 is the same name here and
 * there.
 */
export type ByteName = string

export function byteName(text: string): ByteName {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** For messages. */
export function readableName(name: ByteName): string {
  return Buffer.from(name, 'latin1').toString('utf8')
}

/** The path of a name below a folder of this machine. */
export function pathBelow(folder: string, name: ByteName): Buffer {
  return Buffer.concat([Buffer.from(`${folder}/`), Buffer.from(name, 'latin1')])
}

/** A relative name without what leads out of its folder: no `..`, no absolute path, no NUL. Leading `./` is taken off. */
export function insideName(name: ByteName): ByteName | undefined {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.length === 0 || name.startsWith('/') || name.endsWith('/') || parts.includes('..') || name.includes('\0')) return undefined
  return parts.join('/')
}
