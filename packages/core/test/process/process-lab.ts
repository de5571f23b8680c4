import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ProcessLab } from '../../src/conformance/index.js'

/** This machine, and every test host on it: they share its files and its list of processes. */
export function makeProcessLab(fields: Partial<ProcessLab> = {}): ProcessLab & Disposable {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'cahier-process-lab-')))
  return {
    makeDirectory: () => mkdtemp(join(root, "it's a place ")),
    readFile: (path) => readFile(path).catch(() => undefined),
    makeFile: (path) => writeFile(path, ''),
    findProcesses: (token) => Promise.resolve(processesWith(token)),
    ...fields,
    [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }),
  }
}

function processesWith(token: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && environmentOf(name).includes(token))
    .map(Number)
}

/** Empty for what has ended and was not yet waited for, too. */
function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    return ''
  }
}
