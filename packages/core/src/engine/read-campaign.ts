import { ConfigError } from '../errors.js'
import { type CampaignSpec, campaignSchema } from '../model/campaign.js'
import { type CampaignIssue, describeIssues, formatPath } from './campaign-issues.js'

/**
 * Checks what a campaign file says against the schema and fills in the defaults.
 *
 * @param source - name of the file, for messages
 * @param lineOf - the line of a path in the file, where that is known
 * @throws ConfigError `E_CAMPAIGN_INVALID` with everything that is wrong
 */
export function readCampaign(
  input: unknown,
  source: string,
  lineOf: (path: readonly (string | number)[]) => number | undefined = () => undefined,
): CampaignSpec {
  const checked = campaignSchema.safeParse(input)
  if (checked.success) return checked.data
  const issues = describeIssues(checked.error, campaignSchema)
  const tell = (issue: CampaignIssue): string => {
    const line = lineOf(issue.path)
    const where = formatPath(issue.path)
    return `${line === undefined ? '' : `line ${line}: `}${where === '' ? '' : `${where}: `}${issue.message}`
  }
  const adviceFor = ({ path, suggestion }: CampaignIssue): string | undefined =>
    suggestion ?? (path[0] === 'site' ? 'Describe the site in cahier.config.yaml, and write its name here' : undefined)
  const advised = issues.filter((issue) => adviceFor(issue) !== undefined)
  const advise = (issue: CampaignIssue): string => `${advised.length === 1 ? '' : `${formatPath(issue.path)}: `}${adviceFor(issue)}`
  const told = issues.length === 1 ? ` ${issues.map(tell).join()}` : issues.map((issue) => `\n  ${tell(issue)}`).join('')
  throw new ConfigError('E_CAMPAIGN_INVALID', `${source} does not fit the schema:${told}`, {
    suggestions: advised.map(advise),
    data: { issues: issues.map((issue) => ({ path: formatPath(issue.path), message: issue.message, line: lineOf(issue.path) })) },
  })
}
