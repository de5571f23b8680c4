/** One large file to 8 hosts, where every machine has a cable of 200 Mbit/s: what the cable allows, and what people use. */
import { interleave, plainRow, ratioRow } from '../measure.mjs'
import { digestOf, startLab, TARGET, taktukCommand } from './kit.mjs'

const HOSTS = 8
const RATE_MBIT = 200

/** @param {{ repeat: number, log: (line: string) => void, megabytes?: number }} options */
export async function measureCable({ repeat, log, megabytes = 100 }) {
  const bytes = megabytes * 1e6
  const lab = await startLab(HOSTS, { rate: `${RATE_MBIT}mbit`, bytes: (HOSTS + 1) * bytes })
  try {
    const path = await lab.file('image', bytes)
    const digest = await digestOf(path)
    const checked = (action) => async () => {
      await lab.prepare()
      const seconds = await action()
      await lab.verify(digest, 'image')
      return seconds
    }
    const target = `${TARGET}/image`
    const scp = checked(() => lab.each((address) => ['scp', '-q', '-F', lab.config, path, `${address}:${TARGET}/`]))
    const clush = checked(() =>
      lab.each((_, index) =>
        index > 0
          ? ['true']
          : ['clush', '-S', '-f', `${HOSTS}`, '-o', `-F ${lab.config}`, '-w', lab.addresses.join(','), '--copy', path, '--dest', TARGET],
      ),
    )
    const taktuk = (arrangement) =>
      checked(() => lab.each((_, index) => (index > 0 ? ['true'] : taktukCommand(lab, arrangement, path, target))))
    const chain = checked(async () => (await lab.copy(path, 'chain')).seconds)
    const often = await interleave(
      repeat,
      {
        chain,
        'chain, CLI': checked(() => lab.command('put', path, 'chain')),
        'taktuk -d 1': taktuk('1'),
        'taktuk static': taktuk('static'),
      },
      log,
    )
    // These take so long that a noisy second does not matter.
    const once = await interleave(1, { scp, clush }, log)
    const title = `${megabytes} MB to ${HOSTS} hosts at ${RATE_MBIT} Mbit/s`
    const best = Math.min(often['taktuk -d 1'], often['taktuk static'])
    const bound = (bytes * 8) / (RATE_MBIT * 1e6)
    return [
      ratioRow({ what: `${title}: seconds, against size / bandwidth`, ours: often.chain, peer: bound, better: 'lower', goal: 1.15 }),
      plainRow({ what: `${title}: the whole command, against size / bandwidth`, ours: often['chain, CLI'], peer: bound, unit: 's' }),
      ratioRow({ what: `${title}: times as fast as ${HOSTS} scp`, ours: 1 / often.chain, peer: 1 / once.scp, better: 'higher', goal: 7 }),
      plainRow({ what: `${title}: ${HOSTS} scp at once`, ours: once.scp, unit: 's' }),
      plainRow({ what: `${title}: clush --copy`, ours: once.clush, unit: 's' }),
      ratioRow({
        what: `${title}: times as fast as taktuk at its best`,
        ours: 1 / often.chain,
        peer: 1 / best,
        better: 'higher',
        goal: 1.7,
      }),
      plainRow({ what: `${title}: taktuk put -d 1`, ours: often['taktuk -d 1'], unit: 's' }),
      plainRow({ what: `${title}: taktuk put, static chain`, ours: often['taktuk static'], unit: 's' }),
    ]
  } finally {
    await lab.stop()
  }
}
