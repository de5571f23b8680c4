import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colours a text for a stream: only on a terminal, never with NO_COLOR (https://no-color.org). */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return hasColours(stream) ? styleText(style, text) : text
}

export function hasColours(stream: NodeJS.WriteStream, environment: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && (environment['NO_COLOR'] ?? '') === '' && environment['TERM'] !== 'dumb'
}
