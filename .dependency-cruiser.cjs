/** The import layers of packages/core/src; a file may import its own layer's folder and the layers below. */
const CORE = '^packages/core/src/'
const below = {
  util: '(errors|error-codes|units|ids|canonical-json|host-set)\\.ts$|util/',
}
const L0 = `${below.util}`
const L1 = `${L0}|model/`
const L2 = `${L1}|ports/`
const L3 = `${L2}|ssh/`
const drivers = ['process', 'scheduler', 'transfer', 'sweep', 'store', 'template', 'system', 'staging']
const upper = ['engine', 'report', 'plugins']

const onlyBelow = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: `${CORE}(${from})` },
  to: { path: CORE, pathNot: `${CORE}(${allowed})` },
})
const onlyPackages = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: `${CORE}(${from})` },
  to: { dependencyTypes: ['npm', 'npm-dev', 'npm-optional', 'npm-peer'], pathNot: `node_modules/(${allowed})/` },
})

module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only', 'dynamic-import'] } },
    },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
    onlyBelow('layer-0', L0, L0, 'errors, units, ids, util import Node only'),
    onlyPackages('layer-0-packages', L0, 'none', 'errors, units, ids, util import Node only'),
    onlyBelow('layer-1', 'model/', L1, 'model imports layer 0'),
    onlyPackages('layer-1-packages', 'model/', 'zod', 'model imports zod only'),
    onlyBelow('layer-2', 'ports/', L2, 'ports import layers 0-1'),
    onlyBelow('layer-3', 'ssh/', L3, 'ssh imports layers 0-2'),
    ...[...drivers, ...upper].map((folder) =>
      onlyBelow(
        `layer-4-${folder}`,
        `${folder}/`,
        `${L3}|${folder}/`,
        'a driver, the engine, the report and the plugins import layers 0-3, never each other',
      ),
    ),
    onlyBelow(
      'layer-6-spi',
      'spi\\.ts$|testing/|conformance/',
      `${L2}|testing/|conformance/`,
      'spi, testing and conformance import layers 0-2',
    ),
    {
      name: 'tsyringe-in-di',
      comment: 'only di/ imports the container',
      severity: 'error',
      from: { path: '^packages/', pathNot: `${CORE}di/` },
      to: { path: 'node_modules/(tsyringe|reflect-metadata)/' },
    },
    {
      name: 'adapters-import-spi',
      comment: 'an adapter package imports @cahier/core/spi only',
      severity: 'error',
      from: { path: '^packages/(adapter|transfer)-[^/]+/src/' },
      to: { path: CORE, pathNot: `${CORE}spi\\.ts$` },
    },
    {
      name: 'cli-imports-the-front-door',
      comment: 'the CLI imports @cahier/core, never its inside',
      severity: 'error',
      from: { path: '^packages/cli/src/' },
      to: { path: CORE, pathNot: `${CORE}(index|hosts|spi)\\.ts$` },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['@cahier/source', 'import', 'node', 'default'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
}
