import { execFileSync, spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { freeSlipGrowthRate, growthRate } from '../../examples/convection/solver.mjs'

const program = fileURLToPath(new URL('../../examples/convection/solver.mjs', import.meta.url))

describe('the solver of examples/convection', () => {
  it.each([
    ['free-slip', 2.2214, 657.511],
    ['no-slip', 3.117, 1707.762],
    // Chandrasekhar (1961), table III: the neutral curve away from its lowest point.
    ['no-slip', 2, 2177.41],
    ['no-slip', 4, 1879.26],
    ['no-slip', 5, 2439.32],
  ] as const)('finds the onset of %s at k = %d within a thousandth of %d, whatever the fluid', (boundary, k, critical) => {
    for (const pr of [0.025, 0.71, 7, 1000]) {
      expect(growthRate({ ra: critical * 0.999, k, pr, boundary }).growthRate).toBeLessThan(0)
      expect(growthRate({ ra: critical * 1.001, k, pr, boundary }).growthRate).toBeGreaterThan(0)
    }
  })

  it('agrees with the exact growth rate between free surfaces', () => {
    for (const ra of [10, 300, 650, 700, 5000, 1e5]) {
      for (const k of [0.5, 2.2214, 6]) {
        for (const pr of [0.01, 1, 100]) {
          const { growthRate: found } = growthRate({ ra, k, pr, boundary: 'free-slip' })
          const exact = freeSlipGrowthRate({ ra, k, pr })
          expect(Math.abs(found / exact - 1)).toBeLessThan(1e-6)
        }
      }
    }
  })

  it('encloses the growth rate from both sides', () => {
    const { growthRate: below, above } = growthRate({ ra: 5000, k: 3, pr: 7, boundary: 'no-slip' })
    expect(above).toBeGreaterThan(below)
    expect(above - below).toBeLessThan(1e-8 * above)
  })

  it('does not depend on the number of polynomials', () => {
    const answers = [12, 24, 48].map((modes) => growthRate({ ra: 1e4, k: 3.117, pr: 0.71, boundary: 'no-slip', modes }).growthRate)
    for (const answer of answers) expect(Math.abs(answer / answers[1]! - 1)).toBeLessThan(1e-7)
  })

  it('prints what the campaign reads', () => {
    const stdout = execFileSync(process.execPath, [program, '--ra', '1800', '--k', '3.117', '--pr', '7', '--boundary', 'no-slip'], {
      encoding: 'utf8',
    })
    expect(Number(/growth rate: (\S+)/.exec(stdout)?.[1])).toBeCloseTo(
      growthRate({ ra: 1800, k: 3.117, pr: 7, boundary: 'no-slip' }).growthRate,
      9,
    )
    expect(stdout).toMatch(/^iterations: \d+$/m)
    expect(stdout).toMatch(/^elapsed [\d.]+ s$/m)
  })

  it('prints one JSON object when asked', () => {
    const stdout = execFileSync(process.execPath, [program, '--ra', '600', '--k', '2', '--boundary', 'free-slip', '--json'], {
      encoding: 'utf8',
    })
    expect(JSON.parse(stdout)).toMatchObject({ ra: 600, k: 2, pr: 1, boundary: 'free-slip', growthRate: expect.any(Number) })
  })

  it.each(['--ra=1000', '--ra=many --k=3', '--ra=-5 --k=3', '--ra=1000 --k=3 --boundary=sticky', '--ra=1000 --k=3 --colour=red'])(
    'refuses %s',
    (line) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...line.split(' ')], { encoding: 'utf8' })
      expect(status).toBe(2)
      expect(stdout).toBe('')
      expect(stderr).toMatch(/^solver: .+\nusage: /)
    },
  )
})
