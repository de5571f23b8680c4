/**
 * To be imported before the command: hosts are given up sooner, so that cases are short, and with `CAHIER_DRILL_MUTANT` one rule of Cahier
 * is broken. Files are changed as they are loaded, nothing on disk is.
 */
import { register } from 'node:module'
import { PATIENCE_MS } from './controller.mjs'
import { MUTANTS } from './mutant-list.mjs'

const sooner = [
  { file: 'transfer/chain/chain-transfer.js', from: 'PATIENCE_MS = 30_000', to: `PATIENCE_MS = ${PATIENCE_MS}` },
  { file: 'transfer/star/star-watch.js', from: 'STALL_MS = 60_000', to: `STALL_MS = ${process.env.CAHIER_DRILL_STALL_MS}` },
]
const name = process.env.CAHIER_DRILL_MUTANT
const mutant = name === undefined ? [] : MUTANTS[name]
if (mutant === undefined) throw new Error(`there is no mutant ${JSON.stringify(name)}; known: ${Object.keys(MUTANTS).join(', ')}`)
register(new URL('../slurm/mutant-loader.mjs', import.meta.url), { data: [...sooner, ...mutant] })
