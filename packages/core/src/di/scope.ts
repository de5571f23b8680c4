import 'reflect-metadata'
import { container, type DependencyContainer } from 'tsyringe'
import { AdapterError, messageOf } from '../errors.js'

declare const SERVICE: unique symbol

/** The name of a service, with the type of what it gives. Equal in every copy of this module. */
export type Token<T> = symbol & { readonly [SERVICE]: T }

const PREFIX = '@cahier/core:'

/** Makes the token of a service; the same name gives the same token. */
export function token<T>(name: string): Token<T> {
  return Symbol.for(`${PREFIX}${name}`) as Token<T>
}

type Tokens = readonly Token<unknown>[]
type Services<D extends Tokens> = { [K in keyof D]: D[K] extends Token<infer T> ? T : never }

interface Binding {
  readonly token: Token<unknown>
  /** `undefined` for a value that was given. */
  readonly dependencies: Tokens | undefined
  readonly make: () => unknown
}

/**
 * A set of services that live and end together: one for the program, one inside it for each campaign.
 *
 * A service is made once, when it is first asked for, by the scope that binds it, out of services of that scope or of
 * the scopes around it. Dependencies are data, so {@link check} finds what is wrong before anything is made.
 */
export class Scope implements AsyncDisposable {
  readonly name: string
  readonly #parent: Scope | undefined
  readonly #container: DependencyContainer
  readonly #bindings: Binding[] = []
  readonly #children: Scope[] = []
  readonly #made = new Map<symbol, unknown>()
  readonly #making = new Set<symbol>()
  #end: Promise<void> | undefined

  constructor(name: string, parent?: Scope) {
    this.name = name
    this.#parent = parent
    // Never tsyringe's global container: each copy of tsyringe has its own.
    this.#container = (parent === undefined ? container : parent.#container).createChildContainer()
  }

  /** Opens a scope inside this one; it is disposed of with this one at the latest. */
  child(name: string): Scope {
    const child = new Scope(name, this)
    this.#children.push(child)
    return child
  }

  /** Says how a service is made: out of which others, by which function. */
  bind<T, const D extends Tokens>(service: Token<T>, dependencies: D, factory: (...services: Services<D>) => T): this {
    const make = (): T => factory(...(dependencies.map((dependency) => this.resolve(dependency)) as Services<D>))
    return this.#add({ token: service, dependencies, make })
  }

  /** Gives a service that exists already. Who made it also ends it. */
  bindValue<T>(service: Token<T>, value: T): this {
    return this.#add({ token: service, dependencies: undefined, make: () => value })
  }

  has(service: Token<unknown>): boolean {
    return this.#ownerOf(service) !== undefined
  }

  /**
   * Gives a service, and makes it if this is the first time.
   *
   * @throws AdapterError `E_WIRING` when it or one of its dependencies is not bound, depends on itself, or the scope has ended
   */
  resolve<T>(service: Token<T>): T {
    if (this.#end !== undefined) {
      throw new AdapterError('E_WIRING', `${nameOf(service)} was asked from the scope ${this.name}, which has ended`)
    }
    if (!this.has(service)) {
      throw new AdapterError('E_WIRING', `${nameOf(service)} is not bound in the scope ${this.#path()}`, {
        suggestions: [`Bind it: scope.bind(${nameOf(service)}, […], (…) => …)`],
        data: { service: nameOf(service), scope: this.#path() },
      })
    }
    return this.#container.resolve<T>(service)
  }

  /**
   * Looks for services that are needed and not bound, cycles and double bindings, here and in the scopes around.
   *
   * @throws AdapterError `E_WIRING` that names all of them
   */
  check(): void {
    const problems = [...this.#missing(), ...this.#cycles(), ...this.#doubles()]
    if (problems.length === 0) return
    throw new AdapterError('E_WIRING', `the services of the scope ${this.#path()} do not fit together: ${problems.join('; ')}`, {
      data: { problems },
    })
  }

  /** The services of this scope and of those around it, outermost first: one line each, with what it is made of. */
  describe(): string {
    const lines = this.#bindings.map(({ token: service, dependencies }) => {
      if (dependencies === undefined) return `  ${nameOf(service)} (given)`
      return dependencies.length === 0 ? `  ${nameOf(service)}` : `  ${nameOf(service)} <- ${dependencies.map(nameOf).join(', ')}`
    })
    const own = [`scope ${this.name}${this.#parent === undefined ? '' : ` in ${this.#parent.name}`}`, ...lines].join('\n')
    return this.#parent === undefined ? own : `${this.#parent.describe()}\n${own}`
  }

  /** Ends the scopes inside, then what this scope made, last made first. Each is tried; what failed is thrown at the end. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#end ??= this.#dispose()
    return this.#end
  }

  #add(binding: Binding): this {
    this.#bindings.push(binding)
    this.#container.register(binding.token, { useFactory: () => this.#get(binding) })
    return this
  }

  /** Our own cache: tsyringe's makes `undefined` again each time and forgets to dispose of what a factory made. */
  #get(binding: Binding): unknown {
    if (this.#made.has(binding.token)) return this.#made.get(binding.token)
    if (this.#making.has(binding.token)) {
      const path = [...this.#making, binding.token].map((service) => nameOf(service))
      throw new AdapterError('E_WIRING', `services need each other in a circle: ${path.join(' -> ')}`, { data: { path } })
    }
    this.#making.add(binding.token)
    try {
      const service = binding.make()
      this.#made.set(binding.token, service)
      return service
    } finally {
      this.#making.delete(binding.token)
    }
  }

  async #dispose(): Promise<void> {
    const errors: unknown[] = []
    const attempt = async (what: unknown): Promise<void> => {
      try {
        await disposeOf(what)
      } catch (error) {
        errors.push(error)
      }
    }
    for (const child of this.#children.toReversed()) await attempt(child)
    const given = new Set(this.#bindings.filter(({ dependencies }) => dependencies === undefined).map((binding) => binding.token as symbol))
    for (const [service, made] of [...this.#made].toReversed()) {
      if (!given.has(service)) await attempt(made)
    }
    if (errors.length === 1) throw errors[0]
    if (errors.length > 1) throw new AggregateError(errors, `services of ${this.name} did not end: ${errors.map(messageOf).join('; ')}`)
  }

  #ownerOf(service: symbol): Scope | undefined {
    if (this.#bindings.some((binding) => binding.token === service)) return this
    return this.#parent === undefined ? undefined : this.#parent.#ownerOf(service)
  }

  #chain(): readonly Scope[] {
    return this.#parent === undefined ? [this] : [...this.#parent.#chain(), this]
  }

  #path(): string {
    return this.#chain()
      .map((scope) => scope.name)
      .join('/')
  }

  #missing(): readonly string[] {
    return this.#chain().flatMap((scope) =>
      scope.#bindings.flatMap(({ token: service, dependencies = [] }) =>
        dependencies
          .filter((needed) => !scope.has(needed))
          .map((needed) => `${nameOf(service)} needs ${nameOf(needed)}, which is not bound`),
      ),
    )
  }

  #doubles(): readonly string[] {
    const owners = new Map<symbol, string[]>()
    for (const scope of this.#chain()) {
      for (const { token: service } of scope.#bindings) owners.set(service, [...(owners.get(service) ?? []), scope.name])
    }
    return [...owners]
      .filter(([, names]) => names.length > 1)
      .map(([service, names]) => `${nameOf(service)} is bound ${names.length} times (${names.join(', ')})`)
  }

  #cycles(): readonly string[] {
    const state = new Map<symbol, 'open' | 'closed'>()
    const found: string[] = []
    const visit = (scope: Scope, service: Token<unknown>, path: readonly symbol[]): void => {
      if (state.get(service) === 'closed') return
      if (state.get(service) === 'open') {
        const circle = [...path.slice(path.indexOf(service)), service].map((member) => nameOf(member))
        found.push(`${circle.join(' -> ')} is a circle`)
        return
      }
      state.set(service, 'open')
      const owner = scope.#ownerOf(service)
      const binding = owner === undefined ? undefined : owner.#bindings.find((candidate) => candidate.token === service)
      for (const needed of binding?.dependencies ?? []) visit(owner ?? scope, needed, [...path, service])
      state.set(service, 'closed')
    }
    for (const scope of this.#chain()) for (const { token: service } of scope.#bindings) visit(scope, service, [])
    return found
  }
}

function nameOf(service: symbol): string {
  return (service.description ?? 'a service without name').replace(PREFIX, '')
}

async function disposeOf(what: unknown): Promise<void> {
  if ((typeof what !== 'object' && typeof what !== 'function') || what === null) return
  const { [Symbol.asyncDispose]: endLater, [Symbol.dispose]: end } = what as {
    readonly [Symbol.asyncDispose]?: () => PromiseLike<void>
    readonly [Symbol.dispose]?: () => void
  }
  if (typeof endLater === 'function') await endLater.call(what)
  else if (typeof end === 'function') end.call(what)
}
