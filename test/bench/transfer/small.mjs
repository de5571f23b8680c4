/** Ten thousand small files to 8 hosts, against tar through ssh to all of them at once. */

import { join } from 'node:path'
import { makeRandom } from '../../drill/shared.mjs'
import { interleave, plainRow, ratioRow } from '../measure.mjs'
import { digestOfSmall, makeSmallFiles, startLab, TARGET } from './kit.mjs'

const HOSTS = 8
const FILES = 10_000

/** @param {{ repeat: number, log: (line: string) => void, seed: number }} options */
export async function measureSmall({ repeat, log, seed }) {
  const rows = []
  for (const rate of [undefined, '200mbit']) {
    const lab = await startLab(HOSTS, { rate, bytes: 9 * FILES * 8192 })
    try {
      log(rate === undefined ? 'without a limit' : `at ${rate}`)
      rows.push(...(await measure(lab, { repeat, log, seed, isLimited: rate !== undefined })))
    } finally {
      await lab.stop()
    }
  }
  return rows
}

async function measure(lab, { repeat, log, seed, isLimited }) {
  const folder = join(lab.folder, 'small')
  makeSmallFiles(folder, FILES, makeRandom(seed))
  const digest = digestOfSmall(folder)
  const checked = (action) => async () => {
    await lab.prepare()
    const seconds = await action()
    for (const { name, home } of lab.hosts) {
      if (digestOfSmall(join(home, TARGET, 'small')) !== digest) throw new Error(`${name} has something else`)
    }
    return seconds
  }
  const tar = (address) => ['sh', '-c', `tar -C ${lab.folder} -c small | ssh -F ${lab.config} ${address} 'tar -C ${TARGET} -x'`]
  const often = await interleave(
    repeat,
    {
      chain: checked(async () => (await lab.copy(folder, 'chain')).seconds),
      tar: checked(() => lab.each(tar)),
    },
    log,
  )
  const title = `${FILES} small files to ${HOSTS} hosts${isLimited ? ' at 200 Mbit/s' : ''}`
  const rows = [
    ratioRow({ what: `${title}: seconds, against tar | ssh tar`, ours: often.chain, peer: often.tar, better: 'lower', goal: 1.5 }),
  ]
  if (!isLimited) {
    const once = await interleave(
      1,
      {
        sftp: checked(async () => (await lab.copy(folder, 'sftp')).seconds),
        scp: checked(async () => (await lab.copy(folder, 'scp')).seconds),
        rsync: checked(async () => (await lab.copy(folder, 'rsync')).seconds),
        taktuk: checked(async () => (await lab.copy(folder, 'taktuk')).seconds),
      },
      log,
    )
    for (const [via, seconds] of Object.entries(once)) {
      rows.push(plainRow({ what: `${title}: via ${via}, against tar | ssh tar`, ours: seconds, peer: often.tar, unit: 's' }))
    }
  }
  return rows
}
