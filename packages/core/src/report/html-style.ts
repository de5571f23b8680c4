import { SERIES_COLOURS_DARK } from './figure/palette.js'

const DARK = `
  --ink: #e6e9ed; --muted: #a3abb5; --paper: #14171b; --card: #1b1f25; --line: #343a43; --link: #7cc0ff;
  --good: #58c98f; --bad: #ff8a70; --warn: #f0b73f; --todo: #59626e;`
const DARK_SERIES = SERIES_COLOURS_DARK.map((colour, index) => `.cahier-figure .cf-s${index} { color: ${colour} }`).join(' ')

/** The whole style of a report: light and dark as the reader's system says, light on paper. */
export const REPORT_STYLE = `
:root {
  color-scheme: light dark;
  --ink: #1f2328; --muted: #5c6670; --paper: #ffffff; --card: #f6f8fa; --line: #d5dae0; --link: #0b62b0;
  --good: #1a7f4b; --bad: #b3361b; --warn: #9a6200; --todo: #b9c0c8;
}
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .8rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line) }
p { margin: .4rem 0 }
a { color: var(--link) }
.muted { color: var(--muted) }
.lead { font-size: 1.05rem; white-space: pre-line; overflow-wrap: anywhere }
.bar { display: flex; height: .7rem; border-radius: .35rem; overflow: hidden; margin: 1.4rem 0 .6rem; background: var(--todo) }
.bar span { display: block; min-width: 2px }
.counts { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0; padding: 0; list-style: none }
.counts b { font-variant-numeric: tabular-nums }
.dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .35em }
.done { background: var(--good) } .failed { background: var(--bad) } .invalid { background: var(--warn) }
.submitted, .running { background: var(--link) } .todo { background: var(--todo) }
.finding { display: flex; gap: .9rem; padding: .8rem 1rem; margin: .6rem 0; background: var(--card); border-left: 4px solid var(--todo); border-radius: 4px }
.finding.ok { border-color: var(--good) } .finding.not-ok { border-color: var(--bad) }
.finding .sign { font-weight: 700; width: 1.1em; flex: none; text-align: center }
.ok .sign { color: var(--good) } .not-ok .sign { color: var(--bad) }
.finding h3 { margin: 0; font-size: 1rem } .finding p { margin: .1rem 0 0; white-space: pre-line; overflow-wrap: anywhere }
figure { margin: 1.4rem 0; overflow-x: auto }
figcaption { font-size: .85rem; color: var(--muted) }
.cahier-figure { max-width: 100%; height: auto; display: block; color: var(--ink) }
.cf-paper { fill: var(--paper) }
details { margin: .7rem 0 } summary { cursor: pointer; font-weight: 600; padding: .2rem 0; overflow-wrap: anywhere }
.scroll { overflow: auto; max-height: 30rem; border: 1px solid var(--line); border-radius: 4px }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { position: sticky; top: 0; background: var(--card); text-align: right; font-weight: 600 }
th button { all: unset; cursor: pointer } th button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
th[aria-sort=ascending] button::after { content: ' ▲'; font-size: .7em } th[aria-sort=descending] button::after { content: ' ▼'; font-size: .7em }
.text { text-align: left } td.text { max-width: 22rem; overflow: hidden; text-overflow: ellipsis }
tr:last-child td { border-bottom: 0 }
.failure { background: var(--card); border-left: 4px solid var(--bad); border-radius: 4px; padding: .6rem 1rem; margin: .6rem 0 }
.failure p, .failure h3 { overflow-wrap: anywhere } .failure h3 { margin: 0; font-size: .95rem }
pre { font: .82rem/1.45 ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace; background: var(--paper); border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; overflow: auto; max-height: 20rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0 0 }
.note { white-space: pre-wrap; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.2rem; margin: 0; font-size: .92rem } dt { color: var(--muted) } dd { margin: 0; overflow-wrap: anywhere }
footer { margin-top: 3rem; font-size: .85rem; color: var(--muted) }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr } dd { margin-bottom: .4rem } }
@media screen and (prefers-color-scheme: dark) { :root {${DARK} } ${DARK_SERIES} }
@media print {
  main { max-width: none; padding: 0 } body { font-size: 11pt }
  .scroll, pre { max-height: none; overflow: visible } th { position: static }
  figure, .finding, .failure, tr { break-inside: avoid } h2 { break-after: avoid }
}
`

/** Sorts a table by the column whose head is clicked; without it every table is complete, in the order of the campaign. */
export const REPORT_SCRIPT = `
for (const table of document.querySelectorAll('table.sortable')) {
  table.querySelectorAll('thead th').forEach((head, column) => {
    const button = document.createElement('button')
    button.append(...head.childNodes)
    head.append(button)
    button.addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending'
      table.querySelectorAll('th[aria-sort]').forEach((other) => other.removeAttribute('aria-sort'))
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending')
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent
      const compare = (a, b) => {
        const [x, y] = [value(a), value(b)]
        const numbers = x !== '' && y !== '' && !Number.isNaN(Number(x)) && !Number.isNaN(Number(y))
        return (numbers ? Number(x) - Number(y) : x.localeCompare(y)) * (down ? -1 : 1)
      }
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare))
    })
  })
}
`
