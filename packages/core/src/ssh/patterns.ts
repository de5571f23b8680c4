/**
 * Whether one of the patterns matches, and no negated one (`!pattern`) does.
 *
 * @source ssh_config(5) PATTERNS, the same in known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)
 */
export function matchesPatterns(name: string, patterns: readonly string[]): boolean {
  let found = false
  for (const pattern of patterns) {
    if (pattern.startsWith('!')) {
      if (matchesPattern(name, pattern.slice(1))) return false
    } else found ||= matchesPattern(name, pattern)
  }
  return found
}

/** `*` any text, `?` one character, everything else itself. No regular expression: `*a*a*a*` must not take exponential time. */
export function matchesPattern(name: string, pattern: string): boolean {
  let at = 0
  let star = -1
  let resume = 0
  let index = 0
  while (at < name.length) {
    if (index < pattern.length && pattern[index] === '*') {
      star = index
      resume = at
      index += 1
    } else if (index < pattern.length && (pattern[index] === '?' || pattern[index] === name[at])) {
      index += 1
      at += 1
    } else if (star >= 0) {
      index = star + 1
      resume += 1
      at = resume
    } else return false
  }
  while (pattern[index] === '*') index += 1
  return index === pattern.length
}
