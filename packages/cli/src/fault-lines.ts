/** What went wrong on one host. */
export interface Fault {
  readonly host: string
  /** Hosts with the same key are listed together. */
  readonly key: string
  readonly text: string
  /** Said instead of the text when it names one of several hosts. */
  readonly common: string
  /** What was found out on this host, when others have the same key and another text. */
  readonly example: string
  readonly unreachable: boolean
  readonly code: string
  readonly suggestions: readonly string[]
  /** Lines that say more, of which those of the first host stand for all. */
  readonly details?: readonly string[]
}

export interface FaultWords {
  foldHosts(names: readonly string[]): string
  /** What a code means; empty when nobody knows. */
  explain(code: string): string
}

/**
 * The lines about hosts on which something went wrong: what failed, then hosts that were not reached; hosts with the same cause on one
 * line, and below it what would help.
 */
export function formatFaultLines(faults: readonly Fault[], words: FaultWords): readonly string[] {
  const causes = new Map<string, { readonly first: Fault; readonly hosts: string[]; readonly texts: Set<string> }>()
  for (const fault of faults) {
    const known = causes.get(fault.key)
    if (known === undefined) causes.set(fault.key, { first: fault, hosts: [fault.host], texts: new Set([fault.text]) })
    else {
      known.hosts.push(fault.host)
      known.texts.add(fault.text)
    }
  }
  const said = new Set<string>()
  return [...causes.values()]
    .sort((one, other) => Number(one.first.unreachable) - Number(other.first.unreachable))
    .flatMap(({ first, hosts, texts }) => {
      const meaning = words.explain(first.code)
      // What differs is often no more than the name of the host: the first one tells of the user, the key, the port, the gateway.
      const text = texts.size === 1 ? first.text : `${first.common}${meaning === '' ? '' : `: ${meaning}`} ${first.example}`
      // Those of the first host stand for all: what differs is its name.
      const tips = first.suggestions.filter((tip) => !said.has(tip))
      for (const tip of tips) said.add(tip)
      return [
        `${foldNames(hosts, words)}: ${text.trimEnd()}`,
        ...(first.details ?? []).map((line) => `  ${line}`),
        ...tips.map((tip) => `  Try: ${tip}`),
      ]
    })
}

/** An IPv6 address with a port has brackets of its own, which a host set does not have. */
export function foldNames(names: readonly string[], words: Pick<FaultWords, 'foldHosts'>): string {
  const bracketed = names.filter((name) => name.includes('['))
  return [words.foldHosts(names.filter((name) => !name.includes('['))), ...bracketed].filter((part) => part !== '').join(',')
}
