/** The numbers that the decisions of a chain hang on. Which must be larger than which is a test: plan-numbers.test.ts. */

// Whether a host is there.

/** Agents tell at most ten times a second what they have; who says nothing for so long is asked whether it is there. */
export const QUIET_MS = 1500
/** Who does not answer for so long is not waited for when nobody else wants anything. */
export const SILENT_MS = 6000
/** Who decides does so ten times a second; a longer gap means that this program itself stood still. */
export const LONGEST_GAP_MS = 500

// Whether a link works.

/** Over the ssh connection of a host: it is there, so this takes long only when the host does not answer. */
export const OWN_LINK_MS = 5000
/** A link over which nothing comes for so long although there is more has stalled: a packet that is lost twice costs a second. */
export const STALL_MS = 2000
/** The same where ten chunks would have come sooner. */
export const SHORTEST_STALL_MS = 1000
/** Each time it stalls again it gets twice as long, but no more than this part of the patience: others are to be tried, too. */
export const STALL_PART = 0.25
/** The same of links of this machine to a host that others could not serve either: a chunk may take long on a slow line. */
export const LAST_STALL_PART = 0.5
/** So many times a giver closes a link that has brought nothing, or brings what does not fit, before another is taken. */
export const TRIES = 3
/** The same for links that stall: each costs seconds. */
export const STALLED_TRIES = 2
/** So many hosts could not send to one, or one could not send to so many: then it is that one, and this machine sends. */
export const HOSTS_TRIED = 2
/** Where nobody is left, all are tried again after so long. */
export const RETRY_MS = 1000
/** So long this machine serves a host that others could not send to, before they try again; then twice as long. */
export const STAY_MS = 3000

// Whether a host is slow.

/** Rates are measured over so long: several tellings, and no longer than one is willing to wait behind a slow host. */
export const WINDOW_MS = 1400
/** A host is slow that takes less than this part of what it could get… */
export const SLOW_PART = 0.5
/** …for so long… */
export const SLOW_MS = 500
/** …and is so many chunks behind its giver: less may be on the way. */
export const SLOW_CHUNKS = 8
/** From another giver it takes so many times more: then it was not its fault. */
export const FASTER_PART = 1.5
/** A first host that takes less than this part of what the best one took is changed once more. */
export const SLOWER_FIRST_PART = 0.6
/** The first host is changed once for comparison when there is more than this to come. */
export const WORTH_A_TRIAL_MS = 10_000
/** A host that needs so long more is not waited for by one that is done. */
export const LONG_REST_MS = 2000
