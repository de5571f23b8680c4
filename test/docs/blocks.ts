/** A fenced block of a page that has something to be done with it. */
export interface Block {
  readonly line: number
  readonly language: 'ts' | 'sh' | 'yaml' | 'text'
  /** `run`: executed. `file`: written. `output`: lines that the block before must have printed. */
  readonly role: 'run' | 'file' | 'output'
  readonly file: string | undefined
  readonly text: string
}

const FENCE = /^(`{3,})([a-z]+) +(run|output|file=([\w./-]+))[ \t]*\n([\s\S]*?)^\1[ \t]*$/gm
const LANGUAGES = ['ts', 'sh', 'yaml', 'text']

/**
 * The blocks of a page that begin with ` ```ts run `, ` ```sh run `, ` ```yaml file=name `, ` ```text output `…, in order.
 *
 * @throws Error when a block has a role in a language for which there is none
 */
export function findBlocks(markdown: string): readonly Block[] {
  return [...markdown.matchAll(FENCE)].map((match) => {
    const [, , language, word, file, text] = match
    const line = markdown.slice(0, match.index).split('\n').length
    const role = word!.startsWith('file=') ? 'file' : (word as 'run' | 'output')
    if (!LANGUAGES.includes(language!) || (role === 'run' && language !== 'ts' && language !== 'sh')) {
      throw new Error(`line ${line}: a block of ${language} cannot be "${word}"`)
    }
    return { line, language: language as Block['language'], role, file, text: text! }
  })
}

/** The lines of `expected` that do not follow each other in `output`; `…` stands for anything. */
export function missingLines(expected: string, output: string): readonly string[] {
  const printed = output.split('\n').map((line) => line.trimEnd())
  let from = 0
  return expected
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && line !== '…')
    .filter((line) => {
      const parts = line.split('…').map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
      const pattern = new RegExp(`^${parts.join('.*')}$`)
      const at = printed.findIndex((text, index) => index >= from && pattern.test(text))
      if (at >= 0) from = at + 1
      return at < 0
    })
}
