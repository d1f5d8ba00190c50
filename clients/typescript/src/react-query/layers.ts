/**
 * Optimistic changes as layers over the data that the server gave: taking one off, or getting newer data from the server, never
 * takes anything away from the others.
 */

import { beneath } from '../query/bound.ts';
import {
  type CacheEvent,
  isUnder,
  type QueryClientLike,
  type QueryKey,
  type QueryLike,
  segmentsOf,
} from '../query/query-core.ts';

/** A change that is shown before the server has made it. */
export interface Layer {
  /** Of all queries whose keys begin like this. */
  readonly queryKey: QueryKey;
  /**
   * The data as it will be. Called again on newer data, which may have the change already: so set, don't add. `undefined`: as it is.
   */
  // biome-ignore lint/suspicious/noExplicitAny: the app knows what data is under the key
  update(data: any, queryKey: QueryKey): unknown;
}

interface Shown {
  /** What the server gave, and what it has confirmed. */
  base: unknown;
  /** What is shown. */
  top: unknown;
}

/** Layers of one query client. */
export class Layers {
  static readonly #all = new WeakMap<QueryClientLike, Layers>();

  readonly #layers: Layer[] = [];
  readonly #shown = new Map<QueryLike, Shown>();
  /** Data that came from here: when the library goes back to it, it isn't the server's. */
  readonly #own = new WeakSet<object>();
  #isWriting = false;
  #unsubscribe: (() => void) | undefined;

  static of(queryClient: QueryClientLike): Layers {
    const layers = Layers.#all.get(queryClient) ?? new Layers(queryClient);
    Layers.#all.set(queryClient, layers);
    return layers;
  }

  private constructor(private readonly queryClient: QueryClientLike) {}

  /** Puts layers on. What it returns takes them off, told whether the server has made the change; and tells which queries had them. */
  add(added: readonly Layer[]): (isConfirmed: boolean) => QueryLike[] {
    const cache = this.queryClient.getQueryCache();
    this.#layers.push(...added);
    this.#unsubscribe ??= cache.subscribe((event) => this.#hear(event as CacheEvent));
    beneath.set(this.queryClient, (change) => this.#below(change));
    for (const query of cache.getAll()) {
      this.#show(query, this.#shown.get(query)?.base ?? query.state.data);
    }
    return (isConfirmed) => this.#end(added, isConfirmed);
  }

  /** Lets data be changed as if there were no layers: what the change finds is what the server gave. */
  #below(change: () => void): void {
    for (const [query, { base }] of this.#shown) {
      this.#write(query, base);
    }
    this.#isWriting = true;
    try {
      change();
    } finally {
      this.#isWriting = false;
      for (const query of this.queryClient.getQueryCache().getAll()) {
        this.#show(query, query.state.data);
      }
    }
  }

  #end(ended: readonly Layer[], isConfirmed: boolean): QueryLike[] {
    for (const layer of ended) {
      this.#layers.splice(this.#layers.indexOf(layer), 1);
    }
    const concerned = [...this.#shown].filter(([query]) => layersOn(query, ended).length > 0);
    for (const [query, { base }] of concerned) {
      this.#show(query, isConfirmed ? put(layersOn(query, ended), query, base) : base);
    }
    if (this.#layers.length === 0) {
      this.#unsubscribe?.();
      this.#unsubscribe = undefined;
      beneath.delete(this.queryClient);
    }
    return concerned.map(([query]) => query);
  }

  #hear({ query, action }: CacheEvent): void {
    const { data } = query.state;
    const shown = this.#shown.get(query);
    if (this.#isWriting) {
      return;
    }
    if (action?.type === 'success') {
      this.#show(query, data);
    } else if (data !== shown?.top) {
      // A cancelled fetch puts back what was shown when it began.
      this.#show(query, shown && this.#own.has(data as object) ? shown.base : data);
    }
  }

  #show(query: QueryLike, base: unknown): void {
    const layers = layersOn(query, this.#layers);
    if (layers.length > 0 && base !== undefined) {
      const top = put(layers, query, base);
      this.#own.add(Object(top));
      this.#shown.set(query, { base, top });
      this.#write(query, top);
    } else if (this.#shown.delete(query)) {
      this.#write(query, base);
    }
  }

  #write(query: QueryLike, data: unknown): void {
    if (data !== query.state.data) {
      this.#isWriting = true;
      // Only the data: how fresh it is, and whether it is being fetched, stays as it is.
      query.setState({ data });
      this.#isWriting = false;
    }
  }
}

function layersOn({ queryKey }: QueryLike, layers: readonly Layer[]): Layer[] {
  return layers.filter((layer) => isUnder(queryKey, [layer.queryKey]));
}

function put(layers: readonly Layer[], { queryKey }: QueryLike, base: unknown): unknown {
  return layers.reduce((data, layer) => {
    try {
      return layer.update(data, segmentsOf(queryKey)) ?? data;
    } catch (thrown) {
      console.error(thrown);
      return data;
    }
  }, base);
}
