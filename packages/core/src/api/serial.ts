import { ConfigError } from '../errors.js'
import type { Connection, ConnectionOptions } from '../model/connection.js'
import type { HostSpec } from '../model/host.js'
import type { ProcessBackend } from '../ports/process-backend.js'
import { connectionOf, remoteBackend } from './connections.js'
import { Host } from './host.js'
import { Process } from './process.js'
import type { ProcessOptions } from './process-options.js'

export interface SerialOptions extends Omit<ProcessOptions, 'shell' | 'pty' | 'stdin'> {
  /** Bits per second. */
  readonly speed: number
  /** Where the device is; default: this machine. */
  readonly host?: string | HostSpec | undefined
  readonly connection?: ConnectionOptions | undefined
  /** More words for `stty`, after ours: `['crtscts']`, `['parenb']`. */
  readonly settings?: readonly string[]
}

/**
 * Nothing is changed in either direction, and the line is not waited for: `raw`, no echo, 8 bits, no parity, 1 stop bit.
 *
 * @source stty(1), GNU coreutils 9.1
 */
const SETTINGS = ['raw', '-echo', '-echoe', '-echok', '-echonl', '-iexten', 'cs8', '-parenb', '-cstopb', '-crtscts', 'clocal', 'cread']

/**
 * The line is set before the device is opened (an opening waits for a carrier unless `clocal` is set), and once more while it is open,
 * because some devices forget when nobody has them open. The end is the end of the device, or ours; the writer goes with it.
 */
const SCRIPT = `device=$1; shift
case $(uname) in Linux) f=-F;; *) f=-f;; esac
stty $f "$device" "$@" || exit
exec 3<>"$device" 4<&0 || exit
stty "$@" <&3 || exit
cat <&4 >&3 &
writer=$!
trap 'kill $writer 2>/dev/null' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP
cat <&3 &
wait $!`

/**
 * A serial line, here or on another host: what is written goes to the device, what comes from it is `stdout`. With `write` and `expect` a
 * console login is a few lines.
 *
 * ```ts
 * await using console = new Serial('/dev/ttyUSB0', { speed: 115_200, host: 'node1' }).start()
 * await console.write('\r')
 * await console.expect('login: ', { timeout: '10s' })
 * await console.write('root\r')
 * ```
 *
 * It runs until it is killed, or until the device goes away.
 */
export class Serial extends Process {
  override readonly host: Host | undefined
  readonly device: string
  readonly #connection: Connection

  /** @throws ConfigError `E_ARGUMENT` */
  constructor(device: string, options: SerialOptions) {
    const { speed, host, connection, settings = [], ...rest } = options
    if (!/^\/[^\0]+$/.test(device)) {
      throw new ConfigError('E_ARGUMENT', `${JSON.stringify(device)} is not a device`, { suggestions: ['Write it like /dev/ttyS0'] })
    }
    if (!Number.isInteger(speed) || speed <= 0) {
      throw new ConfigError('E_ARGUMENT', `the speed of a serial line is a number of bits per second, not ${speed}`)
    }
    const words = [...SETTINGS, String(speed), ...settings]
    super(['/bin/sh', '-c', SCRIPT, 'serial', device, ...words], { name: `serial ${device}`, ...rest, stdin: 'pipe' })
    this.device = device
    this.host = host === undefined || host instanceof Host ? host : new Host(host)
    this.#connection = connectionOf(connection)
  }

  protected override backend(): ProcessBackend {
    if (this.options.backend !== undefined || this.host === undefined) return super.backend()
    return remoteBackend(this.host, this.#connection)
  }
}
