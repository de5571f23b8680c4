import type { CallOptions } from './scheduler.js'

/** A small file that is to be there. */
export interface SmallFile {
  /** Absolute, on the site. */
  readonly path: string
  readonly data: string | Uint8Array
  /** Default 0o644. */
  readonly mode?: number
}

/** Reports the files that appear in folders, with their text. Leaving its scope ends that. */
export interface FileWatch extends AsyncDisposable {
  /** The folders that are watched from now on, absolute; one that does not exist yet is waited for. */
  setDirectories(directories: readonly string[]): void
  /** True while something really looks: false between the loss of a connection and its return. */
  readonly isLive: boolean
}

/**
 * The files of a site as its jobs see them: on this machine, or on the machine through which the site is used.
 *
 * @remarks Every call is one exchange with the site however many files it names. A call that could not be made throws SchedulerError
 * `E_SCHEDULER_SILENT`, with the code of the connection in `data.code` (`E_LOGIN_NEEDED`, `E_CONNECTION_LOST`…): that says nothing about
 * the files. A full disk is StoreError `E_STORE_FULL`, what may not be written StoreError `E_RUN_DIRECTORY`.
 */
export interface SiteFiles {
  /** True when a path of this machine names the same file for the jobs of the site. */
  readonly isShared: boolean
  /** Makes the folders above them, writes each under another name and renames it. What exists is replaced. */
  write(files: readonly SmallFile[], options?: CallOptions): Promise<void>
  /** The texts of small files, in order; `undefined` where there is none. */
  read(paths: readonly string[], options?: CallOptions): Promise<readonly (string | undefined)[]>
  /**
   * Looks into folders about once a second, at the cost of reading the folder, and reports each file once, whole, when its last line is
   * complete. A file that was reported may be removed from the folder. Never throws: what it misses is found in other ways.
   */
  watch(onFile: (path: string, text: string) => void): FileWatch
  /** Absolute form of a path that may begin with `~` or with `$NAME` of the environment there (`$WORK/cahier`). */
  resolve(path: string, options?: CallOptions): Promise<string>
}
