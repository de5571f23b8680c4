#!/usr/bin/env node
/**
 * Does a layer of fluid heated from below begin to move? One answer for one Rayleigh number and one wave number.
 *
 * The equations are those of Chandrasekhar, Hydrodynamic and Hydromagnetic Stability (1961), chapter II. Lengths are
 * counted in layer depths d, times in d²/κ, D = d/dz, 0 ≤ z ≤ 1. A disturbance exp(σt + ikx) of vertical velocity W and
 * temperature Θ obeys
 *
 *   (σ/Pr) (D² − k²) W = (D² − k²)² W − Ra k² Θ          W = Θ = 0 on both plates, and there
 *        σ          Θ = (D² − k²) Θ + W                  D²W = 0 (free-slip) or DW = 0 (no-slip).
 *
 * The problem is self-adjoint: every σ is real. With θ = √Ra k Θ and test functions w, t its weak form is symmetric,
 *
 *   σ [ (1/Pr) ⟨Dw,DW⟩ + (k²/Pr) ⟨w,W⟩ + ⟨t,θ⟩ ]
 *     = − ⟨D²w,D²W⟩ − 2k² ⟨Dw,DW⟩ − k⁴ ⟨w,W⟩ − ⟨Dt,Dθ⟩ − k² ⟨t,θ⟩ + √Ra k (⟨w,θ⟩ + ⟨t,W⟩),
 *
 * and D²W = 0 is its natural boundary condition. W and θ are sums of Legendre polynomials that vanish on the plates (for
 * no-slip with their derivative: Shen, SIAM J. Sci. Comput. 15, 1994); the integrals are exact by Gauss quadrature.
 * This gives σ B x = A x with B positive definite, whose largest σ is enclosed from both sides:
 * a Rayleigh quotient is never above it, and s is above it exactly when sB − A has a Cholesky factor.
 * The first s is √(Ra Pr): no disturbance grows faster than a parcel in free fall.
 */
import { realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/**
 * @typedef {'free-slip' | 'no-slip'} Boundary
 * @typedef {{ ra: number, k: number, pr: number, boundary: Boundary, modes?: number }} Layer
 */

/** Nodes and weights of Gauss-Legendre quadrature with n points on [-1, 1]. @param {number} n */
function gaussLegendre(n) {
  const nodes = new Float64Array(n)
  const weights = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    let x = Math.cos((Math.PI * (i + 0.75)) / (n + 0.5))
    let slope = 1
    for (let newton = 0; newton < 100; newton++) {
      let [before, now] = [1, x]
      for (let degree = 2; degree <= n; degree++) [before, now] = [now, ((2 * degree - 1) * x * now - (degree - 1) * before) / degree]
      slope = (n * (before - x * now)) / (1 - x * x)
      const step = now / slope
      x -= step
      if (Math.abs(step) < 1e-15) break
    }
    nodes[i] = x
    weights[i] = 2 / ((1 - x * x) * slope * slope)
  }
  return { nodes, weights }
}

/** Legendre polynomials 0 … degree with two derivatives in x at the nodes. @param {number} degree @param {Float64Array} nodes */
function legendre(degree, nodes) {
  const make = () => Array.from({ length: degree + 1 }, () => new Float64Array(nodes.length))
  const [value, first, second] = [make(), make(), make()]
  for (let j = 0; j < nodes.length; j++) {
    value[0][j] = 1
    value[1][j] = nodes[j]
    first[1][j] = 1
    for (let n = 1; n < degree; n++) {
      value[n + 1][j] = ((2 * n + 1) * nodes[j] * value[n][j] - n * value[n - 1][j]) / (n + 1)
      first[n + 1][j] = first[n - 1][j] + (2 * n + 1) * value[n][j]
      second[n + 1][j] = second[n - 1][j] + (2 * n + 1) * first[n][j]
    }
  }
  return [value, first, second]
}

/**
 * Functions that vanish on the plates, with two derivatives in z, each scaled so that its `unit`-th derivative has norm 1.
 *
 * @param {number} modes @param {boolean} clamped the first derivative vanishes too @param {number} unit
 * @param {Float64Array[][]} polynomials @param {Float64Array} weights of the integral over z
 */
function plateFunctions(modes, clamped, unit, polynomials, weights) {
  return Array.from({ length: modes }, (_, n) => {
    const two = clamped ? (-2 * (2 * n + 5)) / (2 * n + 7) : -1
    const four = clamped ? (2 * n + 3) / (2 * n + 7) : 0
    const derivatives = polynomials.map((p, order) =>
      p[n].map((v, j) => 2 ** order * (v + two * p[n + 2][j] + (clamped ? four * p[n + 4][j] : 0))),
    )
    const norm = Math.sqrt(inner(derivatives[unit], derivatives[unit], weights))
    return derivatives.map((d) => d.map((v) => v / norm))
  })
}

/** @param {Float64Array} f @param {Float64Array} g @param {Float64Array} weights */
function inner(f, g, weights) {
  let sum = 0
  for (let j = 0; j < weights.length; j++) sum += weights[j] * f[j] * g[j]
  return sum
}

/** The matrices of σ B x = A x. @param {Required<Layer>} layer */
function assemble({ ra, k, pr, boundary, modes }) {
  const { nodes, weights } = gaussLegendre(modes + 5)
  const half = weights.map((w) => w / 2)
  const polynomials = legendre(modes + 4, nodes)
  const W = plateFunctions(modes, boundary === 'no-slip', 2, polynomials, half)
  const T = plateFunctions(modes, false, 1, polynomials, half)
  const n = 2 * modes
  const A = Array.from({ length: n }, () => new Float64Array(n))
  const B = Array.from({ length: n }, () => new Float64Array(n))
  const k2 = k * k
  for (let i = 0; i < modes; i++) {
    for (let j = 0; j < modes; j++) {
      const [w0, w1, w2] = [0, 1, 2].map((order) => inner(W[i][order], W[j][order], half))
      const [t0, t1] = [0, 1].map((order) => inner(T[i][order], T[j][order], half))
      A[i][j] = -(w2 + 2 * k2 * w1 + k2 * k2 * w0)
      A[modes + i][modes + j] = -(t1 + k2 * t0)
      A[i][modes + j] = A[modes + j][i] = Math.sqrt(ra) * k * inner(W[i][0], T[j][0], half)
      B[i][j] = (w1 + k2 * w0) / pr
      B[modes + i][modes + j] = t0
    }
  }
  return { A, B }
}

/** The Cholesky factor of sB − A, or undefined when that is not positive definite. @param {number} s @param {Float64Array[]} A @param {Float64Array[]} B */
function factor(s, A, B) {
  const n = A.length
  const L = Array.from({ length: n }, (_, i) => new Float64Array(i + 1))
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = s * B[i][j] - A[i][j]
      for (let m = 0; m < j; m++) sum -= L[i][m] * L[j][m]
      if (i > j) L[i][j] = sum / L[j][j]
      else if (sum > 0) L[i][i] = Math.sqrt(sum)
      else return undefined
    }
  }
  return L
}

/** Solves L Lᵀ y = b. @param {Float64Array[]} L @param {Float64Array} b */
function solve(L, b) {
  const y = Float64Array.from(b)
  const n = y.length
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) y[i] -= L[i][j] * y[j]
    y[i] /= L[i][i]
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let j = i + 1; j < n; j++) y[i] -= L[j][i] * y[j]
    y[i] /= L[i][i]
  }
  return y
}

/** @param {Float64Array[]} M @param {Float64Array} x */
const times = (M, x) => Float64Array.from(M, (row) => row.reduce((sum, v, j) => sum + v * x[j], 0))
/** @param {Float64Array} x @param {Float64Array} y */
const dot = (x, y) => x.reduce((sum, v, j) => sum + v * y[j], 0)

/**
 * The largest growth rate of the conduction state, in units of κ/d²: negative, the layer stays at rest; positive, it convects.
 *
 * @param {Layer} layer `modes` polynomials for each field, 24 by default
 * @returns {{ growthRate: number, above: number, iterations: number }} growthRate ≤ the true one of the discrete problem < above
 */
export function growthRate({ ra, k, pr, boundary, modes = 24 }) {
  const { A, B } = assemble({ ra, k, pr, boundary, modes })
  let above = Math.sqrt(ra * pr)
  let L = factor(above, A, B)
  if (L === undefined) throw new Error(`the bound of free fall, ${above}, does not hold: too many modes for this arithmetic?`)
  let x = new Float64Array(A.length).fill(1)
  for (let iterations = 1; iterations <= 500; iterations++) {
    x = solve(L, times(B, x))
    const norm = Math.sqrt(dot(x, times(B, x)))
    x = x.map((v) => v / norm)
    const below = dot(x, times(A, x))
    if (above - below <= 1e-9 * (1 + Math.abs(below))) return { growthRate: below, above, iterations }
    for (const share of [0.01, 0.1, 0.5]) {
      const trial = below + share * (above - below)
      const better = factor(trial, A, B)
      if (better === undefined) continue
      above = trial
      L = better
      break
    }
  }
  throw new Error('the growth rate was not enclosed within 500 iterations')
}

/** The exact answer for free-slip plates, to test against: the larger root of (σ + Pr q)(σ + q) = Ra k² Pr / q, q = π² + k². @param {{ ra: number, k: number, pr: number }} layer */
export function freeSlipGrowthRate({ ra, k, pr }) {
  const q = Math.PI ** 2 + k * k
  const half = ((1 + pr) * q) / 2
  const product = pr * (q * q - (ra * k * k) / q)
  // The root without cancellation: half² > product always, and the sum of both roots is -2 half.
  return -product / (half + Math.sqrt(half * half - product))
}

/** @param {string[]} argv */
function main(argv) {
  const usage = 'usage: solver.mjs --ra NUMBER --k NUMBER [--pr NUMBER] [--boundary free-slip|no-slip] [--modes N] [--json]'
  /** @param {string} message @returns {never} */
  const refuse = (message) => {
    process.stderr.write(`solver: ${message}\n${usage}\n`)
    process.exit(2)
  }
  const text = { type: /** @type {const} */ ('string') }
  let values
  try {
    values = parseArgs({
      args: argv,
      options: { ra: text, k: text, pr: text, boundary: text, modes: text, json: { type: 'boolean' } },
    }).values
  } catch (error) {
    return refuse(/** @type {Error} */ (error).message)
  }
  /** @param {'ra' | 'k' | 'pr' | 'modes'} name @param {string} [fallback] */
  const positive = (name, fallback) => {
    const number = Number(values[name] ?? fallback)
    return number > 0 && Number.isFinite(number) ? number : refuse(`--${name} takes a positive number, not ${JSON.stringify(values[name])}`)
  }
  const boundary = values.boundary ?? 'no-slip'
  if (boundary !== 'free-slip' && boundary !== 'no-slip')
    return refuse(`--boundary is free-slip or no-slip, not ${JSON.stringify(boundary)}`)
  const layer = { ra: positive('ra'), k: positive('k'), pr: positive('pr', '1'), boundary, modes: positive('modes', '24') }
  if (!Number.isInteger(layer.modes) || layer.modes < 4) return refuse('--modes takes an integer of at least 4')

  const start = performance.now()
  const answer = growthRate(layer)
  const seconds = (performance.now() - start) / 1000
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ ...layer, growthRate: answer.growthRate, iterations: answer.iterations, seconds })}\n`)
    return
  }
  process.stdout.write(
    `Rayleigh-Bénard layer, ${boundary} plates, Ra = ${layer.ra}, k = ${layer.k}, Pr = ${layer.pr}, ${layer.modes} modes\n` +
      `growth rate: ${answer.growthRate.toPrecision(12)}\n` +
      `iterations: ${answer.iterations}\n` +
      `elapsed ${seconds.toFixed(6)} s\n`,
  )
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) main(process.argv.slice(2))
