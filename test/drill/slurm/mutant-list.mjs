/** Rules of Cahier, and how each is broken: a file of the compiled packages, a text in it, what stands there instead. */
export const MUTANTS = {}
