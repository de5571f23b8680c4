import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sshHostsUnavailable } from '../../../../test/testbed/ssh-hosts.mjs'
import { AgentPlace } from '../../src/transfer/agent/agent-place.js'
import { AgentSource } from '../../src/transfer/agent/agent-source.js'
import { HostAgent } from '../../src/transfer/agent/host-agent.js'
import { AgentLab, Events, framesOf, kindUnavailable, policyOf } from './agent-lab.js'
import { CONNECTORS, HostLab, sha256 } from './host-lab.js'

const reason = sshHostsUnavailable() ?? kindUnavailable('py') ?? kindUnavailable('pl')

describe.skipIf(reason !== undefined)(`agents on hosts with a real sshd${reason === undefined ? '' : ` (${reason})`}`, () => {
  let hosts: HostLab

  beforeAll(async () => {
    hosts = await HostLab.start(2)
  })
  afterAll(() => hosts?.[Symbol.asyncDispose]())

  describe.each(CONNECTORS)('over %s', (connector) => {
    it.each(['py', 'pl'] as const)('place and list files (%s)', async (kind) => {
      const target = hosts.newFolder()
      const reached = await hosts.reach('h1', { connector })
      await using agent = await HostAgent.start(reached, { kinds: [kind] })
      const place = new AgentPlace(agent)
      const content = randomBytes(100_000)
      const manifest = [{ kind: 'file', name: 'f', mode: 0o640, timeUs: 1_600_000_000_000_000, size: content.length } as const]
      const { parts } = await place.open({ manifest, directory: target, policy: policyOf(), partsId: 'abc' })
      writeFileSync(join(parts as string, '0'), content)
      expect(await place.commit([{ index: 0, sha256: sha256(content) }])).toEqual({ files: 1, failures: [], verified: 'sha256' })
      const source = new AgentSource(agent)
      expect((await source.list([join(target, 'f')], policyOf())).manifest).toEqual(manifest)
      expect(await source.digests([0])).toEqual([sha256(content)])
    })

    it('take a stream at the address at which their host is reached, and give it on', async () => {
      await using lab = new AgentLab()
      const content = randomBytes(3_000_000)
      const manifest = [{ kind: 'file', name: 'f', mode: 0o640, timeUs: 1_600_000_000_000_000, size: content.length } as const]
      const agents = [
        await HostAgent.start(await hosts.reach('h1', { connector }), { kinds: ['py'] }),
        await HostAgent.start(await hosts.reach('h2', { connector }), { kinds: ['pl'] }),
      ] as const
      const first = await lab.receive(agents[0], manifest, 65_536)
      const second = await lab.receive(agents[1], manifest, 65_536)
      const { words } = await agents[1].request('listen', ['tcp', '-'])
      expect(words[1]).toMatch(/^127\./)
      await agents[0].request('forward', [1, 'tcp', words[1] as string, words[0] as string])
      const link = await lab.link(first)
      await link.send(...framesOf(content, 65_536))
      link.end()
      expect(await second.events.find(/^(whole|bad)/)).toBe(`whole ${sha256(content)}`)
      await agents[1].request('commit', [], '0 -\n')
      expect(readFileSync(join(second.directory, 'f')).equals(content)).toBe(true)
      await Promise.all(agents.map((agent) => agent[Symbol.asyncDispose]()))
    })

    it('are lost with their connection, and keep the parts', async () => {
      const target = hosts.newFolder()
      const reached = await hosts.reach('h2', { connector })
      const agent = await HostAgent.start(reached)
      const events = new Events(agent)
      const manifest = [{ kind: 'file', name: 'f', mode: 0o640, timeUs: 1, size: 100 } as const]
      const { parts } = await new AgentPlace(agent).open({ manifest, directory: target, policy: policyOf(), partsId: 'abc' })
      writeFileSync(join(parts as string, '0'), 'half')
      hosts.bed.dropSessions('h2')
      expect(await agent.closed).toMatchObject({ code: expect.stringMatching(/^E_CONNECTION_LOST$|^E_COPY_LOST$/) })
      await expect(agent.request('ping', [])).rejects.toMatchObject({ code: expect.stringMatching(/LOST$/) })
      await hosts.newPool()
      expect(events.all).toEqual([])
      await using other = await HostAgent.start(await hosts.reach('h2', { connector }))
      // The one before ends as soon as it sees the end of its channel.
      await expect
        .poll(
          () => new AgentPlace(other).open({ manifest, directory: target, policy: policyOf(), partsId: 'abc' }).catch(() => undefined),
          {
            timeout: 30_000,
          },
        )
        .toMatchObject({ found: [{ state: 'part', bytes: 4 }] })
      expect(readdirSync(target)).toEqual(['.cahier-abc'])
    })
  })
})
