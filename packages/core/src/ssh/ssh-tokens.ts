import { createHash } from 'node:crypto'
import { hostname, type UserInfo, userInfo } from 'node:os'
import { join } from 'node:path'

/** What the tokens of an ssh configuration stand for. */
export interface TokenValues {
  /** `%n`: as the user wrote it. */
  readonly name: string
  /** `%h`: after HostName. */
  readonly address: string
  readonly port: string
  readonly user: string
  readonly hostKeyAlias?: string | undefined
  readonly jump?: string | undefined
}

/**
 * Puts values for `%h`, `%C` and so on.
 *
 * @returns undefined when there is a token that is not known
 * @source ssh_config(5) TOKENS, OpenSSH 9.2 (`%j` since 9.4, which is part of `%C` from then on: `jump` decides)
 */
export function expandTokens(text: string, values: TokenValues): string | undefined {
  if (!text.includes('%')) return text
  let known = true
  const me = whoAmI()
  const local = hostname()
  const result = text.replace(/%(.?)/gs, (all, token: string) => {
    switch (token) {
      case '%':
        return '%'
      case 'h':
        return values.address
      case 'n':
        return values.name
      case 'p':
        return values.port
      case 'r':
        return values.user
      case 'k':
        return values.hostKeyAlias ?? values.name
      case 'j':
        return values.jump ?? ''
      case 'u':
        return me.username
      case 'd':
        return me.homedir
      case 'i':
        return String(me.uid)
      case 'l':
        return local
      case 'L':
        return local.split('.')[0]!
      case 'C':
        return createHash('sha1')
          .update(`${local}${values.address}${values.port}${values.user}${values.jump ?? ''}`)
          .digest('hex')
      default:
        known = false
        return all
    }
  })
  return known ? result : undefined
}

let user: UserInfo<string> | undefined
/** The user database is a file that is read anew for every question. */
export function whoAmI(): UserInfo<string> {
  user ??= userInfo()
  return user
}

/** `~` and `~/x` of the user who runs us; ssh takes the home of the user database, not `$HOME`. */
export function expandTilde(path: string): string {
  if (path === '~') return whoAmI().homedir
  return path.startsWith('~/') ? join(whoAmI().homedir, path.slice(2)) : path
}
