/**
 * What taktuk prints, so that it can be read without doubt: each record begins with a line of fields between bars; text of unknown content
 * follows with its length said before. Templates are Perl, evaluated on the host that the text comes from, for each line of it.
 *
 * No template holds a blank: taktuk passes options on to other hosts as text that is split there.
 *
 * @source taktuk(1) 3.7.7, `-o`: $position, $peer_position, $rank, $line, $eol, $command, $user_scalar
 */
const CHANNEL = '($command=~/^:.(\\d+)/?$1:0)'
const text = (letter: string, key: string): string => `"${letter}|$position|".${key}."|".length($line)."|".length($eol)."\\n$line\\n"`
/** Of messages of taktuk itself: an error for each block of a file can be thousands. */
const MOST_MESSAGES = 50
/** Of state: a message was handed to a command. One for each piece of input, of no use. */
const DELIVERED = 19

export const TEMPLATES: Readonly<Record<string, string>> = {
  output: text('O', CHANNEL),
  error: text('R', CHANNEL),
  status: `"S|$position|".${CHANNEL}."|$line\\n"`,
  state: `$line==${DELIVERED}?"":"E|$position|".${CHANNEL}."|$line|$rank|$peer_position|$peers_given\\n"`,
  connector: text('C', '$peer_position'),
  taktuk: `++$user_scalar>${MOST_MESSAGES}?"":${text('T', '0')}`,
  default: text('I', '0'),
}

/** The beginning of a command line, by which templates know the channel. */
export function markCommand(channel: number, command: string): string {
  return `: ${channel};${command}`
}
