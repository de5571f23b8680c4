import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { defineCampaign, type Finding, igeom, plot, type ResultRow } from '@cahier/core'
import { z } from 'zod'

/** `QUICK=1 cahier run …`: the same in small, to see that everything works. */
const quick = process.env['QUICK'] === '1'

/**
 * What this machine has: always `system`, and each version that `module avail` lists. For a cluster that is reached from somewhere else
 * write the list here: ['system', '2.7.10_intel_2015a', '3.6.3_foss_2017b'].
 */
function interpreters(): readonly string[] {
  const command = '. ./modules.sh && module avail'
  const listed = execFileSync('/bin/sh', ['-c', command], { cwd: fileURLToPath(new URL('.', import.meta.url)), encoding: 'utf8' })
  const versions = listed.split('\n').flatMap((line) => /^Python\/(\S+)/.exec(line)?.[1] ?? [])
  return ['system', ...(quick ? versions.slice(-1) : versions)]
}

export default defineCampaign({
  name: 'python-scaling',
  description: 'Scaling of a parallel computation in several versions of Python',
  factors: { n_cores: quick ? igeom(1, 4, 3) : igeom(1, 16, 5), python: interpreters() },
  repetitions: quick ? 2 : 5,
  files: ['bench.py', 'modules.sh'],
  job: {
    script: 'python_scaling.sh',
    placeholders: 'dollar',
    code: { load_module: "{% if python != 'system' %}module load Python/{{ python }}{% endif %}" },
    environment: { BENCH_LIMIT: quick ? '100000' : '1000000' },
    name: 'python-{{ python }}-{{ n_cores }}',
  },
  results: z.object({
    seconds: z.number().positive().meta({ unit: 's' }),
    speedup: z.number().positive(),
    primes: z.number().int(),
  }),
  collect: {
    seconds: { from: 'stdout', pattern: /elapsed (\S+) s/ },
    speedup: { from: 'stdout', pattern: /speed-up (\S+)/ },
    primes: { from: 'stdout', pattern: /primes below \d+: (\d+)/ },
  },
  analyse: (rows) => [...new Set(rows.map((row) => String(row['python'])))].map((python) => scaling(rows, python)),
  report: [
    plot.line({ title: 'Speed-up', x: 'n_cores', y: 'speedup', by: 'python', scale: 'log' }),
    plot.line({ title: 'Time of one computation', x: 'n_cores', y: 'seconds', by: 'python', scale: 'log' }),
  ],
})

/** The usual speed-up, T(1) / T(n), of the medians at the largest number of cores. */
function scaling(rows: readonly ResultRow[], python: string): Finding {
  const mine = rows.filter((row) => row['python'] === python)
  const most = Math.max(...mine.map((row) => Number(row['n_cores'])))
  const seconds = (cores: number) => median(mine.filter((row) => row['n_cores'] === cores).map((row) => Number(row['seconds'])))
  const [one, many] = [seconds(1), seconds(most)]
  const title = 'T(1) / T(n)'
  if (one === undefined || many === undefined || most === 1) return { title, text: `${python}: no result yet on one core and on several` }
  const speedup = one / many
  const text = `${python}: ${most} cores are ${speedup.toFixed(2)} times as fast as one (efficiency ${((100 * speedup) / most).toFixed(0)} %)`
  return { title, text, data: { python, cores: most, speedup, efficiency: speedup / most } }
}

function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)]
}
