import type { Combination } from '../model/combination.js'

export interface TemplateSource {
  readonly text: string
  /** Shown in errors. */
  readonly name: string
  /** `braces`: `{{ name }}`; `dollar`: also `$name` and `${name}` for names of `values`, other `$X` are left to the shell. */
  readonly placeholders?: 'braces' | 'dollar'
  /**
   * Shell text by name, written by the campaign's author: `{ load_module: 'module load Python/{{ python }}' }`. A
   * placeholder of that name becomes this text, as code; values inside it are quoted as anywhere else. Levels of factors
   * are never taken as code.
   */
  readonly code?: Readonly<Record<string, string>>
}

/**
 * Turns a batch script template into the script of one combination.
 *
 * @remarks For adapters: a name that `values` does not have throws ConfigError `E_TEMPLATE_NAME` with the nearest name; in
 * shell text a value is written as one quoted word; on a directive line (`#SBATCH`, `#OAR`, `# @`) it is written bare and
 * must be a safe word, else `E_TEMPLATE_UNSAFE`.
 */
export interface TemplateRenderer {
  render(source: TemplateSource, values: Combination): string
  /** Names that a template uses, in order of first use, so that a campaign can be checked before anything runs. */
  names(source: TemplateSource): readonly string[]
  /** An element of an argument list: `{{ name }}` becomes the value's text, byte for byte, without any quoting. */
  renderArgument(text: string, values: Combination): string
  /** A condition of a campaign file: `cores <= 16 and python == 'system'`. */
  evaluateCondition(text: string, values: Combination): boolean
}
