import type { RunEvent } from '@cahier/core'
import type { RunDisplay } from './display.js'
import { unrunText } from './run-text.js'

type ItemEvent = Extract<RunEvent, { readonly type: 'item' }>

/** One stage that fails may keep thousands of jobs from running: they are told of in one line, before what comes after them. */
export function gatherUnrun(display: RunDisplay): RunDisplay {
  const unrun = new Map<string, ItemEvent[]>()
  const flush = (): void => {
    for (const [detail, events] of unrun) {
      const [only] = events
      if (only !== undefined && events.length === 1) display.show(only)
      else display.say(unrunText(events.length, detail))
    }
    unrun.clear()
  }
  return {
    show: (event) => {
      if (event.type === 'item' && event.state === 'failed' && event.detail.startsWith('not run: ')) {
        const events = unrun.get(event.detail)
        if (events === undefined) unrun.set(event.detail, [event])
        else events.push(event)
        return
      }
      flush()
      display.show(event)
    },
    say: (text) => {
      flush()
      display.say(text)
    },
    close: () => {
      flush()
      display.close()
    },
  }
}
