/** Changes one file as it is loaded. A text that is not there any more is an error: a mutant that changes nothing shows nothing. */
let wanted

export function initialize(mutant) {
  wanted = mutant
}

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context)
  if (!url.endsWith(wanted.file)) return loaded
  const source = String(loaded.source)
  if (!source.includes(wanted.from)) throw new Error(`${wanted.file} has no ${JSON.stringify(wanted.from)}`)
  return { ...loaded, source: source.replace(wanted.from, () => wanted.to) }
}
