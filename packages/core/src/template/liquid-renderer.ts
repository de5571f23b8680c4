import { Liquid, type Template } from 'liquidjs'
import { ConfigError, isCampaignError, messageOf } from '../errors.js'
import type { Combination } from '../model/combination.js'
import type { TemplateRenderer, TemplateSource } from '../ports/template-renderer.js'
import { nearestName } from '../util/nearest.js'
import { shellQuote } from '../util/shell-quote.js'
import { jsonTextOf, textOfValue } from '../util/value-text.js'
import { type Condition, parseCondition } from './condition.js'
import { type Filling, fillShell } from './shell-fill.js'

/** Text that a filter has made ready for the reader after the shell. */
class Encoded {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
  toString(): string {
    return this.text
  }
}

/** Stands for a name of `code` while Liquid renders. */
class Code {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

interface Piece {
  readonly filling: Filling
  readonly line: number
  readonly column: number
}

/** What one rendering collects: the placeholders met, in order. */
interface Rendering {
  readonly source: TemplateSource
  readonly pieces: Piece[]
  readonly open: string
  readonly close: string
}

interface Prepared {
  readonly templates: Template[]
  readonly comments: readonly string[]
  readonly open: string
  readonly close: string
}

const POSIX_SHELLS = /^#!\s*(?:\S*\/)?(?:env\s+(?:-\S+\s+)*)?(?:sh|bash|dash|ash|ksh|mksh|zsh|busybox)(?:\s|$)/
/** Tags that would print a value past the quoting, read files, or keep state between two renderings. */
const REFUSED_TAGS = ['capture', 'cycle', 'increment', 'decrement', 'include', 'render', 'layout', 'block', 'tablerow', 'liquid']
const PLAIN_WORD = /^[A-Za-z0-9_./:=,+@%-]*$/

/**
 * Batch script templates with Liquid's `{{ name }}`, `{% if %}` and `{% for %}`, strict about names and filters.
 *
 * A value is written so that the program receives its identical bytes wherever the placeholder stands: bare, in quotes, in a
 * here-document. Where that cannot be promised the value must be a plain word, else `E_TEMPLATE_UNSAFE`.
 */
export class LiquidRenderer implements TemplateRenderer {
  readonly #liquid: Liquid
  readonly #prepared = new Map<string, Prepared>()
  readonly #conditions = new Map<string, Condition>()
  #rendering: Rendering | undefined

  constructor() {
    this.#liquid = new Liquid({
      strictVariables: true,
      strictFilters: true,
      ownPropertyOnly: true,
      jsTruthy: false,
      outputEscape: this.#escape as never,
    })
    for (const tag of REFUSED_TAGS) delete this.#liquid.tags[tag]
    this.#liquid.registerFilter('json', (value: unknown) => new Encoded(jsonTextOf(value)))
    this.#liquid.registerFilter('shell', (value: unknown) => new Encoded(shellQuote(textOf(value))))
    this.#liquid.registerFilter('raw', () => {
      throw new ConfigError('E_TEMPLATE_UNSAFE', 'The filter raw would write a value as shell text', {
        suggestions: ['Leave the filter out: a value is written as one word', 'Give shell text under code: in the campaign'],
      })
    })
  }

  render(source: TemplateSource, values: Combination): string {
    const code = source.code ?? {}
    for (const name of Object.keys(code)) {
      if (Object.hasOwn(values, name)) {
        throw new ConfigError('E_TEMPLATE', `${source.name}: ${name} is both a factor and a name under code`, {
          suggestions: ['Rename one of them'],
        })
      }
    }
    const snippets = new Map<string, string>()
    const rendering = this.#open(source)
    for (const [name, text] of Object.entries(code))
      snippets.set(name, this.#liquidText(rendering, { ...source, text, name: `${source.name}, code ${name}` }, values, []))
    const text = this.#liquidText(rendering, source, values, Object.keys(code))
    const withCode = this.#insertCode(rendering, text, snippets)
    const isShell = !withCode.startsWith('#!') || POSIX_SHELLS.test(withCode)
    return isShell ? this.#fill(rendering, withCode, values, snippets) : fillOther(rendering, withCode)
  }

  names(source: TemplateSource): readonly string[] {
    const code = source.code ?? {}
    const found: string[] = []
    for (const text of [source.text, ...Object.values(code)]) {
      const { templates } = this.#prepare({ ...source, text }, this.#open({ ...source, text }))
      const globals = this.#guard({ ...source, text }, [], () => this.#liquid.analyzeSync(templates, { partials: false }).globals)
      const first = Object.entries(globals).map(([name, uses]) => ({ name, use: uses[0]!.location }))
      first.sort((a, b) => a.use.row - b.use.row || a.use.col - b.use.col)
      found.push(...first.map(({ name }) => name))
    }
    return [...new Set(found)].filter((name) => !Object.hasOwn(code, name))
  }

  renderArgument(text: string, values: Combination): string {
    if (!text.includes('{{') && !text.includes('{%')) return text
    const source: TemplateSource = { text, name: JSON.stringify(text.slice(0, 60)) }
    const rendering = this.#open(source)
    const rendered = this.#liquidText(rendering, source, values, [], false)
    return rendered.replaceAll(pieceOf(rendering), (_, index: string) => rendering.pieces[Number(index)]!.filling.text)
  }

  evaluateCondition(text: string, values: Combination): boolean {
    let condition = this.#conditions.get(text)
    if (condition === undefined) {
      condition = parseCondition(text)
      if (this.#conditions.size >= 100) this.#conditions.clear()
      this.#conditions.set(text, condition)
    }
    return condition(values)
  }

  // ---- Liquid

  /** Chooses two characters that the template does not hold, to mark the places of values. */
  #open(source: TemplateSource): Rendering {
    const all = [source.text, ...Object.values(source.code ?? {})].join('')
    let mark = 0xe000
    while (all.includes(String.fromCharCode(mark)) || all.includes(String.fromCharCode(mark + 1))) {
      mark += 2
      if (mark > 0xf8fe) throw new ConfigError('E_TEMPLATE', `${source.name} uses all private characters of Unicode`)
    }
    return { source, pieces: [], open: String.fromCharCode(mark), close: String.fromCharCode(mark + 1) }
  }

  #liquidText(rendering: Rendering, source: TemplateSource, values: Combination, code: readonly string[], isShell = true): string {
    const prepared = this.#prepare(source, rendering, isShell)
    const scope: Record<string, unknown> = { ...values }
    for (const name of code) scope[name] = new Code(name)
    const text = this.#guard(source, [...Object.keys(values), ...code], () => {
      const before = this.#rendering
      this.#rendering = { ...rendering, source }
      try {
        return String(this.#liquid.renderSync(prepared.templates, scope))
      } finally {
        this.#rendering = before
      }
    })
    const comment = new RegExp(`${prepared.open}c(\\d+)${prepared.close}`, 'g')
    return text.replaceAll(comment, (_, index: string) => prepared.comments[Number(index)]!)
  }

  /** Liquid's tree of a template; comments of the shell are taken out of its sight. */
  #prepare(source: TemplateSource, marks: Rendering, isShell = true): Prepared {
    const key = `${isShell}${marks.open}${source.text}`
    const known = this.#prepared.get(key)
    if (known !== undefined) return known
    const text = unixLines(source)
    const comments: string[] = []
    let kept = ''
    let end = 0
    if (isShell && (!text.startsWith('#!') || POSIX_SHELLS.test(text))) {
      fillShell(text, {
        hole: (script, offset) => liquidRegion(script, offset),
        comment: (from, to) => {
          if (!/\{[{%]/.test(text.slice(from, to))) return
          kept += `${text.slice(end, from)}${marks.open}c${comments.length}${marks.close}`
          comments.push(text.slice(from, to))
          end = to
        },
        refuse: (filling, rule) => {
          throw new ConfigError('E_TEMPLATE', `${source.name}: ${filling.source}: ${rule}`)
        },
      })
    }
    kept += text.slice(end)
    const templates = this.#guard(source, [], () => this.#liquid.parse(kept))
    markPositions(templates)
    const prepared = { templates, comments, open: marks.open, close: marks.close }
    if (this.#prepared.size >= 64) this.#prepared.clear()
    this.#prepared.set(key, prepared)
    return prepared
  }

  /** Called by Liquid for every value that it is about to print. */
  readonly #escape = (() => {
    const self = this
    return function (this: { readonly token?: PositionedToken }, value: unknown): string {
      const rendering = self.#rendering!
      if (value instanceof Code) return `${rendering.open}k${value.name}${rendering.close}`
      const { line, column, text } = positionOf(this.token)
      const encoded = value instanceof Encoded
      rendering.pieces.push({ filling: { text: textOf(value), encoded, source: text }, line, column })
      return `${rendering.open}${rendering.pieces.length - 1}${rendering.close}`
    }
  })()

  #guard<T>(source: TemplateSource, known: readonly string[], action: () => T): T {
    try {
      return action()
    } catch (error) {
      throw translate(error, source, known)
    }
  }

  // ---- shell

  #insertCode(rendering: Rendering, text: string, snippets: ReadonlyMap<string, string>): string {
    const marks = new RegExp(`${rendering.open}k([^${rendering.close}]*)${rendering.close}`, 'g')
    return text.replaceAll(marks, (_, name: string) => snippets.get(name)!)
  }

  #fill(rendering: Rendering, text: string, values: Combination, snippets: ReadonlyMap<string, string>): string {
    const piece = new RegExp(`${rendering.open}(\\d+)${rendering.close}`, 'y')
    const isDollar = rendering.source.placeholders === 'dollar'
    return fillShell(text, {
      hole: (script, offset) => {
        if (script[offset] !== rendering.open) return undefined
        piece.lastIndex = offset
        const found = piece.exec(script)
        return found === null ? undefined : { length: found[0].length, filling: rendering.pieces[Number(found[1])]!.filling }
      },
      ...(isDollar && {
        dollar: (name: string) => {
          const code = snippets.get(name)
          if (code !== undefined) return { code }
          return Object.hasOwn(values, name) ? { text: textOfValue(values[name]), encoded: false, source: `$${name}` } : undefined
        },
      }),
      refuse: (filling, rule, remedy) => {
        throw unsafe(rendering, filling, rule, remedy)
      },
    })
  }
}

/** A script for another interpreter than a shell: only what means the same everywhere, and JSON literals. */
function fillOther(rendering: Rendering, text: string): string {
  return text.replaceAll(pieceOf(rendering), (_, index: string) => {
    const { filling } = rendering.pieces[Number(index)]!
    if (!filling.encoded && !PLAIN_WORD.test(filling.text)) {
      throw unsafe(
        rendering,
        filling,
        'the script is not for a POSIX shell, so only a plain word can be written',
        'Use {{ name | json }} for a text literal of Python or JavaScript',
      )
    }
    return filling.text
  })
}

const pieceOf = (rendering: Rendering) => new RegExp(`${rendering.open}(\\d+)${rendering.close}`, 'g')

function textOf(value: unknown): string {
  return value instanceof Encoded ? value.text : textOfValue(value)
}

function unsafe(rendering: Rendering, filling: Filling, rule: string, remedy: string): ConfigError {
  const piece = rendering.pieces.find((candidate) => candidate.filling === filling)
  const place = piece === undefined ? placeOfText(rendering.source.text, filling.source) : piece
  const value = JSON.stringify(filling.text.length > 80 ? `${filling.text.slice(0, 80)}…` : filling.text)
  return new ConfigError(
    'E_TEMPLATE_UNSAFE',
    `${rendering.source.name}:${place.line}:${place.column}: ${filling.source} cannot be ${value}: ${rule}`,
    {
      suggestions: [remedy],
      data: { template: rendering.source.name, line: place.line, column: place.column, placeholder: filling.source },
    },
  )
}

function placeOfText(text: string, wanted: string): { readonly line: number; readonly column: number } {
  const before = text.slice(0, Math.max(0, text.indexOf(wanted))).split('\n')
  return { line: before.length, column: before.at(-1)!.length + 1 }
}

/** Line ends of Windows become those of the shell; a carriage return elsewhere would reach the commands. */
function unixLines(source: TemplateSource): string {
  const text = source.text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n')
  const at = text.indexOf('\r')
  if (at !== -1) {
    const line = text.slice(0, at).split('\n').length
    throw new ConfigError('E_TEMPLATE', `${source.name}:${line}: the template holds a carriage return inside a line`, {
      suggestions: ['Save it with Unix line ends (LF)'],
    })
  }
  return text
}

/** The `{{ … }}` or `{% … %}` that begins here, so that its inside is not read as shell text. */
function liquidRegion(text: string, offset: number): { readonly length: number } | undefined {
  if (text[offset] !== '{') return undefined
  const close = text[offset + 1] === '{' ? '}}' : text[offset + 1] === '%' ? '%}' : undefined
  if (close === undefined) return undefined
  const end = text.indexOf(close, offset + 2)
  return end === -1 ? undefined : { length: end + 2 - offset }
}

// ---- what Liquid tells about places

interface PositionedToken {
  readonly input?: string
  begin?: number
  getPosition?(): [number, number]
  getText?(): string
}

interface OutputLike {
  readonly token: PositionedToken & { readonly end?: number; readonly input?: string }
  readonly value?: { readonly filters?: readonly { readonly token: Record<string, unknown> }[] }
  children?(partials: boolean, sync: boolean): Iterable<unknown>
}

/** Liquid gives the escape function a token without place: it gets the place of its `{{`. */
function markPositions(templates: readonly unknown[]): void {
  for (const template of templates as readonly OutputLike[]) {
    const last = template.value?.filters?.at(-1)
    if (last !== undefined) last.token['at'] = template.token
    if (template.children === undefined) continue
    const steps = template.children(false, true) as unknown as Iterator<unknown, unknown>
    for (let step = steps.next(); ; step = steps.next(step.value)) {
      if (!step.done) continue
      if (Array.isArray(step.value)) markPositions(step.value)
      break
    }
  }
}

function positionOf(token: PositionedToken | undefined): { line: number; column: number; text: string } {
  const at = (token as { at?: PositionedToken } | undefined)?.at ?? token
  const [line, column] = at?.getPosition?.() ?? [1, 1]
  return { line, column, text: at?.getText?.() ?? 'a value' }
}

function translate(error: unknown, source: TemplateSource, known: readonly string[]): unknown {
  const original = (error as { originalError?: unknown }).originalError
  const token = (error as { token?: PositionedToken }).token
  const [line, column] = token?.getPosition?.() ?? [1, 1]
  const place = `${source.name}:${line}:${column}`
  const data = { template: source.name, line, column }
  if (isCampaignError(original)) {
    return new ConfigError(original.code, `${place}: ${original.message}`, { suggestions: original.suggestions, data, cause: original })
  }
  if (isCampaignError(error)) return error
  const text = messageOf(error)
  const missing = /undefined variable: ([^,\s]+)/.exec(text)?.[1]
  if (missing !== undefined) {
    const near = nearestName(missing, known)
    return new ConfigError('E_TEMPLATE_NAME', `${place}: the template uses ${missing}, which this combination does not have`, {
      suggestions: [near === undefined ? `Use one of: ${known.join(', ') || '(there is no name)'}` : `Write ${near}`],
      data: { ...data, name: missing, known: [...known] },
    })
  }
  const reason = text.replace(/, line:\d+, col:\d+$/, '')
  return new ConfigError('E_TEMPLATE', `${place}: the template cannot be read: ${reason}`, {
    suggestions: ['Put text that only looks like a placeholder between {% raw %} and {% endraw %}'],
    data,
    cause: error,
  })
}
