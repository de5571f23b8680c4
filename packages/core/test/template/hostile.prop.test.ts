import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { anyText } from '../../../../test/any-text.js'
import { LiquidRenderer } from '../../src/template/liquid-renderer.js'

/** Pieces that mean something to a shell, so that random texts are hostile more often than not. */
const piece = fc.oneof(
  fc.constantFrom(
    "'",
    '"',
    '`',
    '$',
    '\\',
    '\n',
    '\r',
    '\t',
    ' ',
    ';',
    '&',
    '|',
    '<',
    '>',
    '(',
    ')',
    '{',
    '}',
    '#',
    '~',
    '*',
    '?',
    '[',
    ']',
    '!',
    '=',
    '-',
    '%',
    '^',
  ),
  fc.constantFrom(
    '$(touch owned)',
    '`touch owned`',
    '; touch owned;',
    "'; touch owned; '",
    '"; touch owned; "',
    '\ntouch owned\n',
    '../',
    '$HOME',
    '${x}',
    '<<EOF\n',
    '\nEOF\n',
    '$((1))',
    '{{ x }}',
    '{% x %}',
    '\\\n',
    '\ue000',
    '-rf',
    'é',
    '日本',
    '𝒳',
  ),
  anyText({ maxLength: 4 }).filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text)),
)
const hostile = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''))

/** Every place of a script where any value at all can be written. Each hands `x` and `y` to a program of its own. */
const script = `#!/bin/sh
#SBATCH --job-name=test
# a comment with {{ x }} and it's
show() { for i in "$@"; do printf '%s' "$i" > "out$n"; n=$((n + 1)); done; }
n=1
show {{ x }} -{{ x }}- {{x}}{{y}} "{{ x }}" '{{ x }}' "$n{{ y }}.{{ x }}" $n{{ y }} # it's {{ x }}
v={{ x }}
show "$v" "$(printf '%s' {{ x }}.)" "$(printf '%s' "{{ x }}.")"
case {{ x }} in
  "$v") true;;
esac
if [ {{ x }} = "$v" ]; then show {{ x }}; fi
sh -c "printf '%s' {{ x | shell }} > out13"
cat > doc1 <<'END-OF_IT'
a{{ x }}b
END-OF_IT
cat > doc2 <<END-OF_IT
a{{ x }}b
END-OF_IT
show last
`

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'cahier-hostile-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function runScript(shell: string, text: string): { readonly status: number | null; read(name: string): string | undefined } {
  for (const name of readdirSync(directory)) rmSync(join(directory, name))
  writeFileSync(join(directory, 'job.sh'), text)
  const { status } = spawnSync(shell, ['job.sh'], { cwd: directory, encoding: 'utf8' })
  return { status, read: (name) => (existsSync(join(directory, name)) ? readFileSync(join(directory, name), 'utf8') : undefined) }
}

describe.each(['sh', 'bash'].filter((shell) => spawnSync(shell, ['-c', ':']).status === 0))('hostile values in %s', (shell) => {
  it('reach the program byte for byte, and nothing else is executed', { timeout: 240_000 }, () => {
    const renderer = new LiquidRenderer()
    fc.assert(
      fc.property(hostile, hostile, (x, y) => {
        const run = runScript(shell, renderer.render({ text: script, name: 'job.sh' }, { x, y }))
        const wanted = [x, `-${x}-`, x + y, x, x, `1${y}.${x}`, `1${y}`, x, `${x}.`, `${x}.`, x]
        for (const [index, text] of wanted.entries()) expect(run.read(`out${index + 1}`)).toBe(text)
        expect(run.read('out12')).toBe('last')
        expect(run.read('out13')).toBe(x)
        expect(run.read('doc1')).toBe(`a${x}b\n`)
        expect(run.read('doc2')).toBe(`a${x}b\n`)
        expect(run.read('owned')).toBeUndefined()
        expect(run.status).toBe(0)
      }),
      { numRuns: 150 },
    )
  })

  it('are refused rather than executed wherever else they stand', { timeout: 240_000 }, () => {
    const renderer = new LiquidRenderer()
    const place = fc.constantFrom(
      '{{ x }}',
      'eval true {{ x }}',
      'echo "a {{ x }} b"',
      'echo `true {{ x }}`',
      'echo $(( {{ x }} ))',
      'echo ${v:-{{ x }}}',
      'echo ${{ x }}',
      'echo \\{{ x }}',
      "echo $'{{ x }}'",
      'true "${v:-"}"}" {{ x }}',
      "true `echo it\\'s` {{ x }}",
      'sh <<EOF\ntrue {{ x }}\nEOF',
      'cat <<EOF\n$(true {{ x }})\nEOF',
      'true $(( 1 << {{ x }} ))',
      "sh -c 'true {{ x }}'",
      'sh -c "true {{ x }}"',
      'true {{ x }}# "',
      'true "{{ x }}',
      'true <<{{ x }}',
      'cat <<EOF\n{{ x }}\nEOF',
      '# {{ x }}',
      '#SBATCH {{ x }}',
      'true [[ {{ x }} ]]',
      'true > {{ x }}.out',
      'f() { true {{ x }}; }; f',
      '( true {{ x }} )',
      'while false; do {{ x }}; done',
      'true a{b,{{ x }}}',
      'true "$(true "{{ x }}")"',
      'true "`true {{ x }}`"',
    )
    fc.assert(
      fc.property(
        place,
        hostile.filter((x) => !x.includes('/')),
        (text, x) => {
          let rendered: string
          try {
            rendered = renderer.render({ text: `${text}\n`, name: 'job.sh' }, { x })
          } catch (error) {
            expect(error).toMatchObject({ code: 'E_TEMPLATE_UNSAFE' })
            return
          }
          expect(runScript(shell, rendered).read('owned')).toBeUndefined()
        },
      ),
      { numRuns: 800 },
    )
  })
})
