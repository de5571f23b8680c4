import type { SpaceDefinition } from '../model/space.js'
import type { IndexRanges } from './index-ranges.js'

/** Positions in the generation `g` of the sweep. It stands in every event, so that none can be taken for one of another sweep. */
interface Positions {
  readonly g: number
  readonly i: IndexRanges
}

/** What a sweep writes into a journal. Field names are one letter where there is an event per item. */
export type SweepEvent =
  /** From here on the sweep is this space. What was known about items that it has too goes on to count. */
  | { readonly type: 'sweep.space'; readonly g: number; readonly size: number; readonly hash: string; readonly space: SpaceDefinition }
  | { readonly type: 'sweep.space'; readonly g: number; readonly size: number; readonly hash: string; readonly file: string }
  /** A process that claims: its short name in later events, and its identity. */
  | {
      readonly type: 'sweep.worker'
      readonly w: string
      readonly host: string
      readonly boot: string
      readonly space: string
      readonly pid: number
      readonly start: string
    }
  /** It ended in order; its claims are free. */
  | { readonly type: 'sweep.leave'; readonly w: string }
  /** Tokens `t`, `t + 1`… in the order of the positions. */
  | ({ readonly type: 'sweep.claim' | 'sweep.adopt'; readonly w: string; readonly t: number } & Positions)
  | ({ readonly type: 'sweep.done' | 'sweep.cancel' } & Positions)
  | ({ readonly type: 'sweep.skip' | 'sweep.fail'; readonly reason: string } & Positions)
  /** The worker is dead or silent: its claims are free. */
  | ({ readonly type: 'sweep.expire'; readonly w: string } & Positions)
  | { readonly type: 'sweep.reset'; readonly g: number; readonly states: readonly string[] }

export const SWEEP_PREFIX = 'sweep.'
