/** Of output that its reader has not taken yet: beyond it, the commands wait for the reader. */
const MOST_WAITING_BYTES = 1 << 20

const waiting = new WeakMap<NodeJS.WriteStream, Promise<void>>()

/** What to wait for before more is written to the stream, if anything. One pair of listeners for all who wait. */
export function drained(stream: NodeJS.WriteStream): Promise<void> | undefined {
  if (stream.writableLength < MOST_WAITING_BYTES) return undefined
  let promise = waiting.get(stream)
  if (promise === undefined) {
    promise = new Promise((resolve) => {
      const finish = (): void => {
        stream.off('drain', finish).off('close', finish)
        waiting.delete(stream)
        resolve()
      }
      stream.on('drain', finish).on('close', finish)
    })
    waiting.set(stream, promise)
  }
  return promise
}
