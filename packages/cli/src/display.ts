import type { RunCounts, RunEvent } from '@cahier/core'
import type { Core } from './base-command.js'
import { gatherUnrun } from './gather-unrun.js'
import { finishedOf, formatCounts, notebookText } from './run-text.js'

/** Shows what a run does while it goes on. */
export interface RunDisplay {
  readonly show: (event: RunEvent) => void
  /** A line of ours between those of the run. */
  readonly say: (text: string) => void
  readonly close: () => void
}

export interface DisplayOptions {
  /** Where the lines go: stderr when stdout is for JSON. */
  readonly lines: NodeJS.WriteStream
  /** Where the bar goes, when that is a terminal. */
  readonly bar: NodeJS.WriteStream
  readonly core: Core
  /** Time between two lines with counts, without a terminal. */
  readonly everyMs?: number
}

/** A bar on a terminal, plain lines elsewhere. */
export async function openDisplay(options: DisplayOptions): Promise<RunDisplay> {
  return gatherUnrun(options.bar.isTTY ? await openBar(options) : openLines(options))
}

function openLines({ lines, core, everyMs = 5000 }: DisplayOptions): RunDisplay {
  let items = 0
  let lastText = ''
  let lastAt = core.systemClock.monotonic()
  const say = (text: string): void => void lines.write(`${core.formatDate(core.systemClock.now())} ${text}\n`)
  return {
    show: (event) => {
      if ('counts' in event) items = event.counts.total
      const text = notebookText(event, items, core)
      if (text !== undefined) say(text)
      if (event.type !== 'counts') return
      const counts = formatCounts(event.counts)
      const at = core.systemClock.monotonic()
      if (counts === lastText || at - lastAt < everyMs) return
      lastText = counts
      lastAt = at
      say(counts)
    },
    say,
    close: () => {},
  }
}

async function openBar({ bar: stream, core }: DisplayOptions): Promise<RunDisplay> {
  const { default: progress } = await import('cli-progress')
  const bars = new progress.MultiBar(
    {
      format: '{bar} {value}/{total} | {running} running, {waiting} waiting, {failed} failed | {eta_formatted} left',
      stream,
      // Otherwise the terminal cuts the lines between the bars at its width, too.
      linewrap: true,
      // Ctrl-C is ours: the run detaches, and the bar goes on until that is done.
      gracefulExit: false,
      clearOnComplete: true,
      hideCursor: true,
      fps: 5,
      etaBuffer: 50,
    },
    progress.Presets.shades_grey,
  )
  let bar: ReturnType<typeof bars.create> | undefined
  let items = 0
  let closed = false
  const say = (text: string): void => {
    const line = `${core.formatDate(core.systemClock.now())} ${text}\n`
    if (bar === undefined || closed) stream.write(line)
    else bars.log(line)
  }
  const move = (counts: RunCounts): void => {
    items = counts.total
    const { running, submitted, todo, failed, invalid } = counts
    const payload = { running, waiting: submitted + todo, failed: failed + invalid }
    if (bar === undefined) bar = bars.create(counts.total, finishedOf(counts), payload)
    bar.setTotal(counts.total)
    bar.update(finishedOf(counts), payload)
  }
  return {
    show: (event) => {
      const text = notebookText(event, 'counts' in event ? event.counts.total : items, core)
      if (text !== undefined) say(text)
      if ('counts' in event) move(event.counts)
    },
    say,
    close: () => {
      if (closed) return
      closed = true
      bars.update()
      bars.stop()
    },
  }
}
