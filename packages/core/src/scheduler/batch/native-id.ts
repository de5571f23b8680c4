/** What a native id is made of: `1234`, an element `1234_7`, a member of a pack `1234/2` or `1234_7/2`; `1234_7;cluster` keeps its cluster. */
export interface NativeIdParts {
  /** The submission: `1234`, `1234;cluster`. */
  readonly base: string
  readonly element?: number
  readonly member?: number
}

const NATIVE_ID = /^([^_;/]+)(?:_(\d+))?(;[^/]*)?(?:\/(\d+))?$/

/** Takes a native id apart. A text of another form is the name of one job, whole. */
export function parseNativeId(nativeId: string): NativeIdParts {
  const [, number, element, cluster = '', member] = NATIVE_ID.exec(nativeId) ?? []
  if (number === undefined) return { base: nativeId }
  return {
    base: `${number}${cluster}`,
    ...(element === undefined ? {} : { element: Number(element) }),
    ...(member === undefined ? {} : { member: Number(member) }),
  }
}

/** `1234_7/2`: the second-next member of a pack, counted from 0. */
export function memberId(nativeId: string, member: number): string {
  return `${nativeId}/${member}`
}

/** The scheduler's own name of what a handle stands for: without the place in a pack. */
export function rowIdOf(nativeId: string): string {
  return parseNativeId(nativeId).member === undefined ? nativeId : nativeId.slice(0, nativeId.lastIndexOf('/'))
}
