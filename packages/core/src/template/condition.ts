import { ConfigError } from '../errors.js'
import { nearestName } from '../util/nearest.js'

/**
 * Conditions of campaign files, `cores <= 16 and python == 'system'`: names, numbers, text in quotes, `true false nil`,
 * `== != < <= > >= contains`, `not`, `and`, `or`, parentheses. `and` and `or` side by side need parentheses.
 */
type Node =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'name'; readonly path: readonly string[]; readonly at: number }
  | { readonly kind: 'not'; readonly of: Node }
  | { readonly kind: 'and' | 'or'; readonly left: Node; readonly right: Node }
  | { readonly kind: 'compare'; readonly operator: string; readonly left: Node; readonly right: Node; readonly at: number }

interface Token {
  readonly kind: 'number' | 'text' | 'word' | 'operator' | 'end'
  readonly text: string
  readonly at: number
}

const TOKEN =
  /\s*(?:(?<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?<text>'[^']*'|"[^"]*")|(?<word>[A-Za-z_][\w]*(?:\.[A-Za-z_]\w*|\[\d+\])*)|(?<operator>==|!=|<>|<=|>=|<|>|\(|\)))/y
const CONSTANTS: Readonly<Record<string, unknown>> = { true: true, false: false, nil: null, null: null }
const COMPARISONS = new Set(['==', '!=', '<>', '<', '<=', '>', '>=', 'contains'])

/** A condition that was read once and is tried on many combinations. */
export type Condition = (values: Readonly<Record<string, unknown>>) => boolean

/** @throws ConfigError `E_TEMPLATE` when the text is no condition */
export function parseCondition(text: string): Condition {
  const parser = new Parser(text)
  const node = parser.parse()
  return (values) => isTrue(evaluate(node, values, text))
}

class Parser {
  readonly text: string
  readonly tokens: readonly Token[]
  position = 0

  constructor(text: string) {
    this.text = text
    this.tokens = tokensOf(text)
  }

  parse(): Node {
    const node = this.either()
    const rest = this.tokens[this.position]!
    if (rest.kind !== 'end') throw unreadable(this.text, rest.at, `nothing more was expected, but there is ${JSON.stringify(rest.text)}`)
    return node
  }

  take(...words: readonly string[]): Token | undefined {
    const token = this.tokens[this.position]!
    if (token.kind === 'text' || !words.includes(token.text)) return undefined
    this.position++
    return token
  }

  either(): Node {
    let node = this.not()
    let used: string | undefined
    for (;;) {
      const token = this.take('and', 'or')
      if (token === undefined) return node
      if (used !== undefined && used !== token.text) {
        throw unreadable(this.text, token.at, 'and and or stand side by side', 'Put parentheses around the part that belongs together')
      }
      used = token.text
      node = { kind: token.text as 'and' | 'or', left: node, right: this.not() }
    }
  }

  not(): Node {
    return this.take('not') ? { kind: 'not', of: this.not() } : this.comparison()
  }

  comparison(): Node {
    const left = this.operand()
    const token = this.take(...COMPARISONS)
    return token === undefined ? left : { kind: 'compare', operator: token.text, left, right: this.operand(), at: token.at }
  }

  operand(): Node {
    const token = this.tokens[this.position]!
    this.position++
    if (token.kind === 'number') return { kind: 'value', value: Number(token.text) }
    if (token.kind === 'text') return { kind: 'value', value: token.text.slice(1, -1) }
    if (token.text === '(') {
      const node = this.either()
      if (this.take(')') === undefined) throw unreadable(this.text, this.tokens[this.position]!.at, 'a closing parenthesis is missing')
      return node
    }
    if (token.kind === 'word' && !['and', 'or', 'not', 'contains'].includes(token.text)) {
      if (Object.hasOwn(CONSTANTS, token.text)) return { kind: 'value', value: CONSTANTS[token.text] }
      return { kind: 'name', path: token.text.split(/\.|\[|\]\.?/).filter((part) => part !== ''), at: token.at }
    }
    throw unreadable(this.text, token.at, 'a name, a number or a text in quotes is missing')
  }
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  const pattern = new RegExp(TOKEN)
  while (text.slice(pattern.lastIndex).trim() !== '') {
    const start = pattern.lastIndex
    const found = pattern.exec(text)
    if (found === null) {
      const at = start + /^\s*/.exec(text.slice(start))![0].length
      const remedy = { '=': 'Write == to compare', '&': 'Write and', '|': 'Write or', '!': 'Write not' }[text[at]!]
      throw unreadable(text, at, `${JSON.stringify(text.slice(at, at + 10))} cannot be read`, remedy)
    }
    const [kind, word] = Object.entries(found.groups!).find(([, value]) => value !== undefined)!
    tokens.push({ kind: kind as Token['kind'], text: word, at: pattern.lastIndex - word.length })
  }
  tokens.push({ kind: 'end', text: '', at: text.length })
  return tokens
}

function unreadable(text: string, at: number, why: string, remedy?: string): ConfigError {
  return new ConfigError('E_TEMPLATE', `The condition ${JSON.stringify(text)} cannot be read at column ${at + 1}: ${why}`, {
    suggestions: [remedy ?? "A condition looks like: cores <= 16 and python == 'system'"],
    data: { text, column: at + 1 },
  })
}

function isTrue(value: unknown): boolean {
  return value !== false && value !== null && value !== undefined
}

function evaluate(node: Node, values: Readonly<Record<string, unknown>>, text: string): unknown {
  switch (node.kind) {
    case 'value':
      return node.value
    case 'name':
      return lookUp(node, values, text)
    case 'not':
      return !isTrue(evaluate(node.of, values, text))
    case 'and':
      return isTrue(evaluate(node.left, values, text)) && isTrue(evaluate(node.right, values, text))
    case 'or':
      return isTrue(evaluate(node.left, values, text)) || isTrue(evaluate(node.right, values, text))
    case 'compare':
      return compare(node, evaluate(node.left, values, text), evaluate(node.right, values, text), text)
  }
}

function lookUp(node: Extract<Node, { kind: 'name' }>, values: Readonly<Record<string, unknown>>, text: string): unknown {
  let value: unknown = values
  for (const [depth, part] of node.path.entries()) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) {
      const known = depth === 0 ? Object.keys(values) : Object.keys(value ?? {})
      const near = nearestName(part, known)
      throw new ConfigError(
        'E_TEMPLATE_NAME',
        `The condition ${JSON.stringify(text)} uses ${node.path.slice(0, depth + 1).join('.')}, which this combination does not have`,
        {
          suggestions: [near === undefined ? `Use one of: ${known.join(', ')}` : `Write ${near}`],
          data: { name: part, column: node.at + 1, known },
        },
      )
    }
    value = (value as Record<string, unknown>)[part]
  }
  return value
}

function compare(node: Extract<Node, { kind: 'compare' }>, left: unknown, right: unknown, text: string): boolean {
  const { operator } = node
  if (operator === 'contains') {
    if (typeof left === 'string') return left.includes(String(right))
    if (Array.isArray(left)) return left.some((item) => sameValue(item, right))
    throw unreadable(text, node.at, 'contains needs a text or a list on its left')
  }
  if (operator === '==') return sameValue(left, right)
  if (operator === '!=' || operator === '<>') return !sameValue(left, right)
  const numbers = isNumeric(left) && isNumeric(right)
  if (!numbers && !(typeof left === 'string' && typeof right === 'string')) {
    throw unreadable(
      text,
      node.at,
      `${operator} cannot compare ${describe(left)} with ${describe(right)}`,
      'Compare numbers with numbers, text with text',
    )
  }
  const [a, b] = [left as number, right as number]
  return operator === '<' ? a < b : operator === '<=' ? a <= b : operator === '>' ? a > b : a >= b
}

const isNumeric = (value: unknown) => typeof value === 'number' || typeof value === 'bigint'

function sameValue(left: unknown, right: unknown): boolean {
  // 8n and 8 are equal, NaN equals nothing.
  if (isNumeric(left) && isNumeric(right)) return (left as number) <= (right as number) && (left as number) >= (right as number)
  return left === right || (left == null && right == null)
}

function describe(value: unknown): string {
  return value === null ? 'nothing' : typeof value === 'object' ? 'a list or map' : `the ${typeof value} ${JSON.stringify(String(value))}`
}
