import { shellQuote } from '../util/shell-quote.js'

/** A value that goes to one place of a script. */
export interface Filling {
  readonly text: string
  /** Quoted once already, by the filter `shell` or `json`, for whoever reads it after the shell. */
  readonly encoded: boolean
  /** As the template says it, for errors. */
  readonly source: string
}

export interface ShellHooks {
  /** The placeholder that begins at this offset of `text`, if there is one. Without `filling` it is passed over. */
  hole(text: string, offset: number): { readonly length: number; readonly filling?: Filling } | undefined
  /** What stands for `$name`: a value, or shell text that is read on as part of the script. */
  dollar?(name: string): Filling | { readonly code: string } | undefined
  comment?(start: number, end: number): void
  /** Must throw. `rule` says why the value cannot stand at this place, `remedy` what to do. */
  refuse(filling: Filling, rule: string, remedy: string): never
}

interface Frame {
  readonly kind: 'command' | 'subshell' | 'substitution' | 'array' | 'double'
  /** The next word is the name of a command. */
  command: boolean
  /** The word so far; `undefined` between words. */
  word: string | undefined
  /** The next word is the file of a redirection. */
  redirection: boolean
  cases: number
  /** A command of this line that hands its arguments to another shell. */
  reader: string | undefined
  /** In double quotes: the first value that is not a plain word. */
  odd: Filling | undefined
  /** In double quotes: everything so far could be one plain word. */
  plain: boolean
}

interface HereDocument {
  readonly delimiter: string
  readonly quoted: boolean
  readonly dash: boolean
}

/** Means the same to a shell inside and outside of any quotes. */
const SAFE = /^[A-Za-z0-9_./:=,+@%-]+$/
const WORD_CHARACTER = /[A-Za-z0-9_./:=,+@%-]/
const DIRECTIVE = /^#(?:SBATCH|OAR|PBS|MSUB|BSUB|COBALT|PJM|FLUX:|\$|\s*@)/
const KEYWORDS = new Set([
  'if',
  'then',
  'else',
  'elif',
  'fi',
  'do',
  'done',
  'while',
  'until',
  'for',
  'case',
  'esac',
  'in',
  'function',
  'select',
  'time',
  'coproc',
])
const BEFORE_COMMAND = new Set(['if', 'then', 'else', 'elif', 'do', 'while', 'until', '!', '{', 'time'])
const ASSIGNMENT = /^[A-Za-z_]\w*(?:\[[^\]]*\])?\+?=/
/** Their arguments are read by a second shell. */
const SECOND_READERS = new Set(['eval', 'ssh', 'rsh', 'oarsh', 'pdsh', 'clush', 'parallel'])
/** What comes on their standard input is a program. */
const PROGRAM_READERS =
  /(?:^|[\s|;&(/])(sh|bash|dash|ksh|zsh|csh|tcsh|ssh|rsh|oarsh|python[\d.]*|perl|ruby|R|Rscript|octave|matlab|gnuplot|julia|lua|node|bc|awk|sed)(?=[\s|;&)<]|$)/

const REMEDY_VARIABLE = 'Give it to a variable on a line of its own, x={{ name }}, and use "$x" here'
const REMEDY_SECOND = 'Use the filter shell, {{ name | shell }}, which quotes once more, or hand the value over in a file'

/**
 * Fills the placeholders of a POSIX shell script so that every program gets the identical bytes, and no value is read as
 * code, whatever it holds. The script is read as a shell reads it; where the reading is not certain any more (backquotes,
 * nested quotes inside `${…}`) only values are taken that are the same inside and outside of quotes.
 */
export function fillShell(script: string, hooks: ShellHooks): string {
  return new ShellFiller(script, hooks).run()
}

class ShellFiller {
  text: string
  readonly hooks: ShellHooks
  at = 0
  out = ''
  stack: Frame[] = [frame('command')]
  pending: HereDocument[] = []
  lineStart = 0
  /** Why the reading is not certain any more. */
  doubt: string | undefined
  /** Length of `out` just after a `$name` of the shell. */
  afterParameter = -1
  /** Length of `out` just after a `$` that begins nothing known: `$'…'`. */
  dollarEnd = -1
  lastOdd: Filling | undefined
  splices = 0

  constructor(text: string, hooks: ShellHooks) {
    this.text = text
    this.hooks = hooks
  }

  run(): string {
    if (this.text.startsWith('#!')) this.directive()
    while (this.at < this.text.length) {
      if (this.top.kind === 'double') this.stepDouble()
      else this.stepCommand()
    }
    if (this.lastOdd !== undefined && (this.stack.length > 1 || this.pending.length > 0)) {
      const open = this.pending.length > 0 ? 'a here-document' : this.top.kind === 'double' ? 'a double quote' : 'a parenthesis'
      this.hooks.refuse(this.lastOdd, `${open} of the script is never closed`, 'Close it: without it no value can be quoted reliably')
    }
    return this.out
  }

  get top(): Frame {
    return this.stack.at(-1)!
  }

  copy(count: number) {
    this.out += this.text.slice(this.at, this.at + count)
    this.at += count
  }

  // ---- commands

  stepCommand() {
    const { text, at, top } = this
    const c = text[at]!
    if (this.tryHole()) return
    if (c === '\n') return this.endLine()
    if (c === '#' && top.word === undefined) return DIRECTIVE.test(text.slice(at, at + 20)) ? this.directive() : this.comment()
    if (c === ' ' || c === '\t' || c === '\r') {
      this.endWord()
      return this.copy(1)
    }
    if (c === '\\') {
      if (text[at + 1] === '\n') return this.copy(2)
      this.afterBackslash()
      top.word = `${top.word ?? ''}\\`
      return this.copy(2)
    }
    if (c === "'") return this.single()
    if (c === '"') {
      top.word = `${top.word ?? ''}"`
      this.copy(1)
      this.stack.push(frame('double'))
      return
    }
    if (c === '`') {
      this.doubt ??= 'backquotes'
      top.word ??= ''
      return this.copy(1)
    }
    if (c === '$') return this.parameter()
    if (c === '(') return this.openParen()
    if (c === ')') return this.closeParen()
    if (c === '<' || c === '>') return this.redirect(c)
    if (c === ';' || c === '|' || c === '&') {
      this.endWord()
      if (c === '&' && text[at + 1] === '>') return this.copy(1)
      this.copy(1)
      return this.startCommand()
    }
    top.word = (top.word ?? '') + c
    this.copy(1)
  }

  startCommand() {
    const { top } = this
    top.command = top.kind !== 'array'
    top.reader = undefined
    top.redirection = false
  }

  endWord(): void {
    const { top } = this
    const { word } = top
    if (word === undefined) return
    top.word = undefined
    if (top.redirection) {
      top.redirection = false
      return
    }
    const name = word.slice(word.lastIndexOf('/') + 1)
    if (SECOND_READERS.has(name)) top.reader ??= name
    if (!top.command) return
    if (word === 'case') top.cases++
    if (word === 'esac' && top.cases > 0) top.cases--
    top.command = BEFORE_COMMAND.has(word) || ASSIGNMENT.test(word)
  }

  endLine() {
    this.endWord()
    const line = this.text.slice(this.lineStart, this.at)
    this.copy(1)
    for (const document of this.pending.splice(0)) this.hereDocument(document, PROGRAM_READERS.exec(line)?.[1])
    this.lineStart = this.at
    this.startCommand()
  }

  comment() {
    const end = this.endOfLine()
    this.hooks.comment?.(this.at, end)
    while (this.at < end) {
      const hole = this.hooks.hole(this.text, this.at)
      if (hole === undefined) {
        this.copy(1)
        continue
      }
      if (hole.filling === undefined) this.copy(hole.length)
      else {
        this.out += hole.filling.text.replaceAll(/[\x00-\x1f\x7f]/g, ' ')
        this.at += hole.length
      }
    }
  }

  /** A line that a scheduler reads, not the shell: it knows no quotes. */
  directive() {
    const isShebang = this.text.startsWith('#!', this.at)
    for (;;) {
      const c = this.text[this.at]
      if (c === undefined || c === '\n') return
      const hole = this.hooks.hole(this.text, this.at) ?? (isShebang ? undefined : this.dollarHole())
      if (hole === undefined) this.copy(1)
      else if ('code' in hole) this.splice(hole.code, hole.length)
      else if (hole.filling === undefined) this.copy(hole.length)
      else {
        const { text } = hole.filling
        const where = isShebang ? 'on the first line' : 'on a directive line, which the scheduler reads without quotes,'
        if (!SAFE.test(text)) {
          this.hooks.refuse(
            hole.filling,
            `${where} a value must be one plain word (letters, digits and _./:=,+@%-)`,
            'Use plain words as levels and map them to longer text inside the script',
          )
        }
        if (text.startsWith('-') && /\s/.test(this.out.at(-1) ?? '')) {
          this.hooks.refuse(
            hole.filling,
            `${where} a value that begins with a dash would be an option of its own`,
            'Write the option in the template: --name={{ name }}',
          )
        }
        this.out += text
        this.at += hole.length
      }
    }
  }

  dollarHole(): { readonly length: number; readonly filling?: Filling } | { readonly length: number; readonly code: string } | undefined {
    const found = /^\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})/.exec(this.text.slice(this.at, this.at + 200))
    if (found === null || this.text[this.at - 1] === '\\') return undefined
    const filling = this.hooks.dollar?.((found[1] ?? found[2])!)
    if (filling === undefined) return undefined
    return 'code' in filling ? { length: found[0].length, code: filling.code } : { length: found[0].length, filling }
  }

  splice(code: string, length: number) {
    if (++this.splices > 1000) throw new RangeError('code that contains itself')
    this.text = this.text.slice(0, this.at) + code + this.text.slice(this.at + length)
  }

  // ---- holes

  tryHole(): boolean {
    const hole = this.hooks.hole(this.text, this.at)
    if (hole === undefined) return false
    if (hole.filling === undefined) {
      this.copy(hole.length)
      this.top.word = `${this.top.word ?? ''}{}`
      return true
    }
    this.at += hole.length
    this.write(hole.filling)
    return true
  }

  write(filling: Filling) {
    if (this.top.kind === 'double') this.writeDouble(filling)
    else this.writeWord(filling)
  }

  writeWord(filling: Filling): void {
    const { top } = this
    const safe = SAFE.test(filling.text)
    if (!safe) this.checkOdd(filling)
    let forced = /[<>]/.test(this.text[this.at] ?? '') || this.afterParameter === this.out.length
    if (top.command && top.word === undefined && !top.redirection) {
      if (!safe) {
        this.hooks.refuse(
          filling,
          'a value stands where the name of a command is expected',
          'A line of shell text is given under code: in the campaign, not as the level of a factor',
        )
      }
      forced ||= filling.text.includes('=') || KEYWORDS.has(filling.text)
    }
    if (top.reader !== undefined && !safe && !filling.encoded) {
      this.hooks.refuse(filling, `${top.reader} hands its arguments to a second shell`, REMEDY_SECOND)
    }
    const quoted = shellQuote(filling.text)
    if (this.doubt !== undefined) this.out += filling.text
    else this.out += forced && quoted === filling.text ? `'${quoted}'` : quoted
    top.word = (top.word ?? '') + quoted
  }

  checkOdd(filling: Filling): void {
    if (this.doubt !== undefined) {
      this.hooks.refuse(
        filling,
        `after ${this.doubt} it is not certain how the shell reads this place, so only a plain word can stand here`,
        REMEDY_VARIABLE,
      )
    }
    this.lastOdd = filling
  }

  afterBackslash(): void {
    const hole = this.hooks.hole(this.text, this.at + 1)
    if (hole?.filling !== undefined)
      this.hooks.refuse(hole.filling, 'a backslash stands before a placeholder', 'Remove the backslash: the value is quoted already')
  }

  // ---- quotes

  single() {
    const ansi = this.dollarEnd === this.out.length
    const { top } = this
    this.copy(1)
    let odd: Filling | undefined
    let plain = true
    for (;;) {
      const c = this.text[this.at]
      if (c === undefined) {
        if (odd ?? this.lastOdd) this.hooks.refuse((odd ?? this.lastOdd)!, 'a single quote of the script is never closed', 'Close it')
        break
      }
      const hole = this.hooks.hole(this.text, this.at)
      if (hole !== undefined) {
        if (hole.filling === undefined) this.copy(hole.length)
        else {
          this.at += hole.length
          if (!SAFE.test(hole.filling.text) && hole.filling.text !== '') {
            this.checkOdd(hole.filling)
            if (ansi)
              this.hooks.refuse(
                hole.filling,
                "a value stands inside $'…'",
                'Remove the quotes around the placeholder: the value is quoted already',
              )
            if (!hole.filling.encoded) odd ??= hole.filling
          }
          this.out += hole.filling.text.replaceAll("'", `'\\''`)
        }
      } else {
        if (c === '\\' && ansi) this.doubt ??= "a backslash inside $'…'"
        this.copy(1)
        if (c === "'") break
        if (!WORD_CHARACTER.test(c)) plain = false
      }
      if (odd !== undefined && !plain) this.refuseInQuotes(odd)
    }
    top.word = `${top.word ?? ''}'`
  }

  refuseInQuotes(filling: Filling): never {
    this.hooks.refuse(
      filling,
      'the quotes around it hold more than one plain word, so the text may be a command for another reader',
      'Remove the quotes around the placeholder (the value is quoted already), or use {{ name | shell }} in a command for another shell',
    )
  }

  stepDouble() {
    const { text, at, top } = this
    const c = text[at]!
    if (this.tryHole()) return
    if (c === '"') {
      this.copy(1)
      this.stack.pop()
      return
    }
    if (c === '\\') {
      this.afterBackslash()
      top.plain = false
      this.copy(2)
    } else if (c === '$') this.parameter()
    else {
      if (c === '`') this.doubt ??= 'backquotes'
      if (!WORD_CHARACTER.test(c)) top.plain = false
      this.copy(1)
    }
    if (top.odd !== undefined && !top.plain) this.refuseInQuotes(top.odd)
  }

  writeDouble(filling: Filling): void {
    const { top } = this
    const safe = SAFE.test(filling.text) || filling.text === ''
    if (!safe) {
      this.checkOdd(filling)
      if (!filling.encoded) {
        top.odd ??= filling
        if (!top.plain) this.refuseInQuotes(filling)
      }
    }
    const escaped = escapeDouble(filling.text, '\\"$`')
    const apart = this.afterParameter === this.out.length && this.doubt === undefined
    this.out += apart ? `""${escaped}` : escaped
  }

  // ---- $

  parameter() {
    const { text, at, top } = this
    const rest = text.slice(at, at + 400)
    const direct = this.hooks.hole(text, at + 1)
    if (direct?.filling !== undefined)
      this.hooks.refuse(
        direct.filling,
        'a dollar sign stands before a placeholder',
        'Remove the dollar sign: {{ name }} is the value itself',
      )
    const named = this.dollarHole()
    if (named !== undefined) {
      if ('code' in named) return this.splice(named.code, named.length)
      this.at += named.length
      return this.write(named.filling!)
    }
    if (top.kind !== 'double') top.word = `${top.word ?? ''}$`
    if (rest.startsWith('$((') && this.arithmetic(3)) return
    if (rest.startsWith('$(')) {
      top.plain = false
      this.copy(2)
      this.stack.push(frame('substitution'))
      return
    }
    if (rest.startsWith('${')) return this.braces()
    const name = /^\$[A-Za-z_]\w*/.exec(rest)
    if (name !== null) {
      this.copy(name[0].length)
      this.afterParameter = this.out.length
      return
    }
    if (/^\$[0-9#?$!*@-]/.test(rest)) {
      this.copy(2)
      this.afterParameter = this.out.length
      return
    }
    this.copy(1)
    this.dollarEnd = this.out.length
  }

  /** `${…}` whose inside holds no quote, backslash or command; anything else makes the reading uncertain. */
  braces() {
    const end = /^\$\{[^'"\\`(){}\n]*\}/.exec(this.text.slice(this.at))
    const { top } = this
    if (end === null) {
      this.doubt ??= 'quotes or commands inside ${…}'
      top.plain = false
      return this.copy(2)
    }
    if (!/^\$\{\w+\}$/.test(end[0])) top.plain = false
    this.inside(this.at + end[0].length, 'inside ${…}')
  }

  /** `$((…))` or `((…))`; false when the parentheses are two commands instead. */
  arithmetic(opening: number): boolean {
    let depth = 2
    for (let j = this.at + opening; j < this.text.length; j++) {
      const c = this.text[j]!
      if (c === '(') depth++
      else if (c === ')') {
        depth--
        if (depth === 1 && this.text[j + 1] !== ')') return false
        if (depth === 0) {
          this.inside(j + 1, 'inside arithmetic')
          return true
        }
      } else if (c === "'" || c === '"' || c === '`' || c === '\\') this.doubt ??= 'quotes inside $((…))'
      else if (c === ';' && opening === 3) return false
    }
    return false
  }

  /** Copies up to `end`; values there must be plain words. */
  inside(end: number, where: string): void {
    while (this.at < end) {
      const hole = this.hooks.hole(this.text, this.at) ?? this.dollarHole()
      if (hole === undefined || 'code' in hole || hole.filling === undefined) {
        this.copy(hole?.length ?? 1)
        continue
      }
      if (!SAFE.test(hole.filling.text)) this.hooks.refuse(hole.filling, `${where} a value must be one plain word`, REMEDY_VARIABLE)
      this.out += hole.filling.text
      this.at += hole.length
    }
  }

  // ---- operators

  openParen() {
    const { top } = this
    if (top.word === undefined && this.text[this.at + 1] === '(' && this.arithmetic(2)) {
      top.command = false
      return
    }
    const array = top.word?.endsWith('=') === true
    const process = top.word === '<('
    this.endWord()
    this.copy(1)
    this.stack.push(frame(array ? 'array' : process ? 'substitution' : 'subshell'))
  }

  closeParen() {
    this.endWord()
    this.copy(1)
    const closesCase = this.top.cases > 0
    if (closesCase || this.stack.length === 1) return this.startCommand()
    const { kind } = this.stack.pop()!
    const { top } = this
    if (top.kind === 'double') return
    if (kind !== 'subshell') top.word ??= '()'
    top.command = false
  }

  redirect(c: string) {
    const { text, at, top } = this
    if (text[at + 1] === '(') {
      top.word ??= '<('
      return this.copy(1)
    }
    if (top.word !== undefined && /^\d+$/.test(top.word)) top.word = undefined
    else this.endWord()
    if (c === '<' && text.startsWith('<<', at) && text[at + 2] !== '<') return this.openHereDocument()
    const operator = /^(?:<<<|<>|<&|>>|>&|>\||<|>)/.exec(text.slice(at, at + 3))![0]
    this.copy(operator.length)
    top.redirection = true
  }

  openHereDocument() {
    const found = /^<<(-?)[ \t]*((?:[^\s'"\\;|&<>()`$]|'[^'\n]*'|"[^"\n]*"|\\.)+)/.exec(this.text.slice(this.at, this.at + 300))
    if (found === null) {
      this.doubt ??= 'a here-document with a delimiter that cannot be read'
      return this.copy(2)
    }
    const word = found[2]!
    for (let j = this.at; j < this.at + found[0].length; j++) {
      const hole = this.hooks.hole(this.text, j)
      if (hole?.filling) this.hooks.refuse(hole.filling, 'a value stands in the delimiter of a here-document', 'Write the delimiter out')
    }
    const quoted = /['"\\]/.test(word)
    this.pending.push({ dash: found[1] === '-', quoted, delimiter: word.replaceAll(/['"\\]/g, '') })
    this.copy(found[0].length)
    this.top.word = undefined
  }

  /** Reads the body, line by line, up to the delimiter. */
  hereDocument(document: HereDocument, reader: string | undefined): void {
    const isEnd = (line: string) => (document.dash ? line.replace(/^\t+/, '') : line) === document.delimiter
    const doubtBefore = this.doubt
    while (this.at < this.text.length) {
      const end = this.endOfLine()
      if (isEnd(this.text.slice(this.at, end))) {
        this.copy(end - this.at + 1)
        this.doubt = doubtBefore
        return
      }
      const start = this.out.length
      let last: Filling | undefined
      while (this.at < this.text.length && this.text[this.at] !== '\n') {
        last = (document.quoted ? this.literal(document, reader) : this.expanded(document, reader)) ?? last
      }
      if (last !== undefined && this.out.slice(start).split('\n').some(isEnd)) {
        this.hooks.refuse(
          last,
          `it would end the here-document (a line ${document.delimiter})`,
          'Choose a delimiter that no value can hold',
        )
      }
      this.copy(1)
    }
    this.pending.push(document)
  }

  /** One character or placeholder of a here-document whose delimiter is quoted: the shell changes nothing in it. */
  literal(document: HereDocument, reader: string | undefined): Filling | undefined {
    const hole = this.hooks.hole(this.text, this.at)
    if (hole?.filling === undefined) {
      this.copy(hole?.length ?? 1)
      return undefined
    }
    this.at += hole.length
    this.checkInDocument(hole.filling, document, reader)
    this.out += hole.filling.text
    return hole.filling
  }

  /** The same where the shell expands `$`, backquotes and backslashes. */
  expanded(document: HereDocument, reader: string | undefined): Filling | undefined {
    const { text, at } = this
    const c = text[at]!
    let hole = this.hooks.hole(text, at)
    if (hole === undefined && c === '$') {
      const direct = this.hooks.hole(text, at + 1)
      if (direct?.filling) this.hooks.refuse(direct.filling, 'a dollar sign stands before a placeholder', 'Remove the dollar sign')
      const named = this.dollarHole()
      if (named !== undefined && 'code' in named) {
        this.splice(named.code, named.length)
        return undefined
      }
      hole = named
      if (hole === undefined) {
        const name = /^\$(?:[A-Za-z_]\w*|\{\w+\}|[0-9#?$!*@-])/.exec(text.slice(at, at + 200))
        if (name === null && /[({]/.test(text[at + 1] ?? '')) this.doubt ??= 'a command inside a here-document'
        this.copy(name?.[0].length ?? 1)
        this.afterParameter = this.out.length
        return undefined
      }
    }
    if (hole?.filling === undefined) {
      if (c === '\\') {
        this.afterBackslash()
        if (text[at + 1] === '\n') this.doubt ??= 'a line that is continued inside a here-document'
        this.copy(text[at + 1] === '\n' ? 1 : 2)
        return undefined
      }
      if (c === '`') this.doubt ??= 'backquotes'
      this.copy(hole?.length ?? 1)
      return undefined
    }
    this.at += hole.length
    if (!SAFE.test(hole.filling.text) && hole.filling.text !== '') this.checkOdd(hole.filling)
    this.checkInDocument(hole.filling, document, reader)
    if (this.afterParameter === this.out.length && /^\w/.test(hole.filling.text)) {
      this.hooks.refuse(
        hole.filling,
        'it follows the name of a variable and would be read as part of it',
        'Write the variable in braces: ${name}',
      )
    }
    this.out += escapeDouble(hole.filling.text, '\\$`')
    return hole.filling
  }

  checkInDocument(filling: Filling, document: HereDocument, reader: string | undefined): void {
    if (SAFE.test(filling.text) || filling.text === '') return
    this.lastOdd = filling
    if (document.dash && filling.text.includes('\t'))
      this.hooks.refuse(filling, '<<- may remove the tabs of a value', 'Use << without the dash')
    if (reader !== undefined && !filling.encoded) {
      this.hooks.refuse(
        filling,
        `the here-document is read by ${reader} as a program`,
        'Use {{ name | json }} for a text literal of Python or JavaScript, {{ name | shell }} for a shell',
      )
    }
  }

  endOfLine(): number {
    const end = this.text.indexOf('\n', this.at)
    return end === -1 ? this.text.length : end
  }
}

function frame(kind: Frame['kind']): Frame {
  return {
    kind,
    command: kind !== 'array' && kind !== 'double',
    word: undefined,
    redirection: false,
    cases: 0,
    reader: undefined,
    odd: undefined,
    plain: true,
  }
}

/** Puts a backslash before each of these characters. */
function escapeDouble(text: string, special: string): string {
  let escaped = ''
  for (const c of text) escaped += special.includes(c) ? `\\${c}` : c
  return escaped
}
