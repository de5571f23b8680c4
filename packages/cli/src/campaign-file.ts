import { readdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { ConfigError } from '@cahier/core/spi'

const KIND = /\.(ts|mts|js|mjs|yaml|yml)$/
const CONFIGURATION = /^cahier\.config\./

/**
 * Finds the campaign file that is meant.
 *
 * @param given - a file, a folder with a campaign in it, or nothing for the present folder
 * @throws ConfigError `E_CAMPAIGN_NOT_FOUND` when there is none, or more than one that could be meant
 */
export async function findCampaignFile(given: string | undefined): Promise<string> {
  const at = resolve(given ?? '.')
  const found = await stat(at).catch(() => undefined)
  if (found?.isFile()) return at
  if (found === undefined) {
    throw new ConfigError('E_CAMPAIGN_NOT_FOUND', `there is no campaign file ${at}`, {
      suggestions: ['Name an existing file: cahier run my-campaign.yaml'],
      data: { file: at },
    })
  }
  const names = (await readdir(at)).filter((name) => KIND.test(name) && !CONFIGURATION.test(name)).sort()
  const candidates = pickCampaign(names)
  if (candidates.length === 1) return join(at, candidates[0] as string)
  throw new ConfigError(
    'E_CAMPAIGN_NOT_FOUND',
    candidates.length === 0 ? `there is no campaign file in ${at}` : `${at} has several campaign files: ${candidates.join(', ')}`,
    {
      suggestions: [
        candidates.length === 0
          ? 'Write campaign.yaml, campaign.ts or campaign.js there, or name the file: cahier run FILE'
          : `Name the one you mean: cahier run ${basename(candidates[0] as string)}`,
      ],
      data: { directory: at, candidates },
    },
  )
}

/** Programs are JavaScript too and must not be imported by mistake: code counts only by its name, YAML also when it is alone. */
function pickCampaign(names: readonly string[]): readonly string[] {
  const exact = names.filter((name) => /^campaign\.\w+$/.test(name))
  if (exact.length > 0) return exact
  const named = names.filter((name) => /[.-]campaign\.\w+$/.test(name))
  return named.length > 0 ? named : names.filter((name) => /\.ya?ml$/.test(name))
}
