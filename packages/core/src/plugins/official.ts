/** An adapter that the project itself brings, or means to bring. */
export interface OfficialAdapter {
  readonly package: string
  /** False as long as the package is an empty place: then nobody is told to install it today. */
  readonly written: boolean
}

/** By `kind/name`. */
export const OFFICIAL_ADAPTERS: Readonly<Record<string, OfficialAdapter>> = {
  'scheduler/slurm': { package: '@cahier/adapter-slurm', written: true },
  'scheduler/oar': { package: '@cahier/adapter-oar-g5k', written: false },
  'scheduler/loadleveler': { package: '@cahier/adapter-loadleveler', written: false },
  'transfer/taktuk': { package: '@cahier/transfer-taktuk', written: true },
}
