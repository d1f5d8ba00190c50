/** What happens to a world, in which order, and that it happens. */

import { vi } from 'vitest';
import { Random } from './random.ts';
import { arrive, NOW } from './time.ts';
import { World } from './world.ts';

/** One thing that happens. What exactly is drawn from its own seed, so that it stays the same when others are left out. */
export interface Step {
  readonly deed: keyof typeof DEEDS;
  readonly seed: number;
}

/** What happens: how often, compared with the others, and what it is. */
const DEEDS = {
  publish: [24, (world: World, draw: Random) => world.publish(draw)],
  traffic: [8, (world: World, draw: Random) => world.traffic(draw)],
  mount: [12, (world: World, draw: Random) => world.mount(draw)],
  unmount: [8, (world: World, draw: Random) => world.unmount(draw)],
  wait: [10, (world: World, draw: Random) => world.wait(draw)],
  look: [10, (world: World) => world.look()],
  drop: [5, (world: World, draw: Random) => world.around.drop(draw)],
  farewell: [2, (world: World, draw: Random) => world.around.farewell(draw)],
  freeze: [2, (world: World) => world.around.freeze()],
  thaw: [4, (world: World) => world.around.thaw()],
  stop: [1, (world: World) => world.around.stop()],
  start: [3, (world: World) => world.around.start()],
  block: [1, (world: World, draw: Random) => world.around.block(draw)],
  unblock: [1, (world: World) => world.around.unblock()],
  slow: [5, (world: World, draw: Random) => world.around.slow(draw)],
  trim: [2, (world: World, draw: Random) => world.around.trim(draw)],
  forget: [1, (world: World, draw: Random) => world.around.forget(draw)],
  gap: [1, (world: World, draw: Random) => world.around.gap(draw)],
  refuse: [2, (world: World, draw: Random) => world.around.refuse(draw)],
  allow: [3, (world: World) => world.around.allow()],
  refuseToken: [1, (world: World) => world.around.refuseToken()],
  expireTokens: [1, (world: World) => world.around.expireTokens()],
  token: [4, (world: World, draw: Random) => world.token(draw)],
  refreshToken: [4, (world: World) => world.refreshToken()],
  wake: [3, (world: World) => world.wake()],
  reconnect: [2, (world: World) => world.reconnect()],
  logout: [1, (world: World, draw: Random) => world.logout(draw)],
  login: [3, (world: World) => world.login()],
  request: [4, (world: World, draw: Random) => world.request(draw)],
  ownPublish: [5, (world: World, draw: Random) => world.ownPublish(draw)],
} satisfies Record<string, [weight: number, happens: (world: World, draw: Random) => unknown]>;

/** What shall happen. Each world has its own weather: some things are common there, and others are unknown. */
export function schedule(seed: number, length = 200): Step[] {
  const random = new Random(seed);
  const often = (weight: number) => (random.chance(0.3) ? 0 : weight * (1 + random.below(4)));
  const lots = Object.entries(DEEDS).flatMap(([deed, [weight]]) => new Array(often(weight)).fill(deed));
  return Array.from({ length }, () => ({ deed: random.pick(lots), seed: random.below(2 ** 31) }));
}

/** Lets it happen, heals everything, and lets everybody go. Needs fake timers. */
export async function live(seed: number, steps: readonly Step[]): Promise<Pick<World, 'transcript' | 'model'>> {
  // Loaded beforehand: what is loaded for the first time takes real time.
  await Promise.all([import('../../../src/sse.ts'), import('../../../src/presence.ts')]);
  vi.setSystemTime(NOW);
  const random = new Random(seed);
  vi.spyOn(Math, 'random').mockImplementation(random.next);
  vi.spyOn(console, 'error').mockImplementation(() => {});
  const world = new World(random);
  try {
    for (const { deed, seed: own } of steps) {
      const draw = new Random(own);
      await world.step(() => DEEDS[deed][1](world, draw));
      if (draw.chance(0.8)) {
        await arrive();
      }
    }
    await arrive();
    await world.heal(random);
    await world.end();
  } finally {
    vi.clearAllTimers();
    vi.restoreAllMocks();
  }
  return world;
}
