import { describeBed } from './slurm-conformance.js'

// The limit of one minute that SLURM counts in is waited for once, on the other bed.
describeBed('none', (id) => !id.startsWith('run-walltime'))
