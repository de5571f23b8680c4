import type { ResultRecord } from '../../src/model/result.js'
import type { ReportInput } from '../../src/report/types.js'

/** Random numbers that are the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Growth rate of convection rolls near the onset: the marginal curve for free slip is exact, for no slip about right. */
function growth(Ra: number, k: number, boundary: string): number {
  const c = boundary === 'free-slip' ? Math.PI ** 2 : 14.75
  const critical = ((c + k * k) ** 3 / (k * k)) * (boundary === 'free-slip' ? 1 : 1707.762 / ((14.75 + 3.117 ** 2) ** 3 / 3.117 ** 2))
  return Math.log(Ra / critical) * 7
}

const ladder = (from: number, to: number, n: number) => Array.from({ length: n }, (_, i) => Math.round(from * (to / from) ** (i / (n - 1))))

/** A report like that of the convection example, with a few failures, notes and a scaling figure. */
export function sampleInput(): ReportInput {
  const random = seeded(7)
  const records: ResultRecord[] = []
  let at = Date.UTC(2026, 10, 22, 10, 15)
  for (const boundary of ['free-slip', 'no-slip']) {
    for (const k of [1, 1.5, 2, 2.2214, 2.5, 3, 3.117, 3.5, 4, 5, 6]) {
      for (const Ra of ladder(300, 10000, 16)) {
        for (const repetition of [1, 2, 3]) {
          if (boundary === 'no-slip' && k === 6 && Ra > 7000) continue
          const seconds = 0.02 * (Ra / 300) ** 0.35 * (boundary === 'no-slip' ? 1.7 : 1) * Math.exp((random() - 0.5) * 0.35)
          records.push({
            id: `${(records.length * 7919).toString(16).padStart(10, '0')}`,
            combination: { boundary, k, Ra },
            repetition,
            attempt: 1,
            values: { growth_rate: growth(Ra, k, boundary), iterations: 20 + Math.floor(random() * 9), seconds },
            startedAt: at,
            endedAt: at + seconds * 1000,
            host: 'newton',
          })
          at += 40
        }
      }
    }
  }
  return {
    campaign: { name: 'convection', description: 'Onset of Rayleigh-Bénard convection: linear stability of the conduction state.' },
    factors: ['boundary', 'k', 'Ra'],
    results: [
      { name: 'growth_rate', type: 'number', unit: '1/τ' },
      { name: 'seconds', type: 'number', unit: 's' },
      { name: 'iterations', type: 'integer' },
    ],
    records,
    counts: {
      total: records.length + 9,
      todo: 4,
      submitted: 0,
      running: 0,
      done: records.length,
      failed: 3,
      invalid: 2,
      orphaned: 12,
    },
    figures: [
      { kind: 'regime', x: 'k', y: 'Ra', outcome: 'growth_rate', by: 'boundary', scale: 'log-y', title: 'Where convection starts' },
      { kind: 'line', x: 'Ra', y: 'seconds', by: 'boundary', scale: 'log', title: 'Time of one run' },
    ],
    findings: [
      {
        title: 'Free slip: the critical Rayleigh number lies between 623 and 735',
        text: 'The textbook says 657.511 at k = 2.2214.',
        ok: true,
      },
      { title: 'No slip: between 1,711 and 2,005', text: 'The textbook says 1707.762 at k = 3.117: outside of the bracket.', ok: false },
      { title: 'Timing', text: 'No slip takes 1.7 times as long.' },
    ],
    failures: [
      {
        id: '1f3a9c/r2',
        combination: { boundary: 'no-slip', k: 6, Ra: 7943 },
        repetition: 2,
        state: 'failed',
        attempts: [],
        detail: 'exit code 3 after 0.2 s',
        tail: 'solver: no convergence after 500 iterations\nresidual 3.2e-02\n',
      },
      {
        id: '77aa01/r1',
        combination: { boundary: 'no-slip', k: 6, Ra: 10000 },
        repetition: 1,
        state: 'invalid',
        attempts: [],
        detail: 'growth_rate: "*****" does not fit: expected number (stdout:12: growth rate *****)',
      },
    ],
    notes:
      '2026-11-22 10:20  Started on newton; the mesh of last week.\n\n2026-11-22 11:02  Two runs at k = 6 do not converge.\nAsk Anne about the tolerance.',
    provenance: {
      command: 'cahier run convection.mjs',
      cahierVersion: '0.1.0',
      nodeVersion: '20.20.2',
      host: 'newton.univ-lyon1.fr',
      site: 'local',
      scheduler: 'local (2 cores)',
      gitCommit: '4f2c9d1e0b7a',
      gitDirty: true,
      directory: '/home/anne/convection_20261122-101500',
      startedAt: Date.UTC(2026, 10, 22, 10, 15),
      endedAt: Date.UTC(2026, 10, 22, 10, 18, 20),
      more: [['Compiler', 'gfortran 12.2.0 -O3']],
    },
    generatedAt: Date.UTC(2026, 10, 22, 10, 18, 21),
  }
}
