/** Network namespaces for hosts: one bridge, one cable per host, own addresses. Needs root. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { networkInterfaces } from 'node:os'

/** Second part of the addresses 10.x.0.0/16 of a bed. */
const NETWORKS = Array.from({ length: 60 }, (_, index) => 140 + index)

export const bridgeName = (net) => `cahier${net}`
export const cableName = (net, number) => `ca${net}v${number}`
export const namespaceName = (net, number) => `cahier${net}-${number}`
/** @param {number} net @param {number} number from 1 */
export const addressIn = (net, number) => `10.${net}.${Math.floor((number - 1) / 250)}.${((number - 1) % 250) + 1}`

/** This machine, for the hosts. @param {number} net */
export const gatewayOf = (net) => `10.${net}.255.254`

/** @param {readonly string[]} args @param {readonly string[]} [lines] for `-batch -` */
function ip(args, lines) {
  const { status, stderr, error } = spawnSync('ip', args, {
    input: lines === undefined ? '' : `${lines.join('\n')}\n`,
    encoding: 'utf8',
    env: { ...process.env, PATH: searchPath },
  })
  return status === 0 ? undefined : (stderr || error?.message || `ip ${args.join(' ')} failed`).trim()
}

export const searchPath = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`

/** @param {string | undefined} problem */
function check(problem) {
  if (problem !== undefined) throw new Error(`the network of the test hosts could not be made: ${problem}`)
}

/** Takes a free network by making its bridge; whoever is first has it. */
export function claimNetwork() {
  const taken = new Set(
    Object.values(networkInterfaces())
      .flat()
      .map((entry) => entry?.address.split('.').slice(0, 2).join('.')),
  )
  let last = 'no free network 10.140.0.0/16 to 10.199.0.0/16'
  // From anywhere on, so that what one bed has just left is not taken at once by the next: somebody may still look whether it is gone.
  const first = Math.floor(Math.random() * NETWORKS.length)
  for (const net of [...NETWORKS.slice(first), ...NETWORKS.slice(0, first)]) {
    if (taken.has(`10.${net}`) || existsSync(`/sys/class/net/${bridgeName(net)}`)) continue
    const problem = ip(['link', 'add', bridgeName(net), 'type', 'bridge', 'forward_delay', '0', 'stp_state', '0'])
    if (problem === undefined) return net
    last = problem
  }
  throw new Error(`the network of the test hosts could not be made: ${last}`)
}

/**
 * @param {number} net from {@link claimNetwork}
 * @param {readonly (string | undefined)[]} rates one per host
 */
export function buildNetwork(net, rates) {
  const bridge = bridgeName(net)
  const gateway = gatewayOf(net)
  const numbers = rates.map((_, index) => index + 1)
  check(
    ip(
      ['-batch', '-'],
      [
        `addr add ${gateway}/16 dev ${bridge}`,
        `link set ${bridge} up`,
        ...numbers.map((number) => `netns add ${namespaceName(net, number)}`),
        ...numbers.flatMap((number) => [
          `link add ${cableName(net, number)} type veth peer name eth0 netns ${namespaceName(net, number)}`,
          `link set ${cableName(net, number)} master ${bridge} up`,
        ]),
      ],
    ),
  )
  for (const number of numbers) {
    check(
      ip(
        ['-n', namespaceName(net, number), '-batch', '-'],
        [`addr add ${addressIn(net, number)}/16 dev eth0`, 'link set lo up', 'link set eth0 up', `route add default via ${gateway}`],
      ),
    )
    const rate = rates[number - 1]
    if (rate !== undefined) limit(net, number, rate)
  }
}

/** What goes out of the host, and on the other end of the cable what goes to it. */
function limit(net, number, rate) {
  const shape = ['root', 'tbf', 'rate', rate, 'burst', '128kb', 'latency', '50ms']
  for (const args of [
    ['-n', namespaceName(net, number), 'qdisc', 'add', 'dev', 'eth0', ...shape],
    ['qdisc', 'add', 'dev', cableName(net, number), ...shape],
  ]) {
    const { status, stderr } = spawnSync('tc', args, { encoding: 'utf8', env: { ...process.env, PATH: searchPath } })
    check(status === 0 ? undefined : `tc ${args.join(' ')}: ${stderr}`)
  }
}

/** Pulls the cable of a host, or puts it back. Both sides only hear nothing any more. */
export function setCable(net, number, isUp) {
  check(ip(['link', 'set', cableName(net, number), isUp ? 'up' : 'down']))
  // An address that was asked for in vain would be unreachable for one more connection.
  if (isUp) ip(['neigh', 'flush', 'dev', bridgeName(net)])
}

/** Removes everything of this network that is there. */
export function removeNetwork(net) {
  const spaces = list('/run/netns').filter((name) => name.startsWith(`cahier${net}-`))
  const cables = list('/sys/class/net').filter((name) => name.startsWith(`ca${net}v`))
  // A namespace whose last process has just been killed lingers: its cable goes first.
  ip(
    ['-force', '-batch', '-'],
    [...cables.map((name) => `link del ${name}`), ...spaces.map((name) => `netns del ${name}`), `link del ${bridgeName(net)}`],
  )
}

/** What is left of this network, for the test of the bed. @param {number} net */
export function namesOfNetwork(net) {
  return [
    ...list('/run/netns').filter((name) => name.startsWith(`cahier${net}-`)),
    ...list('/sys/class/net').filter((name) => name === bridgeName(net) || name.startsWith(`ca${net}v`)),
  ]
}

function list(directory) {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
