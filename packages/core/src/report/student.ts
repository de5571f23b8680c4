/** Natural logarithm of the gamma function for x > 0 (Lanczos, g = 7, n = 9; relative error below 1e-14). */
function logGamma(x: number): number {
  const coefficients = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
    -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ]
  if (x < 0.5) return Math.log(Math.PI / Math.abs(Math.sin(Math.PI * x))) - logGamma(1 - x)
  const t = x - 1 + 7.5
  let sum = coefficients[0]!
  for (let i = 1; i < coefficients.length; i++) sum += coefficients[i]! / (x - 1 + i)
  return 0.5 * Math.log(2 * Math.PI) + (x - 0.5) * Math.log(t) - t + Math.log(sum)
}

/** Regularised incomplete beta function, by its continued fraction (modified Lentz). */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0
  if (x >= 1) return 1
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a)
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a
  const tiny = 1e-300
  let c = 1
  let d = 1 - ((a + b) * x) / (a + 1)
  d = 1 / (Math.abs(d) < tiny ? tiny : d)
  let fraction = d
  for (let m = 1; m < 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))
    let change = 1
    for (const step of [even, odd]) {
      d = 1 + step * d
      d = 1 / (Math.abs(d) < tiny ? tiny : d)
      c = 1 + step / c
      if (Math.abs(c) < tiny) c = tiny
      change = c * d
      fraction *= change
    }
    if (Math.abs(change - 1) < 1e-16) break
  }
  return front * fraction
}

const cache = new Map<string, number>()

/**
 * Quantile of Student's t distribution: `studentQuantile(0.975, n - 1)` is the factor of a 95 % confidence interval.
 *
 * @param p - between 0.5 and 1
 * @param degrees - degrees of freedom, at least 1
 */
export function studentQuantile(p: number, degrees: number): number {
  const key = `${p}/${degrees}`
  const known = cache.get(key)
  if (known !== undefined) return known
  const tail = 2 * (1 - p)
  // Two-sided tail probability of t: I(ν / (ν + t²); ν/2, 1/2), which falls with t.
  const tailOf = (t: number) => incompleteBeta(degrees / (degrees + t * t), degrees / 2, 0.5)
  let low = 0
  let high = 1
  while (tailOf(high) > tail) high *= 2
  for (let i = 0; i < 200 && high - low > 1e-14 * high; i++) {
    const middle = (low + high) / 2
    if (tailOf(middle) > tail) low = middle
    else high = middle
  }
  const quantile = (low + high) / 2
  cache.set(key, quantile)
  return quantile
}
