import {
  type CommandChannel,
  type CommonChannel,
  type Fleet,
  type FleetMember,
  type HostWay,
  isCampaignError,
  ProcessError,
} from '@cahier/core/spi'
import { TaktukTree, type TreeNeeds } from './tree.js'

/** A host in one of the trees. */
interface Place {
  readonly tree: Fleet
  /** Of the tree's members. */
  readonly index: number
}

/**
 * A tree of hosts that reach each other, and a second one, straight from here, for those that others could not reach: keys that only this
 * machine has, and networks that only it sees, are common.
 */
export class TwoTrees implements Fleet {
  readonly ways: readonly Promise<HostWay>[]
  readonly #first: Fleet
  readonly #second: Promise<Fleet | undefined>
  readonly #places = new Map<number, Place>()
  #isLeft = false

  /** @throws as `TaktukTree.launch` */
  static async launch(members: readonly FleetMember[], needs: TreeNeeds, signal?: AbortSignal): Promise<Fleet> {
    const first = await TaktukTree.launch(members, needs, signal)
    return needs.options.topology === 'flat' ? first : new TwoTrees(first, members, needs)
  }

  private constructor(first: Fleet, members: readonly FleetMember[], needs: TreeNeeds) {
    this.#first = first
    this.#second = this.#lookAgain(members, needs)
    this.#second.catch(() => {})
    this.ways = first.ways.map((way, index) => {
      const found = way.catch((error: unknown) => this.#askAgain(index, error))
      found.catch(() => {})
      return found
    })
  }

  async #lookAgain(members: readonly FleetMember[], needs: TreeNeeds): Promise<Fleet | undefined> {
    const ends = await Promise.allSettled(this.#first.ways)
    const again = ends.flatMap((end, index) => (end.status === 'rejected' && isAskedFromOther(end.reason) ? [index] : []))
    if (again.length === 0 || this.#isLeft) return undefined
    needs.log.info({ hosts: again.length }, 'hosts that other hosts cannot reach are reached from here')
    const flat = { ...needs, options: { ...needs.options, topology: 'flat' as const } }
    const tree = await TaktukTree.launch(
      again.map((index) => members[index] as FleetMember),
      flat,
    )
    again.forEach((member, index) => {
      this.#places.set(member, { tree, index })
    })
    return tree
  }

  async #askAgain(member: number, error: unknown): Promise<HostWay> {
    if (!isAskedFromOther(error)) throw error
    await this.#second
    const place = this.#places.get(member)
    if (place === undefined) throw error
    return await (place.tree.ways[place.index] as Promise<HostWay>)
  }

  async together(commands: ReadonlyMap<number, string>): Promise<CommonChannel> {
    const parts = new Map<Fleet, Map<number, string>>()
    for (const [member, command] of commands) {
      const { tree, index } = this.#placeOf(member)
      const part = parts.get(tree) ?? new Map<number, string>()
      parts.set(tree, part.set(index, command))
    }
    const opened = new Map<Fleet, CommonChannel>()
    for (const [tree, part] of parts) opened.set(tree, await tree.together(part))
    const all = [...opened.values()]
    const channelOf = (member: number): CommandChannel => {
      const { tree, index } = this.#placeOf(member)
      return opened.get(tree)?.channels.get(index) as CommandChannel
    }
    return {
      channels: new Map([...commands.keys()].map((member) => [member, channelOf(member)])),
      write: async (data) => {
        const written = await Promise.all(all.map((channel) => isRead(channel.write(data))))
        if (!written.includes(true)) throw new ProcessError('E_STDIN', 'Nobody reads there any more')
      },
      end: () => {
        for (const channel of all) channel.end()
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isLeft = true
    await this.#first[Symbol.asyncDispose]()
    const second = await this.#second.catch(() => undefined)
    await second?.[Symbol.asyncDispose]()
  }

  #placeOf(member: number): Place {
    return this.#places.get(member) ?? { tree: this.#first, index: member }
  }
}

/** One tree may have lost all that read, while the other goes on. */
async function isRead(writing: Promise<void>): Promise<boolean> {
  try {
    await writing
    return true
  } catch (error) {
    if (isCampaignError(error) && error.code === 'E_STDIN') return false
    throw error
  }
}

function isAskedFromOther(error: unknown): boolean {
  return isCampaignError(error) && error.data['askedFrom'] !== undefined
}
