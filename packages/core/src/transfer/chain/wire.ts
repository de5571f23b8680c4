import type { Socket } from 'node:net'
import { messageOf } from '../../errors.js'
import type { SshChannel } from '../../ssh/connection.js'

/** What a link runs over: a socket, or a program on the host that passes bytes on. */
export interface Wire {
  /** A login shell has started it, and may have said something first. */
  readonly isProgram: boolean
  /** Given once, in the turn in which the wire was had. */
  listen(onData: (data: Buffer) => void): void
  /** Resolves when the bytes may be overwritten and there is room for more; rejects when the wire is closed. */
  write(buffers: readonly Buffer[]): Promise<void>
  end(): void
  destroy(): void
  /** Always resolves: with undefined after a good end, else with what happened. */
  readonly closed: Promise<string | undefined>
}

export function socketWire(socket: Socket): Wire {
  let reason: string | undefined
  const waiting = new Set<(error: Error) => void>()
  const closed = new Promise<string | undefined>((resolve) => {
    socket.on('error', (error) => {
      reason = messageOf(error)
    })
    socket.once('close', () => {
      for (const reject of waiting) reject(new Error(reason ?? 'the connection was closed'))
      resolve(reason)
    })
  })
  return {
    isProgram: false,
    listen: (onData) => void socket.on('data', onData),
    write: (buffers) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) throw new Error(reason ?? 'the connection was closed')
        waiting.add(reject)
        const onTaken = (error?: Error | null): void => {
          waiting.delete(reject)
          if (error) reject(error)
          else resolve()
        }
        socket.cork()
        buffers.forEach((buffer, at) => {
          socket.write(buffer, at === buffers.length - 1 ? onTaken : undefined)
        })
        socket.uncork()
      }),
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
    closed,
  }
}

/** A channel keeps what it cannot send at once: it gets bytes of its own. */
export function channelWire(channel: SshChannel): Wire {
  let errors = ''
  let isEnded = false
  return {
    isProgram: true,
    listen: (onData) =>
      channel.listen((stream, chunk) => {
        if (stream === 'stdout') onData(chunk)
        else errors = `${errors}${chunk.toString('utf8')}`.slice(-1000)
      }),
    write: (buffers) => channel.write(Buffer.concat(buffers)),
    end: () => {
      isEnded = true
      channel.end()
    },
    destroy: () => channel.close(),
    closed: channel.closed.then(({ exitCode, lost }) => {
      if (lost !== undefined) return lost.message
      const said = errors.trim().split('\n').at(-1) ?? ''
      return isEnded && exitCode === 0 ? undefined : said || `the program ended with exit code ${exitCode ?? 'unknown'}`
    }),
  }
}
