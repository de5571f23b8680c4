import { execFileSync } from 'node:child_process'
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Identities } from '../../src/ssh/identities.js'
import { makeKey } from './fake-server.js'

const directory = mkdtempSync(join(tmpdir(), 'cahier-keys-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

let files = 0
function file(content: string, mode = 0o600): string {
  files += 1
  const path = join(directory, `id${files}`)
  writeFileSync(path, content)
  chmodSync(path, mode)
  return path
}

/** Gives these answers, one after the other, and counts the questions. */
function answers(...given: string[]) {
  const questions: string[] = []
  return {
    questions,
    ask: ({ text }: { text: string }) => {
      questions.push(text)
      return Promise.resolve(given.shift())
    },
  }
}

const sshKeygen = (process.env['PATH'] ?? '').split(delimiter).some((folder) => existsSync(join(folder, 'ssh-keygen')))
function keygen(...options: string[]): string {
  files += 1
  const path = join(directory, `id${files}`)
  execFileSync('ssh-keygen', ['-q', '-f', path, ...options], { stdio: 'ignore' })
  return path
}

describe('key files', () => {
  it('keep their order; those that are not there or that are the same key are left out', () => {
    const [one, two] = [makeKey(), makeKey('ecdsa')]
    const paths = [file(two.private), join(directory, 'absent'), file(one.private), file(two.private)]
    const { keys, passedOver } = new Identities().load(paths)
    expect(keys.map((key) => [key.file, key.type])).toEqual([
      [paths[0], 'ecdsa-sha2-nistp256'],
      [paths[2], 'ssh-ed25519'],
    ])
    expect(passedOver).toEqual([])
  })

  it('are read again when they change, and not before', () => {
    const identities = new Identities()
    const path = file(makeKey().private)
    const [first] = identities.load([path]).keys
    expect(identities.load([path]).keys[0]).toBe(first)
    writeFileSync(path, makeKey().private)
    utimesSync(path, 1, 1)
    expect(identities.load([path]).keys[0]?.publicKey).not.toEqual(first?.publicKey)
  })

  it.each<[string, () => string, RegExp, boolean]>([
    ['that others can read', () => file(makeKey().private, 0o640), /^its permissions 0640 let others read it$/, false],
    ['that are folders', () => directory, /^it is not a file$/, false],
    ['that hold no key', () => file('hello\n'), /^it is no key that can be used/, false],
    ['that are empty', () => file(''), /^it is no key that can be used/, false],
    ['that are cut', () => file(makeKey().private.slice(0, 120)), /^it is no key that can be used/, false],
    [
      'of a security token',
      () => file('sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAABAgM= me\n'),
      /security token, which needs the connector openssh/,
      true,
    ],
    [
      'that are certificates',
      () => file('ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIAABAgM= me\n'),
      /certificate, which needs the connector openssh/,
      true,
    ],
  ])('%s are passed over with the reason', (_, make, reason, needsOpenssh) => {
    const path = make()
    const { keys, passedOver } = new Identities().load([path])
    expect(keys).toEqual([])
    expect(passedOver).toEqual([{ file: path, reason: expect.stringMatching(reason), needsOpenssh }])
  })

  it('may hold the public half alone, for an agent', () => {
    const key = makeKey()
    const { keys } = new Identities().load([file(`${key.public} me@here\n`, 0o644)])
    expect(keys[0]).toMatchObject({ publicOnly: true, encrypted: false, type: 'ssh-ed25519' })
  })

  it('with a certificate beside them say so', () => {
    const path = file(makeKey().private)
    writeFileSync(`${path}-cert.pub`, '')
    expect(new Identities().load([path]).keys[0]?.certificate).toBe(true)
  })
})

describe('an encrypted key', () => {
  it('shows its public half before anybody is asked', () => {
    const key = makeKey('ed25519', 'pw')
    const prompts = answers()
    const [identity] = new Identities(prompts).load([file(key.private)]).keys
    expect(identity).toMatchObject({ encrypted: true, type: 'ssh-ed25519', unlocked: undefined })
    expect(identity?.publicKey.toString('base64')).toBe(key.public.split(' ')[1])
    expect(prompts.questions).toEqual([])
  })

  it('is asked for once, however many want it', async () => {
    const prompts = answers('pw')
    const identities = new Identities(prompts)
    const path = file(makeKey('ed25519', 'pw').private)
    const keys = await Promise.all(Array.from({ length: 64 }, () => identities.load([path]).keys[0]!.unlock()))
    expect(new Set(keys).size).toBe(1)
    expect(keys[0]?.isPrivateKey()).toBe(true)
    expect(prompts.questions).toEqual([`Passphrase of ${path}: `])
  })

  it('stays locked after three wrong answers, or when nobody answers', async () => {
    const path = file(makeKey('ed25519', 'pw').private)
    const prompts = answers('a', 'b', 'c', 'pw')
    expect(await new Identities(prompts).load([path]).keys[0]!.unlock()).toBeUndefined()
    expect(prompts.questions).toHaveLength(3)
    expect(await new Identities().load([path]).keys[0]!.unlock()).toBeUndefined()
  })
})

describe('formats', () => {
  const data = Buffer.from('to be signed')
  /** What signs with the file is what the file is. */
  async function check(path: string, passphrase?: string, hash: string | null = null): Promise<void> {
    const { keys, passedOver } = new Identities(answers(passphrase ?? '')).load([path])
    expect(passedOver).toEqual([])
    const key = await keys[0]!.unlock()
    const signature = key!.sign(data, hash ?? undefined)
    const type = key!.type
    expect(
      verify(
        type === 'ssh-rsa' ? (hash ?? 'sha1') : type === 'ssh-ed25519' ? null : 'sha256',
        data,
        createPublicKey(key!.getPublicPEM()),
        signature,
      ),
    ).toBe(true)
  }

  it.each<[string, 'rsa' | 'ec', 'pkcs1' | 'sec1' | 'pkcs8', string | undefined]>([
    ['RSA, PKCS#1', 'rsa', 'pkcs1', undefined],
    ['RSA, PKCS#1, encrypted', 'rsa', 'pkcs1', 'pw'],
    ['RSA, PKCS#8', 'rsa', 'pkcs8', undefined],
    ['RSA, PKCS#8, encrypted', 'rsa', 'pkcs8', 'pw'],
    ['ECDSA, SEC1', 'ec', 'sec1', undefined],
    ['ECDSA, PKCS#8', 'ec', 'pkcs8', undefined],
  ])('reads %s', async (_, kind, type, passphrase) => {
    const { privateKey } =
      kind === 'rsa' ? generateKeyPairSync('rsa', { modulusLength: 2048 }) : generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
    const secret = passphrase === undefined ? {} : { cipher: 'aes-256-cbc', passphrase }
    await check(file(privateKey.export({ type, format: 'pem', ...secret } as never).toString()), passphrase)
  })

  it.skipIf(!sshKeygen).each<[string, string[], string | undefined, string | undefined]>([
    ['ed25519', ['-t', 'ed25519', '-N', ''], undefined, undefined],
    ['ed25519, encrypted', ['-t', 'ed25519', '-N', 'a pass'], 'a pass', undefined],
    ['ecdsa', ['-t', 'ecdsa', '-N', ''], undefined, undefined],
    ['rsa with the newer signatures', ['-t', 'rsa', '-b', '2048', '-N', ''], undefined, 'sha512'],
    ['rsa as PEM, encrypted', ['-t', 'rsa', '-b', '2048', '-m', 'PEM', '-N', 'a pass'], 'a pass', undefined],
    ['rsa as PKCS8, encrypted', ['-t', 'rsa', '-b', '2048', '-m', 'PKCS8', '-N', 'a pass'], 'a pass', undefined],
  ])('reads what ssh-keygen writes: %s (needs ssh-keygen)', async (_, options, passphrase, hash) => {
    const path = keygen(...options)
    await check(path, passphrase, hash ?? null)
    const [identity] = new Identities().load([path]).keys
    expect(identity?.publicKey.toString('base64')).toBe(readFileSync(`${path}.pub`, 'utf8').split(' ')[1])
  })
})
