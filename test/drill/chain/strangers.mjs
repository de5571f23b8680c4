/** Clients that nobody invited, at the ports of agents. */
import { createHmac, randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { portsOf } from '../../testbed/proc.mjs'

/** What comes to an open door, by its name. @type {Record<string, (socket: import('node:net').Socket, random: () => number) => void>} */
const MANNERS = {
  garbage: (socket) => void socket.write(randomBytes(5000)),
  'another protocol': (socket) => void socket.write('GET / HTTP/1.1\r\nHost: there\r\n\r\n'),
  silence: () => {},
  'half a word': (socket) => void socket.write(randomBytes(7)),
  'gone at once': (socket) => void socket.destroy(),
  'half closed': (socket) => void socket.end(),
  // The right words, and a key of its own; the newest epoch there can be, and content behind it.
  'another key': (socket) => {
    socket.once('data', (greeting) => {
      const own = Buffer.concat([randomBytes(16), Buffer.from('ffffffff', 'hex')])
      const said = Buffer.concat([Buffer.from('client'), greeting.subarray(4, 20), own])
      socket.write(Buffer.concat([own, createHmac('sha256', randomBytes(32)).update(said).digest()]))
      const header = Buffer.alloc(12)
      header.writeUInt32BE(65_536, 0)
      socket.write(Buffer.concat([header, randomBytes(32), randomBytes(65_536)]))
    })
  },
}

/**
 * Knocks until it is told to stop. Returns how often.
 *
 * @param {() => { address: string, pid: number }[]} findAgents @param {() => number} random @param {AbortSignal} signal
 */
export async function knock(findAgents, random, signal) {
  const open = new Set()
  let times = 0
  while (!signal.aborted) {
    for (const { address, pid } of findAgents()) {
      for (const port of portsOf(pid)) {
        const manner = Object.values(MANNERS)[Math.floor(random() * Object.keys(MANNERS).length)]
        const socket = connect({ host: address, port })
        open.add(socket)
        times += 1
        socket.on('error', () => {}).once('close', () => open.delete(socket))
        socket.once('connect', () => manner(socket, random))
        socket.resume()
      }
    }
    await sleep(20)
  }
  for (const socket of open) socket.destroy()
  return times
}
