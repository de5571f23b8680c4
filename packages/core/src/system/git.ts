import { execFile } from 'node:child_process'

/** The state of the sources of a campaign, for the record of a run. */
export interface GitState {
  /** Full hash; `undefined` before the first commit. */
  readonly commit: string | undefined
  readonly branch: string | undefined
  /** Files with uncommitted changes, as `git status --porcelain` shows them. */
  readonly changes: readonly string[]
  /** The changes of known files as a patch to the commit. */
  readonly diff: string
  /** The patch was larger than what is kept of it. */
  readonly diffCut: boolean
}

const DIFF_LIMIT_BYTES = 4 * 2 ** 20
const TIMEOUT_MS = 20_000

/**
 * Reads the git state of a folder. Changes nothing there, and runs nothing that its configuration names.
 *
 * @returns `undefined` outside a work tree, or without git
 * @source git(1) GIT_OPTIONAL_LOCKS, git-diff(1) --no-ext-diff --no-textconv, git 2.39
 */
export async function readGitState(
  directory: string,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<GitState | undefined> {
  const git = (...args: string[]): Promise<GitAnswer> => runGit(directory, args, options.signal)
  if ((await git('rev-parse', '--is-inside-work-tree')).text.trim() !== 'true') return undefined
  const [commit, branch, status] = await Promise.all([
    git('rev-parse', '--verify', '--quiet', 'HEAD'),
    git('symbolic-ref', '--short', '--quiet', 'HEAD'),
    git('status', '--porcelain', '--', '.'),
  ])
  const known = commit.text.trim()
  const diff = known === '' ? { text: '', cut: false } : await git('diff', '--no-ext-diff', '--no-textconv', '--binary', 'HEAD', '--', '.')
  return {
    commit: known || undefined,
    branch: branch.text.trim() || undefined,
    changes: status.text.split('\n').filter((line) => line !== ''),
    diff: diff.text,
    diffCut: diff.cut,
  }
}

interface GitAnswer {
  /** Empty when git failed. */
  readonly text: string
  readonly cut: boolean
}

function runGit(directory: string, args: readonly string[], signal: AbortSignal | undefined): Promise<GitAnswer> {
  const environment = { ...process.env, GIT_OPTIONAL_LOCKS: '0', LC_ALL: 'C' }
  // Set inside a hook of git: they would make it look at another repository.
  for (const name of ['GIT_DIR', 'GIT_WORK_TREE', 'GIT_INDEX_FILE']) delete (environment as NodeJS.ProcessEnv)[name]
  return new Promise((resolve, reject) => {
    execFile(
      'git',
      ['-c', 'core.fsmonitor=false', '-c', 'color.ui=false', ...args],
      { cwd: directory, env: environment, maxBuffer: DIFF_LIMIT_BYTES, timeout: TIMEOUT_MS, signal, encoding: 'utf8' },
      (error, stdout) => {
        if (signal?.aborted) reject(signal.reason)
        else if ((error as NodeJS.ErrnoException | null)?.code === 'ERR_CHILD_PROCESS_STDIO_MAXBUFFER') resolve({ text: stdout, cut: true })
        else resolve({ text: error === null ? stdout : '', cut: false })
      },
    )
  })
}
