import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { join } from 'node:path'
import { canonicalJson } from '../canonical-json.js'
import { StoreError } from '../errors.js'
import type { Space, SpaceDefinition } from '../model/space.js'
import { writeFileAtomicSync } from '../util/atomic-file.js'
import type { SpaceSource } from './sweep-state.js'

/** A definition longer than this stands in a file of its own: a list of a million items is no line of a journal. */
const LONGEST_INLINE = 1 << 16

/** Makes spaces from what the journal says, and what the journal says from spaces. */
export class SpaceSources<T> {
  readonly #directory: string | undefined
  readonly #make: (definition: SpaceDefinition) => Space<T>
  /** Spaces that the program brought itself need not be made again. */
  readonly #known = new Map<string, Space<T>>()
  readonly #hashes = new WeakMap<Space<T>, { readonly hash: string; readonly text: string }>()

  constructor(directory: string | undefined, make: (definition: SpaceDefinition) => Space<T>) {
    this.#directory = directory
    this.#make = make
  }

  hashOf(space: Space<T>): string {
    return this.#describe(space).hash
  }

  /** Writes the side file if there has to be one. */
  publish(space: Space<T>): SpaceSource {
    const { hash, text } = this.#describe(space)
    if (text.length <= LONGEST_INLINE || this.#directory === undefined) return { hash, space: JSON.parse(text) as unknown }
    const file = `space-${hash.slice(0, 16)}.json`
    const path = join(this.#directory, file)
    if (!fs.existsSync(path)) writeFileAtomicSync(path, text, { durable: true })
    return { hash, file }
  }

  open(source: SpaceSource): Space<T> {
    const known = this.#known.get(source.hash)
    if (known !== undefined) return known
    const space = this.#make((source.file === undefined ? source.space : this.#readFile(source.file, source.hash)) as SpaceDefinition)
    this.#known.set(source.hash, space)
    return space
  }

  #describe(space: Space<T>): { readonly hash: string; readonly text: string } {
    let described = this.#hashes.get(space)
    if (described === undefined) {
      const text = canonicalJson(space.definition)
      described = { text, hash: createHash('sha256').update(text).digest('hex') }
      this.#hashes.set(space, described)
      this.#known.set(described.hash, space)
    }
    return described
  }

  #readFile(file: string, hash: string): unknown {
    const path = join(this.#directory ?? '.', file)
    let text: string
    try {
      text = fs.readFileSync(path, 'utf8')
    } catch (cause) {
      throw new StoreError('E_JOURNAL_DAMAGED', `${path}: the definition of the sweep cannot be read`, {
        cause,
        suggestions: ['Open the sweep with the same factors again: the file is then written anew'],
      })
    }
    if (createHash('sha256').update(text).digest('hex') !== hash) {
      throw new StoreError('E_JOURNAL_DAMAGED', `${path}: the definition of the sweep was changed`, {
        suggestions: ['Remove the file and open the sweep with the same factors again'],
      })
    }
    return JSON.parse(text) as unknown
  }
}
