import { defineCampaign, type Finding, igeom, plot, type ResultRow } from '@cahier/core'
import { z } from 'zod'

/** Where the layer begins to move, for the wave number that moves first (Chandrasekhar 1961, tables I and III). */
const textbook = [
  { boundary: 'no-slip', k: 3.117, critical: 1707.762 },
  { boundary: 'free-slip', k: 2.2214, critical: 657.511 },
]

export default defineCampaign({
  name: 'convection',
  description: 'Onset of Rayleigh-Bénard convection: for which Rayleigh and wave numbers does a layer heated from below move?',
  factors: {
    boundary: {
      'free-slip': { Ra: igeom(580, 900, 13), k: [1.5, 1.8, 2.2214, 2.6, 3, 3.4] },
      'no-slip': { Ra: igeom(1500, 2400, 13), k: [2.1, 2.6, 3.117, 3.6, 4.1, 4.6] },
    },
    Pr: [0.71, 7],
  },
  repetitions: 3,
  files: ['solver.mjs'],
  job: {
    command: ['node', 'solver.mjs', '--ra', '{{ Ra }}', '--k', '{{ k }}', '--pr', '{{ Pr }}', '--boundary', '{{ boundary }}'],
    resources: { cores: 1, walltime: '1min' },
  },
  results: z.object({
    growthRate: z.number().meta({ unit: 'κ/d²' }),
    iterations: z.number().int().positive(),
    seconds: z.number().positive().meta({ unit: 's' }),
  }),
  collect: {
    growthRate: { from: 'stdout', pattern: /growth rate: (\S+)/ },
    iterations: { from: 'stdout', pattern: /iterations: (\d+)/ },
    seconds: { from: 'stdout', pattern: /elapsed ([\d.]+) s/ },
  },
  analyse: (rows) => textbook.map((known) => bracket(rows, known)),
  report: [
    plot.regime({
      title: 'Rest or convection',
      x: 'k',
      y: 'Ra',
      outcome: 'growthRate',
      show: 'sign',
      by: 'boundary',
      where: { Pr: 7 },
    }),
    plot.line({
      title: 'Air and water begin to move at the same Ra (no-slip, k = 3.117)',
      x: 'Ra',
      y: 'growthRate',
      by: 'Pr',
      where: { boundary: 'no-slip', k: 3.117 },
    }),
    plot.line({
      title: 'What one answer costs (no-slip, k = 3.117)',
      x: 'Ra',
      y: 'seconds',
      by: 'Pr',
      where: { boundary: 'no-slip', k: 3.117 },
    }),
  ],
})

/** The largest Ra at rest and the smallest in motion, over every fluid and repetition. */
function bracket(rows: readonly ResultRow[], known: (typeof textbook)[number]): Finding {
  const title = 'Critical Rayleigh number'
  const here = rows.filter((row) => row['boundary'] === known.boundary && row['k'] === known.k)
  const ra = (moving: boolean) => here.filter((row) => Number(row['growthRate']) > 0 === moving).map((row) => Number(row['Ra']))
  const stable = Math.max(...ra(false))
  const unstable = Math.min(...ra(true))
  if (!Number.isFinite(stable) || !Number.isFinite(unstable)) {
    return { title, ok: false, text: `${known.boundary}, k = ${known.k}: not bracketed yet, ${here.length} results` }
  }
  const inside = stable < known.critical && known.critical < unstable
  return {
    title,
    ok: inside,
    text: `${known.boundary}, k = ${known.k}: ${stable} < Ra_c < ${unstable}, textbook ${known.critical}: ${inside ? 'inside' : 'OUTSIDE'}`,
    data: { boundary: known.boundary, k: known.k, stable, unstable, textbook: known.critical },
  }
}
