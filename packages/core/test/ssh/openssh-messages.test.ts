import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { SshTarget } from '../../src/ssh/connection.js'
import { explainEnd, explainFailure, muxRefusal, reasonOfForward, stageOf } from '../../src/ssh/openssh-messages.js'

/** A recorded run without its first line, which names command and date. */
const recorded = (name: string): string => {
  const [first, ...lines] = readFileSync(new URL(`../transcripts/openssh-9.2/${name}.txt`, import.meta.url), 'utf8').split('\n')
  expect(first).toMatch(/^# .*\d{4}-\d\d-\d\d$/)
  return lines.join('\n')
}

const target: SshTarget = {
  name: 'node7',
  address: '10.0.0.7',
  port: 22,
  user: 'alice',
  hostKeys: 'strict',
  knownHostsFiles: ['/home/alice/.ssh/known_hosts'],
  keyFiles: [],
  agent: undefined,
  identitiesOnly: false,
  jumps: [],
  connectTimeoutMs: 2000,
  keepAliveMs: 10_000,
  openssh: { configFile: undefined, destination: 'node7', options: [] },
}
const at = 'node7 (10.0.0.7:22)'

describe('explainFailure', () => {
  it.each([
    ['publickey', true, 'it refused the key /k; it accepts keys only, and none of ours'],
    ['publickey,gssapi-with-mic', true, 'it refused the key /k; it accepts keys, but none of ours; or gssapi-with-mic'],
    ['publickey', false, 'we have no key to show; it accepts keys only'],
    ['publickey,hostbased', false, 'we have no key to show; it accepts keys; or hostbased'],
    ['hostbased', false, 'we have no key to show; it accepts hostbased'],
    ['', false, 'we have no key to show; it accepts nothing else'],
  ])('of a login says what is accepted: %s, key shown: %s', (methods, shown, end) => {
    const offer = shown ? 'debug1: Offering public key: /k ED25519 SHA256:abc explicit\n' : ''
    const error = explainFailure(target, `${offer}alice@10.0.0.7: Permission denied (${methods}).\n`)
    expect(error).toMatchObject({ code: 'E_LOGIN_REFUSED', message: `${at} does not let alice in: ${end}` })
  })

  it.each([
    ['refused', 'E_HOST_REFUSED', `${at} refused the connection: nothing listens there`],
    ['unknown-name', 'E_HOST_NAME', `${at} has a name that this machine does not know`],
    ['timed-out', 'E_HOST_TIMEOUT', `${at} did not answer within 2 s`],
    ['banner-silent', 'E_HOST_TIMEOUT', `${at} accepted the connection and said nothing within 2 s`],
    ['no-route', 'E_HOST_UNREACHABLE', `${at} cannot be reached: no way leads to this host`],
    ['network-unreachable', 'E_HOST_UNREACHABLE', `${at} cannot be reached: no way leads to its network`],
    [
      'key-unknown',
      'E_HOST_KEY_UNKNOWN',
      `${at} shows the ssh-ed25519 key SHA256:jKDbW+yd2LKRVEpWcm4V3a3E/Fpts5kkAL28121lqGY, and no key is known for it in /home/alice/.ssh/known_hosts`,
    ],
    [
      'key-changed',
      'E_HOST_KEY_CHANGED',
      `${at} shows the ssh-ed25519 key SHA256:jKDbW+yd2LKRVEpWcm4V3a3E/Fpts5kkAL28121lqGY, but another one is known for it`,
    ],
    [
      'key-revoked',
      'E_HOST_KEY_REVOKED',
      `${at} shows the ssh-ed25519 key SHA256:jKDbW+yd2LKRVEpWcm4V3a3E/Fpts5kkAL28121lqGY, which the known hosts revoke`,
    ],
    [
      'denied',
      'E_LOGIN_REFUSED',
      `${at} does not let alice in: it refused the key /tmp/recorded/id; it accepts keys only, and none of ours`,
    ],
    ['passphrase', 'E_LOGIN_NEEDED', `${at} wants the passphrase of enc of alice, and nobody can be asked`],
    ['too-many-keys', 'E_LOGIN_REFUSED', `${at} does not let alice in: too many keys were tried (k1, k2)`],
    [
      'open-key-file',
      'E_LOGIN_REFUSED',
      `${at} does not let alice in: we have no key to show; passed over: /tmp/recorded/idp (bad permissions); it accepts keys only`,
    ],
    ['no-key-exchange', 'E_HOST_PROTOCOL', `${at} shares no key exchange method with us`],
    ['not-ssh', 'E_HOST_PROTOCOL', `${at} does not speak ssh: it said "HTTP/1.1 400 Bad Request"`],
    ['closed-before-banner', 'E_HOST_DROPPED', `${at} closed the connection before it said anything`],
    ['reset-before-banner', 'E_HOST_DROPPED', `${at} closed the connection before it said anything`],
    ['exceeded-maxstartups', 'E_HOST_DROPPED', `${at} closed the connection before it said anything, saying "Exceeded MaxStartups"`],
    ['closed-in-handshake', 'E_HOST_DROPPED', `${at} closed the connection during the key exchange`],
    ['proxy-command', 'E_HOST_DROPPED', `${at} cannot be reached: its ProxyCommand ended before anything came through: exit 1`],
    [
      'bad-option',
      'E_SSH_CONFIG',
      `${at} cannot be reached: the ssh configuration is refused: badcfg: line 2: Bad configuration option: nosuchoption`,
    ],
  ])('reads %s', (name, code, message) => {
    const error = explainFailure(target, recorded(name))
    expect([error.code, error.message]).toEqual([code, message])
  })

  it('knows a socket name that is too long', () => {
    expect(explainFailure(target, recorded('socket-too-long'))).toMatchObject({ code: 'E_SSH_CONFIG' })
  })

  it.each(['closed-before-banner', 'reset-before-banner', 'exceeded-maxstartups', 'closed-in-handshake'])(
    'lets %s be tried again',
    (name) => {
      expect(explainFailure(target, recorded(name)).data['retry']).toBe(true)
    },
  )

  it.each(['refused', 'denied', 'key-changed', 'key-unknown', 'not-ssh', 'too-many-keys'])('does not let %s be tried again', (name) => {
    expect(explainFailure(target, recorded(name)).data['retry']).toBeUndefined()
  })

  it('lets a connection that is reset at once be tried again', () => {
    const log = 'ssh: connect to host 10.0.0.7 port 22: Connection reset by peer\n'
    expect(explainFailure(target, log)).toMatchObject({ code: 'E_HOST_DROPPED', data: { retry: true } })
  })

  it('says what was asked for when nobody answered', () => {
    const denied = 'alice@10.0.0.7: Permission denied (publickey,password).\n'
    const failed = { unanswered: ["alice@10.0.0.7's password:"], wrong: false }
    expect(explainFailure(target, denied, failed)).toMatchObject({
      code: 'E_LOGIN_NEEDED',
      message: expect.stringContaining('the password'),
    })
  })

  it('says that an answer was wrong', () => {
    const denied = 'alice@10.0.0.7: Permission denied (password).\n'
    expect(explainFailure(target, denied, { unanswered: [], wrong: true })).toMatchObject({
      code: 'E_LOGIN_REFUSED',
      message: expect.stringContaining('the answer was wrong'),
    })
  })

  it('wants a person where only a person can log in', () => {
    const denied = 'alice@10.0.0.7: Permission denied (keyboard-interactive).\n'
    expect(explainFailure(target, denied)).toMatchObject({ code: 'E_LOGIN_NEEDED' })
  })

  it('repeats the last line of what it does not know', () => {
    expect(explainFailure(target, 'debug1: x\nthe sky fell\ndebug1: y\n').message).toBe(`${at} could not be reached: the sky fell`)
    expect(explainFailure(target, '').message).toBe(`${at} could not be reached: ssh ended without a word`)
  })

  it('names the gateway that could not connect further', () => {
    const error = explainFailure(target, recorded('proxy-command'), {
      unanswered: [],
      wrong: false,
      way: { host: 'gate', reason: 'Connection refused' },
    })
    expect([error.code, error.message]).toEqual([
      'E_HOST_REFUSED',
      `${at} refused the connection: nothing listens there (as seen from gate)`,
    ])
  })
})

describe('what a master wrote', () => {
  it('holds the reason for each place that could not be connected to', () => {
    const log = recorded('master-forwards')
    expect(reasonOfForward(log, '127.0.0.1', 1)).toBe('Connection refused')
    expect(reasonOfForward(log, 'no-such-host.invalid', 22)).toBe('Name or service not known')
    expect(reasonOfForward(log, '127.0.0.1', 2)).toBeUndefined()
  })

  it.each([
    ['master-silent', `${at} is cut off: it gives no sign of life any more`],
    ['master-closed', `${at} is cut off: the other side closed the connection`],
  ])('tells why it ended: %s', (name, message) => {
    expect(explainEnd(target, recorded(name))).toMatchObject({ code: 'E_CONNECTION_LOST', message })
  })

  it('tells how far a login had come', () => {
    expect(['timed-out', 'banner-silent', 'closed-in-handshake', 'denied'].map((name) => stageOf(recorded(name)))).toEqual([
      'dial',
      'banner',
      'handshake',
      'login',
    ])
  })
})

describe('what a client of a master wrote', () => {
  it.each([
    ['mux-refused', 'sessions'],
    ['mux-gone', 'gone'],
    ['forward-refused', 'forward'],
    ['forward-unknown', 'forward'],
    ['refused', undefined],
  ])('%s means %s', (name, expected) => {
    expect(muxRefusal(recorded(name))).toBe(expected)
  })
})
