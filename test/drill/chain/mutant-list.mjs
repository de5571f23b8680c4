/** Rules of a chain, and how each is broken: files of the compiled packages, a text in each, what stands there instead. */

/** In the agent in Python, as it is sent. */
const inPython = (from, to) => ({
  file: 'transfer/agent/agent-program.js',
  from: "'utf8');",
  to: `'utf8').replace(${JSON.stringify(from)}, () => ${JSON.stringify(to)});`,
})

export const MUTANTS = {}
