/**
 * To be imported before a controller: it then runs with one rule of Cahier broken, the one that `CAHIER_DRILL_MUTANT` names. Shows that the
 * drill can fail. Files are changed as they are loaded, nothing on disk is.
 */
import { register } from 'node:module'
import { MUTANTS } from './mutant-list.mjs'

const name = process.env.CAHIER_DRILL_MUTANT
const mutant = MUTANTS[name]
if (mutant === undefined) throw new Error(`there is no mutant ${JSON.stringify(name)}; known: ${Object.keys(MUTANTS).join(', ')}`)
register(new URL('mutant-loader.mjs', import.meta.url), { data: mutant })
