import { copyFile, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { TransferResult } from '../../packages/core/src/model/transfer.js'
import type { TransferCall, TransferProgress, TransferRequest } from '../../packages/core/src/ports/transfer.js'
import { type Item, type Job, PlainTransfer, type Plan } from './plain-transfer.js'

export interface TransferMutant {
  /** What it does wrong. */
  readonly fault: string
  /** The case that must notice. */
  readonly caughtBy: string
  readonly make: (homes: ReadonlyMap<string, string>) => PlainTransfer
}

type Results = readonly TransferResult[]

const bytes = (path: string): Buffer => Buffer.from(path, 'latin1')

function changingRequest(change: (request: TransferRequest) => TransferRequest): TransferMutant['make'] {
  return (homes) =>
    new (class extends PlainTransfer {
      override put(request: TransferRequest, call?: TransferCall) {
        return super.put(change(request), call)
      }
      override get(request: TransferRequest, call?: TransferCall) {
        return super.get(change(request), call)
      }
    })(homes)
}

function changingCall(change: (call: TransferCall) => TransferCall): TransferMutant['make'] {
  return (homes) =>
    new (class extends PlainTransfer {
      override put(request: TransferRequest, call: TransferCall = {}) {
        return super.put(request, change(call))
      }
    })(homes)
}

function changingResults(change: (results: Results) => Results): TransferMutant['make'] {
  return (homes) =>
    new (class extends PlainTransfer {
      override async put(request: TransferRequest, call?: TransferCall) {
        return change(await super.put(request, call))
      }
      override async get(request: TransferRequest, call?: TransferCall) {
        return change(await super.get(request, call))
      }
    })(homes)
}

const changingEach = (change: (result: TransferResult) => TransferResult) => changingResults((results) => results.map(change))

function changingPlan(change: (plan: Plan) => Plan): TransferMutant['make'] {
  return (homes) =>
    new (class extends PlainTransfer {
      override async gather(files: readonly string[], policy: TransferRequest['policy']) {
        return change(await super.gather(files, policy))
      }
    })(homes)
}

const changingPolicy = (fields: Partial<TransferRequest['policy']>) =>
  changingRequest((request) => ({ ...request, policy: { ...request.policy, ...fields } }))

function surveying(survey: (item: Item, final: string, state: string) => string | Promise<string>): TransferMutant['make'] {
  return (homes) =>
    new (class extends PlainTransfer {
      override async survey(job: Job, item: Item, final: string) {
        return survey(item, final, await super.survey(job, item, final))
      }
    })(homes)
}

const isThere = (path: string): Promise<boolean> =>
  stat(bytes(path)).then(
    () => true,
    () => false,
  )

/** Writes straight to the final name. */
class InPlace extends PlainTransfer {
  override async bring(job: Job, item: Item, final: string) {
    await rm(bytes(final), { force: true })
    await this.content(job, item, final, 0)
    await this.check(job, item, final)
    await this.dress(final, item)
    return 0
  }
}

export const transferMutants: readonly TransferMutant[] = [
  {
    fault: 'writes under the final name from the first byte on',
    caughtBy: 'transfer-abort',
    make: (homes) => new InPlace(homes),
  },
  {
    fault: 'writes into the file that is there',
    caughtBy: 'transfer-replace',
    make: (homes) =>
      new (class extends InPlace {
        override async content(job: Job, item: Item, path: string, from: number) {
          await using source = await open(bytes(item.path))
          await using target = await open(bytes(path), 'a')
          await this.pump(job, source, target, from)
        }
        override async bring(job: Job, item: Item, final: string) {
          if (await isThere(final)) await (await open(bytes(final), 'w')).close()
          await this.content(job, item, final, 0)
          await this.dress(final, item)
          return 0
        }
      })(homes),
  },
  {
    fault: 'writes over what others have open',
    caughtBy: 'transfer-replace-readers',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async bring(job: Job, item: Item, final: string) {
          const kept = `${job.parts}/kept`
          await super.bring(job, item, kept)
          await copyFile(bytes(kept), bytes(final))
          await this.dress(final, item)
          return 0
        }
      })(homes),
  },
  {
    fault: 'takes the old file away first',
    caughtBy: 'transfer-abort-old',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async bring(job: Job, item: Item, final: string) {
          await rm(bytes(final), { force: true })
          return super.bring(job, item, final)
        }
      })(homes),
  },
  {
    fault: 'writes through a link at the final name',
    caughtBy: 'transfer-replace-link',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async bring(job: Job, item: Item, final: string) {
          const kept = `${job.parts}/kept`
          await super.bring(job, item, kept)
          if (await isThere(final)) await copyFile(bytes(kept), bytes(final))
          else await rename(bytes(kept), bytes(final))
          return 0
        }
      })(homes),
  },
  {
    fault: 'places what it has not looked at again',
    caughtBy: 'transfer-source-changing',
    make: (homes) =>
      new (class extends PlainTransfer {
        override check() {
          return Promise.resolve()
        }
      })(homes),
  },
  {
    fault: 'trusts parts of an earlier transfer',
    caughtBy: 'transfer-resume-damaged',
    make: (homes) =>
      new (class extends PlainTransfer {
        override check() {
          return Promise.resolve()
        }
      })(homes),
  },
  {
    fault: 'goes on with the parts of another source',
    caughtBy: 'transfer-resume-changed',
    make: (homes) =>
      new (class extends PlainTransfer {
        override partsOf(root: string) {
          return `${root}/.cahier-parts`
        }
      })(homes),
  },
  {
    fault: 'begins again after every interruption',
    caughtBy: 'transfer-resume',
    make: (homes) =>
      new (class extends PlainTransfer {
        override leave(job: Job) {
          return super.leave(job, false)
        }
      })(homes),
  },
  {
    fault: 'keeps parts that nobody wants',
    caughtBy: 'transfer-abort-no-parts',
    make: changingPolicy({ resume: true }),
  },
  {
    fault: 'leaves its parts behind',
    caughtBy: 'transfer-file',
    make: (homes) =>
      new (class extends PlainTransfer {
        override leave(job: Job) {
          return super.leave(job, true)
        }
      })(homes),
  },
  {
    fault: 'forgets times',
    caughtBy: 'transfer-times',
    make: (homes) =>
      new (class extends PlainTransfer {
        override dress(path: string, item: Item) {
          return super.dress(path, { ...item, time: Date.now() / 1000 })
        }
      })(homes),
  },
  {
    fault: 'gives directories their time before their content',
    caughtBy: 'transfer-times',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async dress(path: string, item: Item) {
          await super.dress(path, item)
          if (item.kind === 'directory') await super.dress(path, { ...item, time: Math.floor(item.time) + 7 })
        }
      })(homes),
  },
  {
    fault: 'forgets modes',
    caughtBy: 'transfer-modes',
    make: (homes) =>
      new (class extends PlainTransfer {
        override dress(path: string, item: Item) {
          return super.dress(path, { ...item, mode: item.kind === 'file' ? 0o644 : 0o755 })
        }
      })(homes),
  },
  {
    fault: 'leaves the mode of what it does not move',
    caughtBy: 'transfer-again-mode',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async dress(path: string, item: Item) {
          if (item.kind === 'directory' || path.includes('/.cahier-')) await super.dress(path, item)
        }
      })(homes),
  },
  {
    fault: 'follows links',
    caughtBy: 'transfer-links-keep',
    make: changingPolicy({ links: 'follow' }),
  },
  {
    fault: 'keeps links that are to be followed',
    caughtBy: 'transfer-links-follow',
    make: changingPolicy({ links: 'keep' }),
  },
  {
    fault: 'leaves links out without a word',
    caughtBy: 'transfer-links-skip',
    make: changingPlan((plan) => ({ ...plan, leftOut: [] })),
  },
  {
    fault: 'leaves special files out without a word',
    caughtBy: 'transfer-special-skip',
    make: changingPlan((plan) => ({ ...plan, leftOut: [] })),
  },
  {
    fault: 'leaves out what is to be refused',
    caughtBy: 'transfer-special-refuse',
    make: changingPolicy({ special: 'skip' }),
  },
  {
    fault: 'leaves out directories without files',
    caughtBy: 'transfer-empty-directory-alone',
    make: changingPlan((plan) => ({ ...plan, items: plan.items.some(({ kind }) => kind === 'file') ? plan.items : [] })),
  },
  {
    fault: 'leaves out empty files',
    caughtBy: 'transfer-empty',
    make: changingPlan((plan) => ({ ...plan, items: plan.items.filter(({ kind, size }) => kind !== 'file' || size > 0) })),
  },
  {
    fault: 'stops after 256 things',
    caughtBy: 'transfer-many',
    make: changingPlan((plan) => ({ ...plan, items: plan.items.slice(0, 256) })),
  },
  {
    fault: 'takes the first source only',
    caughtBy: 'transfer-files',
    make: changingRequest((request) => ({ ...request, files: request.files.slice(0, 1) })),
  },
  {
    fault: 'trims names',
    caughtBy: 'transfer-names',
    make: changingPlan((plan) => ({ ...plan, items: plan.items.map((item) => ({ ...item, name: item.name.trim() || 'x' })) })),
  },
  {
    fault: 'mends names that are no UTF-8',
    caughtBy: 'transfer-name-bytes',
    make: changingPlan((plan) => ({
      ...plan,
      items: plan.items.map((item) => ({ ...item, name: Buffer.from(bytes(item.name).toString()).toString('latin1') })),
    })),
  },
  {
    fault: 'ignores the new name',
    caughtBy: 'transfer-as',
    make: changingRequest((request) => ({ ...request, policy: { ...request.policy, as: undefined } })),
  },
  {
    fault: 'lets the last of two sources with one name win',
    caughtBy: 'transfer-same-name',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async gather(files: readonly string[], policy: TransferRequest['policy']) {
          const plans = await Promise.all(files.map((one) => super.gather([one], policy)))
          return { items: plans.flatMap(({ items }) => items), leftOut: plans.flatMap(({ leftOut }) => leftOut) }
        }
      })(homes),
  },
  {
    fault: 'moves what is there already',
    caughtBy: 'transfer-again',
    make: surveying((item, _final, state) => (item.kind === 'file' && state === 'same' ? 'needed' : state)),
  },
  {
    fault: 'removes what its source does not have',
    caughtBy: 'transfer-again-part',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async enter(job: Job) {
          await super.enter(job)
          for (const name of await readdir(job.root)) if (name === 'other') await rm(join(job.root, name))
        }
      })(homes),
  },
  {
    fault: 'takes the same size for the same content',
    caughtBy: 'transfer-again-size',
    make: surveying(async (item, final, state) => {
      const found = await stat(bytes(final)).catch(() => undefined)
      return item.kind === 'file' && found?.isFile() && found.size === item.size ? 'same' : state
    }),
  },
  {
    fault: 'takes the same time for the same content',
    caughtBy: 'transfer-again-size',
    make: surveying(async (item, final, state) => {
      const found = await stat(bytes(final)).catch(() => undefined)
      return found !== undefined && Math.abs(found.mtimeMs / 1000 - item.time) < 1e-5 ? 'same' : state
    }),
  },
  {
    fault: 'looks at size and time where digests are asked for',
    caughtBy: 'transfer-checksum',
    make: changingPolicy({ checksum: false }),
  },
  {
    fault: 'removes a directory that stands in the way',
    caughtBy: 'transfer-kind-directory',
    make: surveying(async (item, final, state) => {
      if (item.kind === 'file' && state !== 'same') await rm(bytes(final), { recursive: true, force: true })
      return item.kind === 'file' && state !== 'same' ? 'needed' : state
    }),
  },
  {
    fault: 'removes a file that stands in the way',
    caughtBy: 'transfer-kind-file',
    make: surveying(async (item, final, state) => {
      if (item.kind !== 'directory' || state === 'same') return state
      await rm(bytes(final), { force: true })
      return 'needed'
    }),
  },
  {
    fault: 'swallows the failure of a file',
    caughtBy: 'transfer-kind-directory',
    make: changingEach((result) => {
      if (result.failures === undefined) return result
      const { failures: _failures, error: _error, ...rest } = result
      return { ...rest, outcome: 'done', verified: 'sha256' }
    }),
  },
  {
    fault: 'makes directories that nobody asked for',
    caughtBy: 'transfer-target-missing',
    make: changingPolicy({ create: true }),
  },
  {
    fault: 'makes no directories',
    caughtBy: 'transfer-target-create',
    make: changingPolicy({ create: false }),
  },
  {
    fault: 'begins relative names somewhere else',
    caughtBy: 'transfer-target-home',
    make: (homes) =>
      new (class extends PlainTransfer {
        override homeOf(end: TransferRequest['ends'][number]) {
          return join(super.homeOf(end), 'elsewhere')
        }
      })(homes),
  },
  {
    fault: 'goes to the hosts before it looks at the sources',
    caughtBy: 'transfer-source-missing',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async put(request: TransferRequest, call?: TransferCall) {
          if (request.policy.create) for (const { directory } of request.ends) await mkdir(directory, { recursive: true })
          return super.put(request, call)
        }
      })(homes),
  },
  {
    fault: 'takes a missing source for a failure of every host',
    caughtBy: 'transfer-source-missing',
    make: (homes) =>
      new (class extends PlainTransfer {
        override put(request: TransferRequest, call: TransferCall = {}) {
          return this.all(request, call, false, () => this.gather(request.files.map(String), request.policy))
        }
      })(homes),
  },
  {
    fault: 'leaves out what it cannot read',
    caughtBy: 'transfer-source-unreadable',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async gather(files: readonly string[], policy: TransferRequest['policy']) {
          return super.gather(files, policy).catch(() => ({ items: [], leftOut: [] }))
        }
      })(homes),
  },
  {
    fault: 'throws when one host is not there',
    caughtBy: 'transfer-unreachable',
    make: changingResults((results) => {
      if (results.some(({ outcome }) => outcome === 'unreachable')) throw new Error('a host is not there')
      return results
    }),
  },
  {
    fault: 'gives results in the order in which hosts were ready',
    caughtBy: 'transfer-unreachable',
    make: changingResults((results) => [...results].sort((a) => (a.outcome === 'unreachable' ? -1 : 1))),
  },
  {
    fault: 'forgets hosts that were not reached',
    caughtBy: 'transfer-unreachable',
    make: changingResults((results) => results.filter(({ outcome }) => outcome !== 'unreachable')),
  },
  {
    fault: 'takes a lost connection for the end of the file',
    caughtBy: 'transfer-dropped',
    make: changingEach((result) => {
      if (result.outcome !== 'unreachable') return result
      const { error: _error, ...rest } = result
      return { ...rest, outcome: 'done', verified: 'sha256' }
    }),
  },
  {
    fault: 'gives all up when the programs of one host are killed',
    caughtBy: 'transfer-workers-killed',
    make: (homes) =>
      new (class extends PlainTransfer {
        override breakHost() {
          for (const address of ['h1', 'h2', 'h3']) super.breakHost(address)
        }
      })(homes),
  },
  {
    fault: 'begins what was given up before',
    caughtBy: 'transfer-abort-before',
    make: changingCall(({ signal: _signal, ...call }) => call),
  },
  {
    fault: 'says done of what did not fit',
    caughtBy: 'transfer-full',
    make: changingEach((result) => {
      if (result.outcome !== 'failed') return result
      const { failures: _failures, error: _error, ...rest } = result
      return { ...rest, outcome: 'done', verified: 'sha256' }
    }),
  },
  {
    fault: 'has no word for a directory that cannot be written',
    caughtBy: 'transfer-read-only',
    make: changingEach((result) => {
      const { error } = result
      return error?.code === 'E_TARGET_DENIED' ? { ...result, error: { ...error, code: 'E_TRANSFER' } } : result
    }),
  },
  {
    fault: 'brings every result home into one directory',
    caughtBy: 'transfer-get-several',
    make: (homes) =>
      new (class extends PlainTransfer {
        override get(request: TransferRequest, call?: TransferCall) {
          const directory = request.ends[0]?.directory ?? ''
          return super.get({ ...request, ends: request.ends.map((end) => ({ ...end, directory })) }, call)
        }
      })(homes),
  },
  {
    fault: 'takes a file that is not there for none',
    caughtBy: 'transfer-get-missing',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async gather(files: readonly string[], policy: TransferRequest['policy']) {
          const there = await Promise.all(files.map(isThere))
          return super.gather(
            files.filter((_, index) => there[index]),
            policy,
          )
        }
      })(homes),
  },
  {
    fault: 'takes a pattern that fits nothing for no files',
    caughtBy: 'transfer-get-nothing-fits',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async expand(path: string, isPattern: boolean) {
          const found = await super.expand(path, isPattern)
          return found.filter((one) => !one.includes('*'))
        }
      })(homes),
  },
  {
    fault: 'takes a name for a pattern',
    caughtBy: 'transfer-get-pattern',
    make: (homes) =>
      new (class extends PlainTransfer {
        override async expand(path: string, isPattern: boolean) {
          if (!path.endsWith('what?')) return super.expand(path, isPattern)
          return [path, path.replace(/[?]$/, 'x')]
        }
      })(homes),
  },
  {
    fault: 'says nothing about checks',
    caughtBy: 'transfer-file',
    make: changingEach((result) => ({ ...result, verified: 'none' })),
  },
  {
    fault: 'counts what was there before as moved',
    caughtBy: 'transfer-again',
    make: changingEach((result) => ({ ...result, files: result.files + result.same, same: 0 })),
  },
  {
    fault: 'never says that it is over',
    caughtBy: 'transfer-progress',
    make: changingProgress((progress, tell) => {
      if (progress.phase !== 'ended') tell(progress)
    }),
  },
  {
    fault: 'says twice that it is over',
    caughtBy: 'transfer-progress',
    make: changingProgress((progress, tell) => {
      tell(progress)
      if (progress.phase === 'ended') tell(progress)
    }),
  },
  {
    fault: 'counts a part twice in its progress',
    caughtBy: 'transfer-progress',
    make: changingProgress((progress, tell) => tell({ ...progress, bytes: progress.bytes * 2 })),
  },
  {
    fault: 'ignores the limit',
    caughtBy: 'transfer-limit',
    make: changingRequest((request) => ({ ...request, policy: { ...request.policy, limit: undefined } })),
  },
]

function changingProgress(
  change: (progress: TransferProgress, tell: (progress: TransferProgress) => void) => void,
): TransferMutant['make'] {
  return changingCall((call) => ({ ...call, onProgress: (progress) => change(progress, (told) => call.onProgress?.(told)) }))
}
