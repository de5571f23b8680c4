import { describe, expect, it } from 'vitest'
import { findBlocks, missingLines } from './blocks.js'

const fenced = (head: string, text: string): string => `\`\`\`${head}\n${text}\n\`\`\`\n`

describe('findBlocks', () => {
  it('finds what is to be run, written and compared, with its line', () => {
    const page = `# Title\n\n${fenced('ts file=a/b.ts', 'x')}\n${fenced('sh run', 'cat a/b.ts')}\n${fenced('text output', 'x')}`
    expect(findBlocks(page)).toEqual([
      { line: 3, language: 'ts', role: 'file', file: 'a/b.ts', text: 'x\n' },
      { line: 7, language: 'sh', role: 'run', file: undefined, text: 'cat a/b.ts\n' },
      { line: 11, language: 'text', role: 'output', file: undefined, text: 'x\n' },
    ])
  })

  it('leaves other blocks alone', () => {
    expect(findBlocks(fenced('ts', 'x') + fenced('sh', 'rm -rf tmp') + fenced('', 'run'))).toEqual([])
  })

  it('refuses to run what it cannot run', () => {
    expect(() => findBlocks(fenced('yaml run', 'a: 1'))).toThrow('line 1')
  })
})

describe('missingLines', () => {
  it('accepts the lines in order, with others between them', () => {
    expect(missingLines('a\nb … d\n', 'z\na\ny\nb c d\n')).toEqual([])
  })

  it('names the lines that are not there', () => {
    expect(missingLines('a\nb', 'a\nc')).toEqual(['b'])
    expect(missingLines('b\na', 'a\nb')).toEqual(['a'])
  })
})
