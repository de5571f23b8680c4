import { Flags } from '@oclif/core'
import { adapterSources } from '../../adapter-sources.js'
import { CahierCommand, type Core } from '../../base-command.js'
import { readError, type ShownError } from '../../error-text.js'
import { EXIT_CODES } from '../../exit-codes.js'

interface Diagnosis {
  readonly subject: string
  readonly package: string | undefined
  readonly version: string | undefined
  readonly directory: string | undefined
  readonly problem: ShownError | undefined
}

export default class AdaptersDoctor extends CahierCommand {
  static override summary = 'Import and check every adapter, and say what is wrong with each.'
  static override description =
    'Also names the sites whose scheduler nothing provides. Exit code 1 when one of them cannot be used; the others work all the same.'
  static override examples = [
    { description: 'Check what the campaign of this folder could use', command: '<%= config.bin %> adapters doctor' },
  ]
  static override flags = { dir: Flags.string({ description: 'Folder of the campaign.', default: '.' }) }

  async run(): Promise<readonly Diagnosis[]> {
    const { flags } = await this.parse(AdaptersDoctor)
    const core = await this.core()
    const adapters = core.openAdapters(flags.dir, await adapterSources(this.config))
    const diagnoses: Diagnosis[] = (await adapters.doctor()).map(({ subject, package: from, version, directory, problem }) => ({
      subject,
      package: from,
      version,
      directory,
      problem: problem === undefined ? undefined : readError(problem),
    }))
    diagnoses.push(...(await sitesWithout(core, flags.dir, adapters)))
    for (const diagnosis of diagnoses) this.log(formatDiagnosis(diagnosis))
    if (diagnoses.some(({ problem }) => problem !== undefined)) this.endWith(EXIT_CODES.error.code)
    return diagnoses
  }
}

/** The sites whose scheduler nothing provides, and a description of sites that cannot be read. */
async function sitesWithout(core: Core, directory: string, adapters: ReturnType<Core['openAdapters']>): Promise<readonly Diagnosis[]> {
  const broken = (subject: string, error: unknown): Diagnosis => ({
    subject,
    package: undefined,
    version: undefined,
    directory: undefined,
    problem: readError(error),
  })
  try {
    const [{ sites }, provided] = await Promise.all([core.readSites(directory), adapters.list()])
    const known = new Set(provided.filter(({ kind }) => kind === 'scheduler').map(({ name }) => name))
    const left = Object.entries(sites).filter(([, { scheduler }]) => !known.has(scheduler))
    return await Promise.all(
      left.map(async ([name, { scheduler }]) =>
        broken(`site/${name}`, await adapters.load('scheduler', scheduler).catch((error: unknown) => error)),
      ),
    )
  } catch (error) {
    return [broken('sites', error)]
  }
}

function formatDiagnosis({ subject, package: from, version, directory, problem }: Diagnosis): string {
  const isAdapter = !subject.startsWith('site')
  const where = from === undefined ? (isAdapter ? 'part of Cahier' : 'cahier.config') : `${from} ${version ?? ''}`.trimEnd()
  if (problem === undefined) return `ok      ${subject}  (${where})`
  const lines = [`BROKEN  ${subject}  (${where})`, `  ${problem.code ?? 'Error'}: ${problem.message}`]
  lines.push(...problem.causes.map((cause) => `  Cause: ${cause}`), ...problem.suggestions.map((tip) => `  Try: ${tip}`))
  if (directory !== undefined) lines.push(`  In: ${directory}`)
  return lines.join('\n')
}
