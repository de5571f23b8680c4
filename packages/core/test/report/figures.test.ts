import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FigureSpec, ResultRow } from '../../src/model/campaign.js'
import { axisCells, cellsOf, levelsOf, zeroLine } from '../../src/report/figure/regime-cells.js'
import { formatNumber, linearScale, logScale, rangeOf } from '../../src/report/figure/scale.js'
import { escapeText } from '../../src/report/figure/svg.js'
import { drawFigure } from '../../src/report/html.js'

type Of<K extends FigureSpec['kind']> = Extract<FigureSpec, { kind: K }>
const line = (more: Partial<Of<'line'>> = {}): Of<'line'> => ({ kind: 'line', x: 'x', y: 'y', scale: 'linear', ...more })
const regime = (more: Partial<Of<'regime'>> = {}): Of<'regime'> => ({
  kind: 'regime',
  x: 'x',
  y: 'y',
  outcome: 'z',
  scale: 'linear',
  ...more,
})
const texts = (svg: string) => [...svg.matchAll(/<text [^>]*>(.*?)<\/text>/g)].map((match) => match[1]!.replaceAll(/<[^>]*>|\u200b/g, ''))

/** Well formed enough: tags nest, no attribute holds what is not a number where a number belongs. */
function checkSvg(svg: string): void {
  expect(svg).not.toMatch(/="[^"]*(?:NaN|Infinity|undefined)/)
  const open: string[] = []
  for (const [, close, name, self] of svg.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/gi)) {
    if (close === '/') expect(open.pop()).toBe(name)
    else if (self !== '/') open.push(name!)
  }
  expect(open).toEqual([])
  expect(svg.replaceAll(/<\/?[a-z]+(?:\s[a-z0-9-]+="[^"<]*")*\s*\/?>/gi, '')).not.toMatch(/[<>]/)
}

describe('axes', () => {
  it.each([
    [0, 1, ['0', '0.2', '0.4', '0.6', '0.8', '1']],
    [-3, 5, ['−2', '0', '2', '4']],
    [0, 12_000_000, ['0', '2×10⁶', '4×10⁶', '6×10⁶', '8×10⁶', '10⁷', '1.2×10⁷']],
    [0.0001, 0.0005, ['10⁻⁴', '2×10⁻⁴', '3×10⁻⁴', '4×10⁻⁴', '5×10⁻⁴']],
  ])('from %f to %f have ticks at round numbers', (min, max, wanted) => {
    expect(linearScale({ min, max }, 0, 100).ticks.map(({ label }) => label)).toEqual(wanted)
  })
  it.each([
    [1, 1000, ['1', '10', '100', '1000']],
    [1, 1e6, ['1', '10', '100', '10³', '10⁴', '10⁵', '10⁶']],
    [3, 60, ['3', '5', '7', '10', '20', '30', '50']],
    [40, 60, ['40', '45', '50', '55', '60']],
  ])('from %f to %f in decades have ticks at %j', (min, max, wanted) => {
    const labels = logScale({ min, max }, 0, 100).ticks.map(({ label }) => label)
    expect(labels.filter((label) => label !== '')).toEqual(wanted)
  })
  it('take any range of numbers', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.double({ noNaN: true, noDefaultInfinity: true }), (a, b) => {
        const values = [a, b].map((value) => (Math.abs(value) > 1e300 ? value / 1e10 : Math.abs(value) < 1e-300 ? 0 : value))
        const scale = linearScale(rangeOf(values, 'linear'), 0, 100)
        for (const value of values) expect(scale.at(value)).toBeGreaterThanOrEqual(-1e-6)
        expect(scale.ticks.length).toBeLessThanOrEqual(50)
        const positive = values.map((value) => Math.abs(value) || 1)
        for (const value of positive) expect(logScale(rangeOf(positive, 'log'), 0, 100).at(value)).toBeLessThanOrEqual(100.001)
      }),
    )
  })
  it('write numbers as people do', () => {
    expect([0, 0.25, 1500, 99999, 1e5, 2.5e6, -1e-4, 1e-3, 1234567].map((value) => formatNumber(value))).toEqual([
      '0',
      '0.25',
      '1500',
      '99999',
      '10⁵',
      '2.5×10⁶',
      '−10⁻⁴',
      '0.001',
      '1.235×10⁶',
    ])
  })
})

describe('line figures', () => {
  const rows: readonly ResultRow[] = [1, 2, 4, 8].flatMap((x) =>
    ['a', 'b'].flatMap((s) => [1, 2, 3].map((r) => ({ x, s, y: (s === 'a' ? 10 : 20) / x + r * 0.1 }))),
  )

  it('show a line with error bars for each series, a legend, units and the levels as ticks', () => {
    const svg = drawFigure(rows, line({ by: 's', scale: 'log' }), { units: { y: 's' } })
    checkSvg(svg)
    expect(texts(svg)).toEqual(
      expect.arrayContaining([
        'y (s)',
        'x',
        's',
        'a',
        'b',
        '1',
        '2',
        '4',
        '8',
        'Points: mean of 3 measurements. Bars: 95 % confidence interval.',
      ]),
    )
    expect(svg.match(/<title>a, 1: /g)).toHaveLength(1)
    expect(svg.match(/V[\d.]+M[\d.]+ [\d.]+h8/g)!.length).toBe(8)
  })
  it('are the same for the same rows', () => {
    expect(drawFigure(rows, line({ by: 's' }))).toBe(drawFigure([...rows], line({ by: 's' })))
  })
  it('match the golden drawing of one point', () => {
    expect(drawFigure([{ x: 1, y: 2 }], line({ title: 'One' }))).toMatchSnapshot()
  })
  it.each([
    ['nothing', []],
    ['one point', [{ x: 1, y: 1 }]],
    [
      'constant values',
      [
        { x: 1, y: 0 },
        { x: 2, y: 0 },
      ],
    ],
    ['missing values', [{ x: 1, y: null }, { x: 2, y: Number.NaN }, { x: 3, y: 'a' }, { y: 3 }]],
    [
      'negative values',
      [
        { x: -1, y: -1 },
        { x: 1, y: 1 },
      ],
    ],
    [
      'huge and tiny values',
      [
        { x: 1e-320, y: 1e308 },
        { x: 1e308, y: -1e308 },
        { x: 1, y: 1.7e308 },
      ],
    ],
    [
      'words',
      [
        { x: 'a', y: 1 },
        { x: 'b', y: 2 },
        { x: null, y: 3 },
      ],
    ],
    ['big integers', [{ x: 2n ** 60n, y: 3n }]],
    [
      'wide intervals',
      [
        { x: 1, y: 1 },
        { x: 1, y: 1000 },
      ],
    ],
  ])('take %s on any scale', (_, some: readonly ResultRow[]) => {
    for (const scale of ['linear', 'log', 'log-x', 'log-y'] as const) checkSvg(drawFigure(some, line({ scale })))
  })
  it('say what they could not show', () => {
    const all = texts(
      drawFigure(
        [
          { x: 0, y: 1 },
          { x: 1, y: 1 },
        ],
        line({ scale: 'log' }),
      ),
    ).join(' ')
    expect(all).toContain('1 point has no place on this axis')
    const many = Array.from({ length: 300 }, (_, s) => ({ s: `series ${s}`, x: 1, y: s }))
    const svg = drawFigure(many, line({ by: 's' }))
    expect(texts(svg).join(' ')).toContain('280 more series are in the table')
    expect(svg.length).toBeLessThan(50_000)
  })
  it('say over which factors they took the mean', () => {
    expect(texts(drawFigure(rows, line(), { factors: ['x', 's'] })).join(' ')).toContain('mean over s')
    expect(texts(drawFigure(rows, line({ where: { s: 'a' } }), { factors: ['x', 's'] })).join(' ')).not.toContain('mean over')
  })
  it('escape what users write', () => {
    const hostile = '<script>alert("1")</script>&\u0000\ud800'
    const svg = drawFigure([{ x: hostile, y: 1, s: hostile }], line({ by: 's', title: hostile }), { units: { y: hostile } })
    checkSvg(svg)
    expect(svg).not.toContain('<script')
    expect(escapeText(hostile)).toBe('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&amp;\ufffd\ufffd')
  })
})

describe('regime figures', () => {
  const grid = [1, 10, 100].flatMap((x) => [1, 2, 3].map((y) => ({ x, y, z: Math.log10(x) - y + 0.5 })))

  it('show the sign in cells that meet midway between the levels', () => {
    const svg = drawFigure(grid, regime({ scale: 'log-x' }))
    checkSvg(svg)
    expect(texts(svg)).toEqual(expect.arrayContaining(['z &lt; 0', 'z &gt; 0', 'change of sign, interpolated']))
    const widths = new Set([...svg.matchAll(/<rect [^>]*width="([\d.]+)"[^>]*><title>/g)].map((match) => Math.round(Number(match[1]))))
    expect(widths.size).toBe(1)
  })
  it('draw the line where the sign changes at the right place', () => {
    const rows = [0, 1, 2, 3].flatMap((x) => [0, 1].map((y) => ({ x, y, z: x - 1.25 })))
    const [x, y] = [levelsOf(rows, 'x', false), levelsOf(rows, 'y', false)]
    const [columns, lines] = [axisCells(x, 0, 400), axisCells(y, 200, 0)]
    expect(columns.edges).toEqual([0, 100, 200, 300, 400])
    const segments = zeroLine(cellsOf(rows, regime(), x, y, 'sign'), columns, lines)
    expect(segments).toHaveLength(3)
    for (const [x1, , x2] of segments) expect([x1, x2]).toEqual([175, 175])
  })
  it('leave cells without a result empty, and say so', () => {
    expect(texts(drawFigure(grid.slice(1), regime()))).toContain('no result')
    expect(texts(drawFigure(grid, regime()))).not.toContain('no result')
  })
  it('mark cells in which repetitions differ', () => {
    expect(texts(drawFigure([...grid, { x: 1, y: 1, z: -9 }, { x: 1, y: 1, z: 9 }], regime()))).toContain('repetitions differ')
  })
  it.each([
    ['sizes', grid.map((row) => ({ ...row, z: row.z + 10 })), 'value'],
    ['both signs', grid, 'sign'],
    ['words', grid.map((row) => ({ ...row, z: row.z > 0 ? 'rolls' : 'rest' })), 'category'],
    ['truth values', grid.map((row) => ({ ...row, z: row.z > 0 })), 'category'],
  ])('choose how to show %s', (_, rows, show) => {
    expect(drawFigure(rows, regime())).toBe(drawFigure(rows, regime({ show: show as 'sign' })))
  })
  it.each([
    ['nothing', []],
    ['one cell', [{ x: 1, y: 1, z: -3 }]],
    [
      'one column',
      [
        { x: 1, y: 1, z: -3 },
        { x: 1, y: 2, z: 3 },
      ],
    ],
    ['a constant', grid.map((row) => ({ ...row, z: 0 }))],
    [
      'no numbers',
      [
        { x: 1, y: 1, z: Number.NaN },
        { x: 1, y: 2, z: null },
      ],
    ],
    [
      'words as levels',
      [
        { x: 'a', y: 'b', z: 1 },
        { x: 'c', y: 'b', z: -1 },
      ],
    ],
    [
      'levels that are not positive',
      [
        { x: -1, y: 0, z: 1 },
        { x: 1, y: 1, z: -1 },
      ],
    ],
    [
      'huge values',
      [
        { x: 1e300, y: 1e-300, z: 1e308 },
        { x: 1e-300, y: 1e300, z: -1e308 },
      ],
    ],
  ])('take %s on any scale', (_, rows: readonly ResultRow[]) => {
    for (const scale of ['linear', 'log', 'log-x', 'log-y'] as const) {
      for (const show of ['sign', 'value', 'category', undefined] as const)
        checkSvg(drawFigure(rows, regime({ scale, ...(show && { show }) })))
    }
  })
  it('have one panel for each level of by, twelve at most', () => {
    const rows = Array.from({ length: 15 }, (_, p) => grid.map((row) => ({ ...row, p }))).flat()
    const all = texts(drawFigure(rows, regime({ by: 'p' })))
    expect(all).toEqual(expect.arrayContaining(['p = 0', 'p = 11', '3 more panels are in the table.']))
    expect(all).not.toContain('p = 12')
  })
  it('give each panel its own axes where other levels were swept there', () => {
    const panel = (wall: string, xs: number[], ys: number[]): ResultRow[] =>
      xs.flatMap((x) => ys.map((y) => ({ wall, x, y, z: y - xs[0]! * 10 })))
    const svg = drawFigure([...panel('free', [1, 2], [5, 15]), ...panel('rigid', [7, 8], [65, 75])], regime({ by: 'wall' }))
    checkSvg(svg)
    expect(texts(svg)).toEqual(expect.arrayContaining(['1', '2', '5', '15', '7', '8', '65', '75']))
    expect(texts(svg)).not.toContain('no result')
  })
  it('share the axes of panels that only lack some results', () => {
    const rows = [1, 2, 3, 4].flatMap((x) => [1, 2].map((y) => ({ wall: 'free', x, y, z: y - 1.5 })))
    const svg = drawFigure([...rows, ...rows.slice(0, 5).map((row) => ({ ...row, wall: 'rigid' }))], regime({ by: 'wall' }))
    expect(texts(svg)).toContain('no result')
  })
  it('stay small for large diagrams', () => {
    const rows = Array.from({ length: 40_000 }, (_, i) => ({ x: i % 200, y: Math.floor(i / 200), z: (i % 200) - 100 }))
    const svg = drawFigure(rows, regime())
    checkSvg(svg)
    expect(svg.length).toBeLessThan(200_000)
  })
})
