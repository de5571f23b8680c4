import type { Hook } from '@oclif/core'

/** The commands that let npm work in the folder of the plugins. */
const INSTALLING = new Set(['plugins:install', 'plugins:add', 'plugins:update', 'plugins:uninstall', 'plugins:reset'])

/** Before npm works there: an adapter that wants core as its peer shall get the one of this CLI. */
const hook: Hook.Prerun = async ({ Command, config }) => {
  if (!INSTALLING.has(Command.id ?? '')) return
  const { seedPlugins } = await import('../plugin-directory.js')
  await seedPlugins(config.dataDir)
}

export default hook
