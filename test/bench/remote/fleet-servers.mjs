/** Very many hosts that are only one process: an ssh server on each of many loopback addresses, with real commands behind it. */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'

const { Server } = createRequire(new URL('../../../packages/core/package.json', import.meta.url))('ssh2')
const { addresses, hostKey, port } = JSON.parse(process.argv[2])

const server = new Server({ hostKeys: [hostKey], algorithms: { kex: ['curve25519-sha256'] } })
server.on('connection', (client) => {
  client.on('error', () => {})
  // Everybody who has a key may come in.
  client.on('authentication', (context) => (context.method === 'publickey' ? context.accept() : context.reject(['publickey'])))
  client.on('session', (accept) => {
    const session = accept()
    session.on('exec', (acceptExec, _reject, { command }) => {
      const channel = acceptExec()
      const child = spawn('/bin/sh', ['-c', command], { stdio: 'pipe', cwd: '/' })
      channel.pipe(child.stdin)
      child.stdout.pipe(channel, { end: false })
      child.stderr.pipe(channel.stderr, { end: false })
      child.stdin.on('error', () => {})
      channel.on('error', () => {})
      channel.on('close', () => child.stdin.destroy())
      child.on('close', (code, signal) => {
        if (signal === null) channel.exit(code)
        else channel.exit(signal.slice(3))
        channel.end()
      })
    })
  })
})
for (const address of addresses) {
  const listener = createServer((socket) => server.injectSocket(socket))
  await new Promise((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(port, address, resolve)
  })
}
process.stdout.write('listening\n')
process.stdin.on('end', () => process.exit(0)).resume()
