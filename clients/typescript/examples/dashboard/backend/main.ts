/**
 * The backend of the five applications. It keeps their data in memory, serves it by HTTP, publishes what changes, answers the
 * pages' requests and mints their tokens. What it needs of Fanfare stands in this file; the rest is the applications.
 */

import { createPublisher, createWorker } from '@fanfare/server';
import { mintToken } from '@fanfare/server/token';
import { Redis } from 'ioredis';
import type { Events, Methods } from '../src/contract.ts';
import { agency } from './apps/agency.ts';
import { auction } from './apps/auction.ts';
import { lab } from './apps/lab.ts';
import { shifts } from './apps/shifts.ts';
import { workshops } from './apps/workshops.ts';
import { Routes } from './http.ts';
import { Random } from './random.ts';
import type { World } from './world.ts';

const TENANT = 'acme';
const {
  HOST = '127.0.0.1',
  PORT = '4000',
  REDIS_URL = 'redis://127.0.0.1:6379',
  FANFARE_JWT_HS256_SECRET: secret = '',
  SEED = '7',
} = process.env;

const redis = new Redis(REDIS_URL);
redis.on('error', (error) => console.error('redis:', error.message));
const publisher = createPublisher<Events>({ redis });
const worker = createWorker<Methods>({ redis, tenants: [TENANT], group: 'dashboard' });
const routes = new Routes();
const random = new Random(Number(SEED));

const failed = (error: Error) => console.error('publish:', error.message);
const world: World = {
  routes,
  worker,
  random,
  publish: (topic, event) => void publisher.publish(TENANT, topic, { at: Date.now(), ...event }).catch(failed),
  publishDurable: (topic, event) =>
    void publisher.publish(TENANT, topic, { at: Date.now(), ...event }, { durable: true }).catch(failed),
  every(ms, change) {
    setTimeout(
      () => {
        change();
        world.every(ms, change);
      },
      ms * (0.5 + random.next()),
    );
  },
  after: (ms, change) => void setTimeout(change, ms),
};

for (const application of [workshops, lab, agency, auction, shifts]) application(world);

routes.get('/token', ({ user }) =>
  mintToken({
    secret,
    tenant: TENANT,
    user,
    channels: ['workshops', 'lab', 'agency', 'team:*', 'violations'],
    methods: ['dashboard.*', 'timers.update', 'bids.place'],
    expiresInS: 300,
    claims: { info: { name: user } },
  }),
);

// Whoever started this program (demo/run.js) can break things, so that recovery can be seen.
routes.post('/demo/:fault', ({ param }) => {
  process.send?.({ fault: param('fault') });
  return { asked: true };
});

await worker.start();
routes.server().listen(Number(PORT), HOST);

process.once('SIGTERM', async () => {
  await worker.stop({ timeoutMs: 500 });
  process.exit(0);
});
