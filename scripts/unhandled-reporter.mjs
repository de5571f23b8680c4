/** A reporter of vitest that writes what went wrong outside of all tests to a file: the one that writes JSON leaves it out. */
import { writeFileSync } from 'node:fs'

export default class {
  /** @param {readonly { message?: string }[]} errors */
  onTestRunEnd(_modules, errors) {
    writeFileSync(process.env.UNHANDLED_FILE, JSON.stringify(errors.map(({ message }) => message ?? 'no message')))
  }
}
