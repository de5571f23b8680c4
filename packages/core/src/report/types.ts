import type { FigureSpec, Finding } from '../model/campaign.js'
import type { ResultRecord } from '../model/result.js'
import type { ItemReport, RunCounts } from '../model/run.js'

/** One measured quantity: a column of the table, an axis of a figure. */
export interface ResultField {
  readonly name: string
  readonly type?: 'number' | 'integer' | 'string' | 'boolean' | undefined
  /** Shown on axes and in table heads: `s`, `MB/s`. */
  readonly unit?: string | undefined
}

/** Where a run comes from. Every field that is absent is left out of the report. */
export interface ReportProvenance {
  /** The command line, as one line for humans. */
  readonly command?: string | undefined
  readonly cahierVersion?: string | undefined
  readonly nodeVersion?: string | undefined
  /** Host of the controller. */
  readonly host?: string | undefined
  readonly site?: string | undefined
  readonly scheduler?: string | undefined
  readonly gitCommit?: string | undefined
  /** True when the work tree had changes that no commit holds. */
  readonly gitDirty?: boolean | undefined
  readonly directory?: string | undefined
  /** Milliseconds since 1970. */
  readonly startedAt?: number | undefined
  /** Milliseconds since 1970; absent while the run goes on. */
  readonly endedAt?: number | undefined
  /** Further lines, in order: `['compiler', 'gfortran 12.2']`. */
  readonly more?: readonly (readonly [string, string])[] | undefined
}

/** Everything that a report shows. Plain data: nothing is read from the disk or asked from the system. */
export interface ReportInput {
  readonly campaign: { readonly name: string; readonly description?: string | undefined }
  /** Names of the factors, in the order of the campaign file: the first columns of the table. */
  readonly factors: readonly string[]
  /** Results in the order of the campaign's schema: see `resultFieldsOf`. */
  readonly results: readonly ResultField[]
  /** One record per attempt that counts; times in milliseconds since 1970. */
  readonly records: readonly ResultRecord[]
  readonly counts: RunCounts
  readonly figures: readonly FigureSpec[]
  readonly findings: readonly Finding[]
  /** Work items that failed or were invalid, the most important first; the report shows the first 50. */
  readonly failures: readonly ItemReport[]
  /** Text of `notes.md`, or `''`. */
  readonly notes: string
  readonly provenance: ReportProvenance
  /** Milliseconds since 1970. */
  readonly generatedAt: number
}

/** What `writeReportFiles` wrote. */
export interface ReportFiles {
  /** Absolute path of `report.html`. */
  readonly file: string
  /** Absolute paths of `figures/*.svg`, in the order of the campaign. */
  readonly figures: readonly string[]
  /** Absolute paths of `results.csv` and `results.jsonl`. */
  readonly tables: readonly string[]
}

/** Names and units that a figure shows beside the rows. */
export interface FigureMeta {
  /** Column name to unit. */
  readonly units?: Readonly<Record<string, string>> | undefined
  /** Names of all factors: a figure says in a note over which of them it took the mean. */
  readonly factors?: readonly string[] | undefined
  /** Known values, drawn as thin dashed lines with a label. */
  readonly marks?: readonly FigureMark[] | undefined
  /** Width and height of the drawing in pixels; default 760 wide, as high as it needs. */
  readonly width?: number | undefined
}

export interface FigureMark {
  readonly axis: 'x' | 'y'
  readonly value: number
  readonly label: string
}
