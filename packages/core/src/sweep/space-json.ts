import { decodeCanonical } from '../canonical-json.js'
import { CampaignError, ConfigError } from '../errors.js'
import type { Combination, Level } from '../model/combination.js'
import type { Space, SpaceDefinition } from '../model/space.js'
import { RepeatedSpace, ShuffledSpace, SubsetSpace } from './derived-spaces.js'
import { decodeKept, type KeptPositions } from './kept.js'
import { freezeDeep, listSpace } from './list-space.js'
import { type AxisSpec, ProductSpace } from './product-space.js'

/**
 * Makes a space again from its `definition`, also one that went through JSON. The result has the same items in the same order.
 *
 * @typeParam T - what the items are; not checked
 * @throws ConfigError `E_ARGUMENT` when this is not a definition that this version knows
 */
export function spaceFromDefinition<T = Combination>(definition: SpaceDefinition): Space<T> {
  try {
    return make(definition) as Space<T>
  } catch (cause) {
    if (cause instanceof CampaignError && cause.code === 'E_ARGUMENT') throw cause
    throw new ConfigError('E_ARGUMENT', `this is not the definition of a space: ${(JSON.stringify(definition) ?? '').slice(0, 200)}`, {
      cause,
    })
  }
}

function make(definition: SpaceDefinition): Space<unknown> {
  const fields = definition as unknown as Fields
  switch (definition.kind) {
    case 'product':
      return new ProductSpace(fields.axes.map(makeAxis))
    case 'list':
      return listSpace(fields.items.map(decodeCanonical))
    case 'subset': {
      const of = make(fields.of)
      return new SubsetSpace(of, decodeKept(fields.kept, of.size))
    }
    case 'shuffled':
      return new ShuffledSpace(make(fields.of), fields.seed as number)
    case 'repeated':
      return new RepeatedSpace(make(fields.of) as Space<Combination>, fields.repetitions, fields.seed)
    default:
      throw new ConfigError('E_ARGUMENT', `there is no kind of space ${JSON.stringify(definition.kind)}; a newer version may know it`)
  }
}

/** The fields of all kinds; which of them are there depends on the kind. */
interface Fields {
  readonly axes: readonly AxisJson[]
  readonly items: readonly unknown[]
  readonly of: SpaceDefinition
  readonly kept: KeptPositions
  readonly repetitions: number
  readonly seed: number | undefined
}
interface AxisJson {
  readonly names: readonly string[]
  readonly levels: readonly (readonly unknown[])[]
  readonly sub?: readonly (readonly AxisJson[] | null)[]
}

function makeAxis({ names, levels, sub }: AxisJson): AxisSpec {
  const options = levels.map((encoded, at) => {
    const decoded = freezeDeep(encoded.map((level) => decodeCanonical(level) as Level))
    const inner = sub?.[at]
    return inner === undefined || inner === null ? { levels: decoded } : { levels: decoded, sub: inner.map(makeAxis) }
  })
  return { names: [...names], options }
}
