/** One large file to one host: our stars against the scp of the system. */
import { interleave, plainRow } from '../measure.mjs'
import { digestOf, startLab, TARGET } from './kit.mjs'

/** @param {{ repeat: number, log: (line: string) => void, megabytes?: number }} options */
export async function measureSingle({ repeat, log, megabytes = 1000 }) {
  const bytes = megabytes * 1e6
  const lab = await startLab(1, { bytes: 2 * bytes })
  try {
    const path = await lab.file('image', bytes)
    const digest = await digestOf(path)
    const checked = (action) => async () => {
      await lab.prepare()
      const seconds = await action()
      await lab.verify(digest, 'image')
      return megabytes / seconds
    }
    const ours = (via) => checked(async () => (await lab.copy(path, via)).seconds)
    const rates = await interleave(
      repeat,
      {
        scp: ours('scp'),
        sftp: ours('sftp'),
        rsync: ours('rsync'),
        'system scp': checked(() => lab.each((address) => ['scp', '-q', '-F', lab.config, path, `${address}:${TARGET}/`])),
        'system rsync': checked(() => lab.each((address) => ['rsync', '-t', '-e', `ssh -F ${lab.config}`, path, `${address}:${TARGET}/`])),
      },
      log,
    )
    const title = `${megabytes} MB to one host: MB/s`
    const peer = rates['system scp']
    return ['scp', 'sftp', 'rsync']
      .map((via) => plainRow({ what: `${title} via ${via}, checked, against scp of the system`, ours: rates[via], peer, unit: 'MB/s' }))
      .concat([plainRow({ what: `${title}, rsync of the system against its scp`, ours: rates['system rsync'], peer, unit: 'MB/s' })])
  } finally {
    await lab.stop()
  }
}
