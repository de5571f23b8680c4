import { describe, expect, it } from 'vitest'
import type { Combination } from '../../src/model/combination.js'
import { LiquidRenderer } from '../../src/template/liquid-renderer.js'

const renderer = new LiquidRenderer()
const braces = (text: string, values: Combination, code?: Record<string, string>) =>
  renderer.render({ text, name: 'job.sh', ...(code && { code }) }, values)
const dollar = (text: string, values: Combination, code?: Record<string, string>) =>
  renderer.render({ text, name: 'job.sh', placeholders: 'dollar', ...(code && { code }) }, values)
const code = (wanted: string) => expect.objectContaining({ code: wanted })

describe('placeholders in braces', () => {
  it.each([
    ['prog {{ x }}\n', { x: 'plain' }, 'prog plain\n'],
    ['prog {{ x }}', { x: 'two words' }, "prog 'two words'"],
    ['prog {{ x }}', { x: "it's" }, "prog 'it'\\''s'"],
    ['prog {{ x }}', { x: '' }, "prog ''"],
    ['prog {{ x }}', { x: null }, "prog ''"],
    ['prog --tol={{ x }}', { x: 1e-7 }, 'prog --tol=1e-7'],
    ['prog {{ x }} {{ y }}', { x: true, y: 0.1 }, 'prog true 0.1'],
    ['prog {{ x }}', { x: [1, 'a b'] }, 'prog \'[1,"a b"]\''],

    ['x={{ x }}\nprog "$x"', { x: '$(reboot)' }, 'x=\'$(reboot)\'\nprog "$x"'],
    ['prog out-{{ x }}.txt', { x: 'a b' }, "prog out-'a b'.txt"],
    ['echo {{ x }}>out', { x: 2 }, "echo '2'>out"],
    ['prog $prefix{{ x }}', { x: 'abc' }, "prog $prefix'abc'"],
    ['prog "{{ x }}"', { x: 'a "b" $c `d` \\e' }, 'prog "a \\"b\\" \\$c \\`d\\` \\\\e"'],
    ["prog '{{ x }}'", { x: "it's" }, "prog 'it'\\''s'"],
    ['prog "$dir/{{ x }}.txt"', { x: 'a b' }, 'prog "$dir/a b.txt"'],
    ['prog "$dir{{ x }}"', { x: 'abc' }, 'prog "$dir""abc"'],
    ['echo "cores: {{ x }}"', { x: 8 }, 'echo "cores: 8"'],
    ['echo $(( {{ x }} * 2 ))', { x: 8 }, 'echo $(( 8 * 2 ))'],
    ['prog "$(dirname {{ x }})"', { x: 'a b/c' }, 'prog "$(dirname \'a b/c\')"'],
    ['{{ x }} --run', { x: './bench' }, './bench --run'],
    ['A=1 {{ x }} --run', { x: 'LD_PRELOAD=/x' }, "A=1 'LD_PRELOAD=/x' --run"],
    ['prog {{ x }} {{ x | shell }}', { x: 'a b' }, "prog 'a b' ''\\''a b'\\'''"],
    ['ssh host prog {{ x | shell }}', { x: 'a b' }, "ssh host prog ''\\''a b'\\'''"],
    ['bash -c "prog {{ x | shell }}"', { x: '$a' }, 'bash -c "prog \'\\$a\'"'],
    ['case {{ x }} in\n a) prog {{ x }};;\nesac\nprog {{ x }}', { x: 'a b' }, "case 'a b' in\n a) prog 'a b';;\nesac\nprog 'a b'"],
    ['v=$(case $1 in a) prog {{ x }};; esac)\nprog {{ x }}', { x: 'a b' }, "v=$(case $1 in a) prog 'a b';; esac)\nprog 'a b'"],
    ["(cd d)# it's\nprog {{ x }}", { x: 'a b' }, "(cd d)# it's\nprog 'a b'"],
    ['echo $# a#b ${#x} ${x%%.*}\nprog {{ x }}', { x: "'" }, "echo $# a#b ${#x} ${x%%.*}\nprog ''\\'''"],
    ['a=(x {{ x }})\nfor f in {{ x }}; do prog; done', { x: 'a b' }, "a=(x 'a b')\nfor f in 'a b'; do prog; done"],
    ['((i = 1 << 2))\nprog {{ x }} <<< {{ x }}', { x: 'a b' }, "((i = 1 << 2))\nprog 'a b' <<< 'a b'"],
  ])('writes %j with %j', (text, values, wanted) => {
    expect(braces(text, values as Combination)).toBe(wanted)
  })

  it('writes big integers by their digits', () => {
    expect(braces('prog {{ x.a }} {{ x }}', { x: { a: 2n ** 70n } })).toBe(
      'prog 1180591620717411303424 {"a":1180591620717411303424}'.replace('{', "'{").concat("'"),
    )
  })

  it('follows conditions and loops', () => {
    const text = "{% if python != 'system' %}module load Python/{{ python }}\n{% endif %}{% for n in sizes %}prog {{ n }}\n{% endfor %}"
    expect(braces(text, { python: '3.6.3_foss', sizes: [1, 2] })).toBe('module load Python/3.6.3_foss\nprog 1\nprog 2\n')
    expect(braces(text, { python: 'system', sizes: [] })).toBe('')
  })

  it('leaves comments alone, to the byte', () => {
    const text = "#!/bin/sh\n# run {{ unknown }} {% if %} it's\nprog {{ x }} # {{ other\n"
    expect(braces(text, { x: 'a b' })).toBe("#!/bin/sh\n# run {{ unknown }} {% if %} it's\nprog 'a b' # {{ other\n")
  })

  it('does not take a number sign inside of a word or quotes for a comment', () => {
    expect(braces('prog "# {{ x }}" a#{{ x }}\n', { x: 1 })).toBe('prog "# 1" a#1\n')
  })

  it('writes bare words on directive lines', () => {
    const text =
      '#!/bin/bash\n#SBATCH --ntasks={{ n }}\n#OAR -l nodes={{ n }}\n#PBS -l walltime={{ t }}\n# @ class = {{ q }}\n#MSUB -q {{ q }}\n'
    expect(braces(text, { n: 8, t: '01:00:00', q: 'short' })).toBe(
      '#!/bin/bash\n#SBATCH --ntasks=8\n#OAR -l nodes=8\n#PBS -l walltime=01:00:00\n# @ class = short\n#MSUB -q short\n',
    )
  })

  it.each(['two words', '', "'", '$(id)', 'a\nb', 'a;b', '--wrap=x'])('refuses %j on a directive line', (x) => {
    expect(() => braces('#SBATCH -J {{ x }}\n', { x })).toThrow(code('E_TEMPLATE_UNSAFE'))
  })

  it('takes a dash after an equals sign of a directive', () => {
    expect(braces('#SBATCH --nice={{ x }}\n', { x: -5 })).toBe('#SBATCH --nice=-5\n')
  })

  it.each([
    ['{{ x }}', 'module load x', 'a value as a whole line of code'],
    ['echo "size {{ x }}"', 'a b', 'several words in quotes'],
    ['eval prog {{ x }}', '$(id)', 'eval'],
    ['ssh host prog {{ x }}', 'a b', 'a second shell'],
    ['echo `prog {{ x }}`', 'a b', 'backquotes'],
    ['a=`date`\nprog {{ x }}', 'a b', 'anything after backquotes'],
    ['echo ${a:-"b"} {{ x }}', 'a b', 'anything after quotes inside ${}'],
    ['echo $(( {{ x }} + 1 ))', 'a[$(id)]', 'arithmetic'],
    ['echo ${a:-{{ x }} }', '$(id)', 'an expansion'],
    ['echo ${{ x }}', '5', 'a dollar sign before it'],
    ['echo \\{{ x }}', 'a', 'a backslash before it'],
    ["echo $'{{ x }}'", 'a b', "$'…'"],
    ['prog {{ x }} "open', 'a b', 'an open double quote'],
    ["prog {{ x }} 'open", 'a b', 'an open single quote'],
    ['prog {{ x }} $(open', 'a b', 'an open parenthesis'],
    ['prog {{ x }}', 'a\0b', 'NUL'],
    ['prog {{ x }}', 'a\ud800b', 'half a surrogate pair'],
    ['#!/usr/bin/env python3\nx = "{{ x }}"', '"; import os', 'another interpreter'],
    ['#!/bin/csh\nprog {{ x }}', "it's!", 'csh'],
  ])('refuses %j with %j: %s', (text, x) => {
    expect(() => braces(text, { x })).toThrow(code('E_TEMPLATE_UNSAFE'))
  })

  it('takes JSON literals in scripts for another interpreter', () => {
    expect(braces('#!/usr/bin/env python3\nx = {{ x | json }}\nn = {{ n }}\n', { x: '"; import os', n: 3 })).toBe(
      '#!/usr/bin/env python3\nx = "\\"; import os"\nn = 3\n',
    )
  })

  it('refuses the filter raw', () => {
    expect(() => braces('prog {{ x | raw }}', { x: 'a' })).toThrow(code('E_TEMPLATE_UNSAFE'))
  })

  it.each([
    '{% cycle x %}',
    '{% capture y %}{{ x }}{% endcapture %}',
    '{% include "f" %}',
    '{{ x',
    '{% if x %}',
    '{{ x + 1 }}',
    '{{ x | nofilter }}',
  ])('refuses %j', (text) => {
    expect(() => braces(text, { x: 1 })).toThrow(code('E_TEMPLATE'))
  })

  it('names the line, the column and the nearest name of what it does not know', () => {
    expect(() => braces('#!/bin/sh\nprog {{ n_coers }}\n', { n_cores: 1, x: 1 })).toThrow(
      expect.objectContaining({
        code: 'E_TEMPLATE_NAME',
        message: expect.stringContaining('job.sh:2:9: the template uses n_coers'),
        suggestions: ['Write n_cores'],
      }),
    )
    expect(() => braces('{% if nope %}a{% endif %}', { x: 1 })).toThrow(code('E_TEMPLATE_NAME'))
    expect(() => braces('{{ toString }}', { x: 1 })).toThrow(code('E_TEMPLATE_NAME'))
    expect(() => braces('{{ x.y }}', { x: {} })).toThrow(code('E_TEMPLATE_NAME'))
  })

  it('names the place of a value that cannot be written', () => {
    expect(() => braces('#!/bin/sh\n\n#SBATCH -J a{{ x }}\n', { x: 'a b' })).toThrow(
      expect.objectContaining({ message: expect.stringMatching(/^job\.sh:3:13: \{\{ x \}\} cannot be "a b"/) }),
    )
  })

  it('turns Windows line ends into those of the shell, and keeps those of values', () => {
    expect(braces('#!/bin/sh\r\nprog {{ x }}\r\n', { x: 'a\r\nb' })).toBe("#!/bin/sh\nprog 'a\r\nb'\n")
    expect(() => braces('prog\ra', {})).toThrow(code('E_TEMPLATE'))
  })

  it('is not confused by values that look like its own marks', () => {
    expect(braces('prog {{ x }} {{ y }}', { x: '\ue0001\ue001', y: 'b' })).toBe("prog '\ue0001\ue001' b")
    expect(braces('prog \ue0000\ue001 {{ y }}', { y: 'b' })).toBe('prog \ue0000\ue001 b')
  })
})

describe('here-documents', () => {
  it('writes values literally when the delimiter is quoted', () => {
    expect(braces("cat > f <<'EOF'\na={{ x }}\nEOF\nprog {{ x }}\n", { x: "$a 'b'" })).toBe(
      "cat > f <<'EOF'\na=$a 'b'\nEOF\nprog '$a '\\''b'\\'''\n",
    )
  })
  it('escapes what the shell would expand when it is not', () => {
    expect(braces('cat > f <<EOF\na={{ x }}\nEOF\n', { x: '$a `b` \\c "d"' })).toBe('cat > f <<EOF\na=\\$a \\`b\\` \\\\c "d"\nEOF\n')
  })
  it('does not take an apostrophe of the text for a quote', () => {
    expect(braces("cat <<EOF\nit's\nEOF\nprog {{ x }}\n", { x: 'a b' })).toBe("cat <<EOF\nit's\nEOF\nprog 'a b'\n")
  })
  it.each([
    ["cat <<'EOF'\n{{ x }}\nEOF\n", 'EOF'],
    ["cat <<'EOF'\n{{ x }}\nEOF\n", 'a\nEOF\nreboot'],
    ["cat <<'EOF'\nE{{ x }}\nEOF\n", 'OF'],
    ['cat <<-EOF\n\tE{{ x }}\n\tEOF\n', 'OF'],
    ['cat <<-EOF\n{{ x }}\nEOF\n', 'a\tb'],
    ["python3 <<'EOF'\nx = '{{ x }}'\nEOF\n", 'a b'],
    ['bash <<EOF\nprog {{ x }}\nEOF\n', 'a b'],
    ['cat <<EOF\n$(prog {{ x }})\nEOF\n', 'a b'],
    ['cat <<{{ x }}\na\nb\n', 'EOF'],
    ['cat <<EOF\n{{ x }}\n', 'a b'],
  ])('refuses %j with %j', (text, x) => {
    expect(() => braces(text, { x })).toThrow(code('E_TEMPLATE_UNSAFE'))
  })
  it('takes a value for the program that reads it when a filter made it ready', () => {
    expect(braces("python3 - <<'EOF'\nx = {{ x | json }}\nEOF\n", { x: 'a "b"' })).toBe('python3 - <<\'EOF\'\nx = "a \\"b\\""\nEOF\n')
  })
})

describe('placeholders with a dollar sign', () => {
  const deck =
    '#!/bin/bash\n#SBATCH --ntasks=$n_cores\n# Time allocation of $n_cores\n#SBATCH -t 1:00:00\n\n$load_module\nenv | grep -i SLURM |sort\npython bench.py ${n_cores} $HOME\n'

  it('fills a site script, and leaves what it does not know to the shell', () => {
    expect(dollar(deck, { n_cores: 8, python: '3.6.3 foss' }, { load_module: 'module load Python/{{ python }}' })).toBe(
      "#!/bin/bash\n#SBATCH --ntasks=8\n# Time allocation of $n_cores\n#SBATCH -t 1:00:00\n\nmodule load Python/'3.6.3 foss'\nenv | grep -i SLURM |sort\npython bench.py 8 $HOME\n",
    )
  })

  it('refuses to take the level of a factor as a line of code', () => {
    expect(() => dollar(deck, { n_cores: 8, load_module: 'module load x' })).toThrow(
      expect.objectContaining({ code: 'E_TEMPLATE_UNSAFE', suggestions: [expect.stringContaining('code:')] }),
    )
  })

  it.each([
    ['prog $x', "prog 'a b'"],
    ['prog "$x"', 'prog "a b"'],
    ['prog "${x}.txt"', 'prog "a b.txt"'],
    ["prog '$x'", "prog '$x'"],
    ['prog \\$x', 'prog \\$x'],
    ['prog "\\$x"', 'prog "\\$x"'],
    ['prog $xy ${x:-1} $$x', 'prog $xy ${x:-1} $$x'],
    ['cat <<EOF\n$x $y\nEOF\n', 'cat <<EOF\na b $y\nEOF\n'],
    ["cat <<'EOF'\n$x\nEOF\n", "cat <<'EOF'\n$x\nEOF\n"],
    ['prog {{ x }} $x', "prog 'a b' 'a b'"],
  ])('writes %j as %j', (text, wanted) => {
    expect(dollar(text, { x: 'a b' })).toBe(wanted)
  })

  it('does not touch them when only braces were asked for', () => {
    expect(braces('prog $x', { x: 1 })).toBe('prog $x')
  })

  it('refuses code that contains itself and code with the name of a factor', () => {
    expect(() => dollar('$a', {}, { a: 'x $a' })).toThrow()
    expect(() => dollar('$a', { a: 1 }, { a: 'x' })).toThrow(code('E_TEMPLATE'))
  })
})

describe('names', () => {
  it('lists what a template uses, in order of first use', () => {
    const text = '# {{ comment }}\n{% if b == 1 %}{{ a }}{% endif %}{% for i in list %}{{ i }}{{ b }}{% endfor %}{% assign t = c %}{{ t }}'
    expect(renderer.names({ text, name: 'x' })).toEqual(['b', 'a', 'list', 'c'])
    expect(renderer.names({ text: '{{ load }}', name: 'x', code: { load: 'module {{ python }}' } })).toEqual(['python'])
  })
})

describe('renderArgument', () => {
  it('pastes the text of a value without any quoting', () => {
    expect(renderer.renderArgument('--x={{ x }} $y #{{ x }}', { x: "a 'b' \n$(c)" })).toBe("--x=a 'b' \n$(c) $y #a 'b' \n$(c)")
    expect(renderer.renderArgument('plain', {})).toBe('plain')
    expect(renderer.renderArgument('{{ x | json }}', { x: ['a', 1] })).toBe('["a",1]')
  })
  it('refuses names that it does not know', () => {
    expect(() => renderer.renderArgument('{{ y }}', { x: 1 })).toThrow(code('E_TEMPLATE_NAME'))
  })
})
