import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type NamedHosts, startNamedHosts } from '../testbed/named-hosts.js'
import { type SlurmBed, slurmUnavailable, startSlurm } from '../testbed/slurm.mjs'
import { sshHostsUnavailable } from '../testbed/ssh-hosts.mjs'
import { type Block, findBlocks, missingLines } from './blocks.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** Pages of the folder and below. */
function pagesIn(folder: string): readonly string[] {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md') && !file.includes('node_modules'))
    .map((file) => join(folder, file))
    .sort()
}

const pages = ['README.md', ...pagesIn('docs/guide'), ...pagesIn('examples'), ...pagesIn('packages')]
  .map((page) => {
    const text = readFileSync(join(root, page), 'utf8')
    const hosts = /^<!-- test hosts: (.+) -->$/m.exec(text)?.[1]?.split(' ') ?? []
    const [slurm, nodes, accounting] = /^<!-- test slurm: (\d+) nodes(, accounting)? -->$/m.exec(text) ?? []
    const cluster =
      slurm === undefined ? undefined : ({ nodes: Number(nodes), accounting: accounting === undefined ? 'none' : 'dbd' } as const)
    const obstacle =
      (hosts.length === 0 ? undefined : sshHostsUnavailable()) ?? (cluster === undefined ? undefined : slurmUnavailable(cluster))
    return { page, blocks: findBlocks(text), hosts, cluster, obstacle, name: obstacle === undefined ? page : `${page} (${obstacle})` }
  })
  .filter(({ blocks }) => blocks.length > 0)

// A block is a whole campaign, now and then.
describe.each(pages)('the examples of $name', { timeout: 240_000 }, ({ page, blocks, hosts, cluster, obstacle }) => {
  let folder: string
  let bed: SlurmBed | undefined
  let named: NamedHosts | undefined
  let environment: NodeJS.ProcessEnv
  let output = ''

  beforeAll(async () => {
    if (obstacle !== undefined) return
    // Inside the repository, so that `import '@cahier/core'` finds the package as it does for a user who installed it.
    mkdirSync(join(root, '.cahier'), { recursive: true })
    folder = mkdtempSync(join(root, '.cahier', `docs-${page.replace(/\W+/g, '-')}-`))
    const bin = join(folder, '.bin')
    mkdirSync(bin)
    const shim = `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'packages/cli/bin/run.js')}' "$@"\n`
    writeFileSync(join(bin, 'cahier'), shim, { mode: 0o755 })
    environment = { ...process.env, HOME: join(folder, '.home'), PATH: `${bin}${delimiter}${process.env['PATH']}`, NO_COLOR: '1' }
    for (const name of Object.keys(environment)) if (/^(XDG_|CAHIER_|VITEST)/.test(name)) delete environment[name]
    mkdirSync(environment['HOME']!)
    if (cluster !== undefined) {
      bed = await startSlurm(cluster)
      Object.assign(environment, bed.env, { PATH: `${bin}${delimiter}${bed.env['PATH']}` })
    }
    if (hosts.length === 0) return
    named = await startNamedHosts(hosts)
    // The hosts are login nodes of the cluster.
    for (const host of hosts) bed?.offerCommands(join(named.host(host).directory, 'bin'))
    // The user's own configuration, so that the page may show one beside the campaign.
    mkdirSync(join(environment['HOME']!, '.config/cahier'), { recursive: true })
    writeFileSync(join(environment['HOME']!, '.config/cahier/cahier.config.yaml'), `connection: { sshConfig: ${named.sshConfig} }\n`)
  })
  afterAll(async () => {
    await named?.[Symbol.asyncDispose]()
    await bed?.stop()
    // The daemon of a queue may be writing there until it notices.
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  })

  it.skipIf(obstacle !== undefined).each(blocks.map((block) => ({ ...block, title: titleOf(block) })))(
    'line $line: $title',
    async (block) => {
      if (block.role === 'file') {
        mkdirSync(dirname(join(folder, block.file!)), { recursive: true })
        writeFileSync(join(folder, block.file!), block.text)
      } else if (block.role === 'output') {
        expect(missingLines(block.text, output), output).toEqual([])
      } else {
        const result = await execute(block)
        output = result.output
        expect(result.code, output).toBe(0)
      }
    },
  )

  function execute(block: Block): Promise<{ code: number | null; output: string }> {
    const script = join(folder, `block-${block.line}.${block.language}`)
    writeFileSync(script, block.text)
    const command =
      block.language === 'sh' ? ['/bin/sh', '-eu', script] : [process.execPath, join(root, 'node_modules/jiti/lib/jiti-cli.mjs'), script]
    return new Promise((resolve, reject) => {
      const child = spawn(command[0]!, command.slice(1), { cwd: folder, env: environment, stdio: ['ignore', 'pipe', 'pipe'] })
      let text = ''
      child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
      child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, output: text }))
    })
  }
})

describe('the pages', () => {
  it('hold examples that are run', () => {
    expect(pages.flatMap(({ blocks }) => blocks).filter((block) => block.role === 'run').length).toBeGreaterThan(0)
  })

  it('run what they show as a command of Cahier in the README', () => {
    expect(pages.map(({ page }) => relative('.', page))).toContain('README.md')
  })
})

function titleOf(block: Block): string {
  if (block.role === 'file') return `writes ${block.file}`
  return block.role === 'run' ? `${block.language} runs` : 'the output is as shown'
}
