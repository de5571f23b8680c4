import { describeBed } from './slurm-conformance.js'

describeBed('dbd', () => true)
