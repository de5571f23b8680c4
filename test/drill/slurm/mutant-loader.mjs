/** Changes files as they are loaded. A text that is not there any more is an error: a mutant that changes nothing shows nothing. */
let changes = []

export function initialize(mutant) {
  changes = mutant
}

export async function load(url, context, nextLoad) {
  const loaded = await nextLoad(url, context)
  let source = loaded.source
  for (const { file, from, to } of changes.filter((change) => url.endsWith(change.file))) {
    const text = String(source)
    if (!text.includes(from)) throw new Error(`${file} has no ${JSON.stringify(from)}`)
    source = text.replace(from, () => to)
  }
  return { ...loaded, source }
}
