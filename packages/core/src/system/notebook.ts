/** Fields of a log line that say where it comes from rather than what happened. */
const BACKGROUND = new Set(['level', 'time', 'msg', 'campaign', 'component', 'stack'])

/** Messages that have a sentence of their own; the rest is written as `Message: field value, field value`. */
const SENTENCES: Readonly<Record<string, (fields: Record<string, unknown>) => string>> = {
  'job submitted': ({ job, dependsOn }) => formatSubmission(String(job), Array.isArray(dependsOn) ? dependsOn.map(String) : []),
}

/**
 * Says that a job was submitted, in the words of a lab notebook.
 *
 * @param job - native id
 * @param dependsOn - native ids of the jobs that it waits for
 */
export function formatSubmission(job: string, dependsOn: readonly string[] = []): string {
  return dependsOn.length === 0 ? `Job submitted: ${job}` : `Job submitted: ${job} dependent on ${dependsOn.join(', ')}`
}

/** A date as a person writes it, in local time: `2026-11-22 10:35:28`. */
export function formatDate(at: number): string {
  const date = new Date(at)
  const two = (n: number): string => String(n).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}

/**
 * Turns a record of the log into a line that a person would write in a lab notebook.
 *
 * @param record - one parsed line of the log: `time`, `level`, `msg` and the facts
 * @returns one line without its end: date, a mark for warnings and errors, the sentence
 */
export function formatNotebookLine(record: Readonly<Record<string, unknown>>): string {
  const { time, level, msg } = record
  const date = formatDate(typeof time === 'string' ? Date.parse(time) : Number(time))
  const mark = level === 'error' ? 'ERROR ' : level === 'warn' ? 'WARNING ' : ''
  const message = typeof msg === 'string' ? msg : ''
  const sentence = SENTENCES[message]?.({ ...record }) ?? formatSentence(message, record)
  return `${date} ${mark}${oneLine(sentence)}`
}

function formatSentence(message: string, record: Readonly<Record<string, unknown>>): string {
  const facts = Object.entries(record)
    .filter(([name, value]) => !BACKGROUND.has(name) && value !== undefined && value !== '')
    .map(([name, value]) => `${name} ${formatFact(value)}`)
  const start = message.charAt(0).toUpperCase() + message.slice(1)
  return facts.length === 0 ? start : `${start}: ${facts.join(', ')}`
}

function formatFact(value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'object' && value !== null && 'message' in value) return String(value.message)
  return JSON.stringify(value) ?? String(value)
}

/** Escapes what would break the line or drive the terminal. */
function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) =>
    char === '\n' ? '\\n' : char === '\t' ? ' ' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}
