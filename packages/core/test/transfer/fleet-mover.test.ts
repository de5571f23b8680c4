import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { CommandChannel, CommandEnd, Fleet } from '../../src/ports/fleet.js'
import type { PooledConnection } from '../../src/ssh/pooled-connection.js'
import { FleetMover } from '../../src/transfer/fleet/fleet-mover.js'
import type { ReachedHost } from '../../src/transfer/mover.js'
import { makeDeferred } from '../../src/util/async.js'
import { movedFile, moveOptions } from './host-lab.js'

/** One host that does nothing, in a fleet that is there when `begin` is called. */
function idleFleet() {
  const end = makeDeferred<CommandEnd>()
  const channel: CommandChannel = {
    listen() {},
    write: async () => {},
    end() {},
    pause() {},
    resume() {},
    closed: end.promise,
    close: () => end.resolve({ exitCode: undefined, signal: undefined, lost: undefined }),
  }
  const begun = makeDeferred<Fleet>()
  const pooled = {} as PooledConnection
  const mover = new FleetMover('tool', () => begun.promise, new Map([[pooled, 0]]), 1)
  const begin = (): void =>
    begun.resolve({
      ways: [Promise.resolve({ lost: new Promise(() => {}), exec: async () => channel })],
      together: async (commands) => ({
        channels: new Map([...commands.keys()].map((member) => [member, channel])),
        write: async () => {},
        end() {},
      }),
      async [Symbol.asyncDispose]() {},
    })
  return { mover, host: { host: { address: 'h1' }, pooled } as ReachedHost, begin, closed: end.promise }
}

describe('FleetMover', () => {
  it.each(['send', 'receive'] as const)(
    'lets go of a host that was given up before the tool was there: %s',
    async (way) => {
      const { mover, host, begin, closed } = idleFleet()
      const controller = new AbortController()
      const moving = mover[way](host, [movedFile(0, '/nothing', 1)], '/nowhere', moveOptions({ signal: controller.signal }))
      const ended = expect(moving).rejects.toThrow('enough')
      await turn()
      controller.abort(new Error('enough'))
      begin()
      await closed
      await ended
    },
    10_000,
  )
})
