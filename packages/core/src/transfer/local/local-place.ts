import { lstatSync, mkdirSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { systemCodeOf, TransferError } from '../../errors.js'
import { type ByteName, byteName, readableName } from '../../util/byte-names.js'
import type { Arrived, Committed, Opened, OpenInput, Place } from '../place.js'
import { targetError } from './file-faults.js'
import { LocalCommit } from './local-commit.js'
import { LocalParts } from './local-parts.js'
import { type Survey, surveyLocal } from './local-survey.js'

/**
 * The receiving side of a copy on this machine.
 *
 * A link that stands at the place of a file or a link is replaced, never written through. One that stands at the place of a directory and
 * leads to one is followed, as `scp -r` does: whoever keeps results on another disk that way goes on doing so. It must have been there when
 * the copy began; one that appears later, or that is part of what is copied, is not followed. Names that lead out of the target directory
 * are refused, whoever wrote the list.
 */
export class LocalPlace implements Place {
  #open: { readonly input: OpenInput; readonly target: Buffer; readonly survey: Survey; readonly parts: LocalParts | undefined } | undefined

  async open(input: OpenInput, signal?: AbortSignal): Promise<Opened> {
    if (this.#open !== undefined) throw new Error('this place is open')
    signal?.throwIfAborted()
    const directory = targetDirectory(input.directory)
    makeTarget(directory, input.policy.create)
    const target = Buffer.from(directory, 'latin1')
    const survey = await surveyLocal(target, input, signal)
    const isNeeded = survey.found.some(({ state }) => state === 'needed')
    const parts = isNeeded ? LocalParts.open(target, input, survey.found) : undefined
    this.#open = { input, target, survey, parts }
    return { directory, parts: parts?.folder.toString('latin1'), found: survey.found }
  }

  async commit(arrived: readonly Arrived[], signal?: AbortSignal): Promise<Committed> {
    const open = this.#open
    if (open === undefined) throw new Error('this place is not open')
    const { input, target, survey, parts } = open
    parts?.checkOwner()
    const committed = await new LocalCommit(input.manifest, target, survey, parts).run(arrived, signal)
    parts?.close(input.policy.resume && parts.isOfUse())
    return committed
  }

  async abandon({ keep }: { readonly keep: boolean }): Promise<void> {
    this.#open?.parts?.close(keep)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abandon({ keep: this.#open?.input.policy.resume ?? false })
  }
}

/** Absolute; `~` is the home directory. */
export function targetDirectory(directory: string): ByteName {
  const path = directory === '~' || directory.startsWith('~/') ? `${homedir()}/${directory.slice(2)}` : directory
  return byteName(resolve(path))
}

/** @throws TransferError `E_TARGET_MISSING`, `E_TARGET_KIND`, `E_TARGET_DENIED`, `E_TARGET_FULL` */
function makeTarget(directory: ByteName, create: boolean): void {
  const path = Buffer.from(directory, 'latin1')
  const said = readableName(directory)
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    if (stats?.isDirectory() === true) return
    if (stats !== undefined) throw notADirectory(said)
    // A link that leads nowhere: it is not for us to make what it points to.
    if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw notADirectory(said)
    if (!create) {
      throw new TransferError('E_TARGET_MISSING', `There is no directory ${said}`, {
        suggestions: ['Make it, or let it be made: create: true, or --create on the command line'],
        data: { directory: said },
      })
    }
    makeFolders(directory)
  } catch (error) {
    // What Node says when a file is on the way.
    if (systemCodeOf(error) === 'ENOTDIR' || systemCodeOf(error) === 'EEXIST') throw notADirectory(said, error)
    throw targetError(error, `The directory ${said} cannot be made or entered`)
  }
}

/** Not by `recursive`, which says ENOENT where the file system is read-only. */
function makeFolders(directory: ByteName): void {
  try {
    mkdirSync(Buffer.from(directory, 'latin1'))
  } catch (error) {
    const code = systemCodeOf(error)
    if (code === 'EEXIST' && statSync(Buffer.from(directory, 'latin1')).isDirectory()) return
    if (code !== 'ENOENT' || directory === '/') throw error
    makeFolders(directory.slice(0, directory.lastIndexOf('/')) || '/')
    mkdirSync(Buffer.from(directory, 'latin1'))
  }
}

function notADirectory(said: string, cause?: unknown): TransferError {
  return new TransferError('E_TARGET_KIND', `${said} is no directory, or a file is on the way to it`, {
    suggestions: ['Files are copied into a directory: name one, and "as" for another name of the file'],
    data: { directory: said },
    cause,
  })
}
