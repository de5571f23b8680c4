import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * The files that a shell pattern (`*`, `?`, `[…]`) stands for, sorted. A pattern that fits nothing gives nothing.
 *
 * @param pattern - absolute
 */
export async function listGlob(pattern: string): Promise<string[]> {
  let found = ['/']
  for (const part of pattern.split('/').filter((text) => text !== '' && text !== '.')) {
    const next: string[] = []
    for (const directory of found) {
      if (!/[*?[\\]/.test(part)) {
        next.push(join(directory, part))
        continue
      }
      const shape = toExpression(part)
      const names = await readdir(directory).catch(() => [])
      for (const name of names.sort())
        if (shape.test(name) && (part.startsWith('.') || !name.startsWith('.'))) next.push(join(directory, name))
    }
    found = next
  }
  const there = await Promise.all(
    found.map((path) =>
      stat(path).then(
        () => true,
        () => false,
      ),
    ),
  )
  return found.filter((_, i) => there[i])
}

function toExpression(part: string): RegExp {
  const text = part.replace(/\\(.)|\[(!|\^)?(\]?[^\]]*)\]|[*?]|[\\^$.|+(){}[\]]/g, (all, escaped, not, set) => {
    if (escaped !== undefined) return escaped.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
    if (set !== undefined) return `[${not === undefined ? '' : '^'}${set.replace(/[\\\]^]/g, '\\$&')}]`
    if (all === '*') return '.*'
    if (all === '?') return '.'
    return `\\${all}`
  })
  return new RegExp(`^${text}$`, 'su')
}
