import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { isAbsolute, join, normalize } from 'node:path'
import { ConfigError } from '../errors.js'
import type { CollectedFiles } from '../model/campaign.js'
import type { Combination } from '../model/combination.js'
import { formatSize } from '../units.js'

/** Files of a job of which the ends can be read without the middle. */
export interface BoundedFiles extends CollectedFiles {
  /** In bytes. */
  size(file: string): number
  /** Whole lines from the beginning (the last one may be cut when it is longer than `bytes`). */
  head(file: string, bytes: number): string
  /** Whole lines from the end. */
  tail(file: string, bytes: number): string
}

/** A whole file that is larger is not read: a pattern still finds what is within this distance of its end or beginning. */
const LARGEST_WHOLE_FILE = 64 << 20

/**
 * The files of one attempt. Nothing is opened before it is asked for, names cannot leave the directory, and no more than
 * `limitBytes` of one file are in memory.
 *
 * @throws ConfigError (from the methods) `E_ARGUMENT` for a name outside of the directory and for a file that is too large,
 * and the system's error when it cannot be read
 */
export function openCollectedFiles(
  directory: string,
  combination: Combination,
  options: { readonly limitBytes?: number } = {},
): BoundedFiles {
  const limit = options.limitBytes ?? LARGEST_WHOLE_FILE
  const cache = new Map<string, string>()
  const text = (file: string): string => {
    const known = cache.get(file)
    if (known !== undefined) return known
    const whole = withFile(directory, file, (descriptor, size) => {
      if (size > limit) {
        throw new ConfigError(
          'E_ARGUMENT',
          `${file} has ${formatSize(size)}, more than the ${formatSize(limit)} that are read as a whole`,
          {
            suggestions: ['Let the job write its results to a small file of their own', 'Use a pattern: it is looked for from the end'],
          },
        )
      }
      return decode(readBytes(descriptor, 0, size))
    })
    cache.set(file, whole)
    return whole
  }
  return {
    directory,
    combination,
    stdout: () => text('stdout'),
    stderr: () => text('stderr'),
    text,
    size: (file) => withFile(directory, file, (_, size) => size),
    head: (file, bytes) =>
      withFile(directory, file, (descriptor, size) => {
        const part = readBytes(descriptor, 0, Math.min(bytes, size))
        const cut = bytes >= size ? part.length : part.lastIndexOf(10) + 1 || part.length
        return decode(part.subarray(0, cut))
      }),
    tail: (file, bytes) =>
      withFile(directory, file, (descriptor, size) => {
        if (bytes >= size) return decode(readBytes(descriptor, 0, size))
        const part = readBytes(descriptor, size - bytes - 1, bytes + 1)
        return decode(part.subarray(part.indexOf(10) + 1 || 1))
      }),
  }
}

function withFile<T>(directory: string, file: string, use: (descriptor: number, size: number) => T): T {
  const path = normalize(file)
  if (isAbsolute(file) || path === '..' || path.startsWith('../')) {
    throw new ConfigError('E_ARGUMENT', `${file} is not inside of the job's directory`, {
      suggestions: ['Name a file that the job writes in its own directory'],
    })
  }
  const descriptor = openSync(join(directory, path), 'r')
  try {
    return use(descriptor, fstatSync(descriptor).size)
  } finally {
    closeSync(descriptor)
  }
}

function readBytes(descriptor: number, from: number, length: number): Buffer {
  const buffer = Buffer.allocUnsafe(length)
  let done = 0
  while (done < length) {
    const count = readSync(descriptor, buffer, done, length - done, from + done)
    if (count === 0) break
    done += count
  }
  return buffer.subarray(0, done)
}

const decode = (bytes: Buffer): string => bytes.toString('utf8')
