import { basename, dirname, extname } from 'node:path'
import type { TransferResult } from '../model/transfer.js'
import type { TransferRequest } from '../ports/transfer.js'

/**
 * Adds what would help somebody who wrote the target as `cp` and `scp` take it: with the name of the file at its end.
 *
 * @param request - of a put
 */
export function adviseTarget(result: TransferResult, { files, policy }: TransferRequest, directory: string | undefined): TransferResult {
  const { error, failures } = result
  const [file] = files
  if (error === undefined || failures !== undefined || directory === undefined) return result
  if (files.length !== 1 || typeof file !== 'string' || policy.as !== undefined || /\/$|^[.~/]*$/.test(directory)) return result
  const name = basename(directory)
  const meant = error.code === 'E_TARGET_KIND' || (error.code === 'E_TARGET_MISSING' && isNameOfFile(name, basename(file)))
  if (!meant) return result
  const to = dirname(directory)
  const tip = `Or, if ${name} is to be the name of the file, write to: '${to}', as: '${name}' (--to ${to} --as ${name})`
  return { ...result, error: { ...error, suggestions: [...(error.suggestions ?? []), tip] } }
}

function isNameOfFile(name: string, file: string): boolean {
  return name === file || (extname(name) !== '' && extname(name) === extname(file))
}
