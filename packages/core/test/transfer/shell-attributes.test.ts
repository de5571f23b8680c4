import { chmodSync, lstatSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Manifest } from '../../src/transfer/manifest.js'
import { ShellPlace } from '../../src/transfer/shell/shell-place.js'
import { AgentLab, localHost, policyOf } from './agent-lab.js'

const TIME = 1_600_000_000_000_000
const file = (name: string, mode: number, timeUs = TIME) => ({ kind: 'file', name, mode, timeUs, size: 1 }) as const
const folder = (name: string, mode: number, timeUs = TIME) => ({ kind: 'directory', name, mode, timeUs }) as const

describe('modes and times on a host with a shell', () => {
  let lab: AgentLab
  let target: string
  beforeEach(() => {
    lab = new AgentLab()
    target = lab.newFolder()
  })
  afterEach(() => lab[Symbol.asyncDispose]())

  /** A program of the host that says something of its own about a file whose name or number ends so, and else does its work. */
  async function put(manifest: Manifest, faults: Readonly<Record<string, readonly [ends: string, says: string]>>) {
    const bin = lab.newFolder()
    for (const [program, [ends, says]] of Object.entries(faults)) {
      const text = `#!/bin/sh
bad=
for f in "$@"; do case $f in */${ends}) echo "${program}: $f: ${says}" >&2; bad=1 ;; -*|@*|[0-9]*) ;; *) set -- "$@" ;; esac; done
PATH=/usr/bin:/bin ${program} "$@" || exit 1
[ -z "$bad" ]
`
      writeFileSync(join(bin, program), text)
      chmodSync(join(bin, program), 0o755)
    }
    const host = localHost(lab.folder, { env: { PATH: `${bin}:/usr/bin:/bin` } })
    await using place = new ShellPlace(host)
    const { parts, found } = await place.open({ manifest, directory: target, policy: policyOf(), partsId: 'abc' })
    const arrived = manifest.flatMap(({ kind }, index) =>
      kind === 'file' && found[index]?.state === 'needed' ? [{ index, sha256: undefined }] : [],
    )
    for (const { index } of arrived) writeFileSync(join(parts!, String(index)), 'x')
    return await place.commit(arrived)
  }

  it.each([
    ['chmod', 'mode', 'Read-only file system', 'E_TARGET_DENIED'],
    ['chmod', 'mode', 'Input/output error', 'E_TRANSFER'],
    ['touch', 'time', 'Permission denied', 'E_TARGET_DENIED'],
  ] as const)('%s that fails is a failure of that file alone: its %s cannot be set (%s)', async (program, what, says, code) => {
    const { files, failures } = await put([file('a', 0o640), file('b', 0o640), file('c', 0o640)], { [program]: ['1', says] })
    expect(failures).toEqual([{ file: 'b', code, message: expect.stringContaining(`cannot set the ${what} of b: ${program}: `) }])
    expect(failures[0]?.message).toContain(says)
    expect(files).toBe(2)
    expect(readdirSync(target).sort()).toEqual(expect.arrayContaining(['a', 'c']))
    expect(readdirSync(target)).not.toContain('b')
    expect(statSync(join(target, 'c'))).toMatchObject({ mode: 0o100640, mtimeMs: TIME / 1000 })
  })

  it.each(['Operation not permitted', 'Function not implemented', 'Operation not supported', 'Invalid argument'])(
    'a file system that keeps neither has the content all the same (%s)',
    async (says) => {
      const { files, failures } = await put([file('a', 0o640), file('b', 0o640)], { chmod: ['1', says], touch: ['0', says] })
      expect({ files, failures }).toEqual({ files: 2, failures: [] })
      expect(readdirSync(target).sort()).toEqual(['a', 'b'])
    },
  )

  it('a new directory has its own, and one that was there may be somebody else’s', async () => {
    mkdirSync(join(target, 'old'))
    const manifest = [folder('old', 0o750), folder('new', 0o750), file('old/f', 0o600), file('new/f', 0o600)]
    const mine = await put(manifest, { chmod: ['new', 'Read-only file system'] })
    expect(mine).toMatchObject({ files: 2, failures: [{ file: 'new', code: 'E_TARGET_DENIED' }] })
    expect(lstatSync(join(target, 'old')).mode & 0o777).toBe(0o750)
    const again = await put([folder('old', 0o700), file('old/g', 0o600)], { chmod: ['old', 'Read-only file system'] })
    expect(again).toMatchObject({ files: 1, failures: [] })
  })

  it('what is the same there keeps a mode that cannot be set', async () => {
    await put([file('a', 0o640)], {})
    const { files, failures } = await put([file('a', 0o600)], { chmod: ['a', 'Read-only file system'] })
    expect({ files, failures }).toEqual({ files: 0, failures: [] })
  })
})
