import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadCampaign, runCampaign } from '../../src/api/runs.js'
import { resultFieldsOf } from '../../src/report/result-schema.js'
import { scratch, site, squaring } from './run/lab.js'

const code = (extension: string): string => `
import { defineCampaign, igeom, plot } from '@cahier/core'
import { z } from 'zod'

${extension.includes('ts') ? 'interface Combination { readonly n: number }\n' : ''}
const cores = (c${extension.includes('ts') ? ': Combination' : ''}) => ({ cores: c.n })

export default defineCampaign({
  name: 'squares',
  factors: { n: igeom(1, 4, 3) },
  job: { command: ['expr', '{{ n }}', '*', '{{ n }}'], resources: cores },
  results: z.object({ square: z.number().int().positive() }),
  collect: { square: { from: 'stdout', pattern: /square=(\\d+)/ } },
  report: [plot.line({ x: 'n', y: 'square' })],
})
`

describe('a campaign file in a folder where nothing is installed', () => {
  it.each(['campaign.ts', 'campaign.mts', 'campaign.mjs', 'campaign.js'])('%s has Cahier and zod', async (name) => {
    const folder = scratch()
    const file = join(folder, name)
    writeFileSync(file, code(name))
    const { spec, directory } = await loadCampaign(file)
    expect(directory).toBe(folder)
    expect(resultFieldsOf(spec.results)).toEqual([{ name: 'square', type: 'integer', unit: undefined }])
    const ledger: number[] = []
    const summary = await runCampaign({
      campaign: file,
      directory: join(folder, 'run'),
      site,
      scheduler: squaring(ledger),
      timing: { pollMs: 2 },
    })
    expect(summary).toMatchObject({ outcome: 'complete', counts: { done: 3 } })
    expect(ledger).toEqual([1, 2, 4])
  })

  it('may be several files', async () => {
    const folder = scratch()
    mkdirSync(join(folder, 'lib'))
    writeFileSync(join(folder, 'lib', 'schema.ts'), "import { z } from 'zod'\nexport const results = z.object({ square: z.number() })\n")
    writeFileSync(
      join(folder, 'campaign.ts'),
      `import { results } from './lib/schema'
export default { name: 'squares', factors: { n: [1] }, job: { command: ['true'] }, results, collect: { square: () => 1 } }\n`,
    )
    expect(resultFieldsOf((await loadCampaign(join(folder, 'campaign.ts'))).spec.results)).toMatchObject([{ name: 'square' }])
  })

  it('says which import it does not have', async () => {
    const file = join(scratch(), 'campaign.ts')
    writeFileSync(file, "import { x } from 'no-such-package'\nexport default x\n")
    await expect(loadCampaign(file)).rejects.toMatchObject({
      code: 'E_CAMPAIGN_UNREADABLE',
      message: expect.stringMatching(/no-such-package/),
    })
  })
})
