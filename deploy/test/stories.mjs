/**
 * What must hold of docker-compose.yml while things fail: clients come through the balancer, each is on a channel of durable
 * events that are numbered, and none may miss one, or get one twice. OUTAGE_S says how long Redis is away.
 */

import { Crowd } from './crowd.mjs';
import { Feed } from './feed.mjs';
import { addressOf, compose, connectionsOf, containersOf, crash, docker, inspect, nodesOfBalancer, nodesUp } from './stack.mjs';
import { say, sleep, until } from './until.mjs';

const { FANFARE_PORT, OUTAGE_S = '10' } = process.env;
const CLIENTS = 300;
const CHANNELS = 10;
/** So many have no network when Redis dies, and get what they missed from its file. */
const AWAY = 50;

const [redis] = await containersOf('redis');
const host = await addressOf(redis, 'backplane');
await until('two nodes get clients', async () => (await nodesUp()) === 2);
say('two nodes are in the balancer');

const [first, second] = await containersOf('node');
const token = await docker('exec', first, '/usr/local/bin/fanfare', 'token', '--tenant', 'acme', '--user', '42', '--channels', '**');
const crowd = new Crowd({ url: `ws://127.0.0.1:${FANFARE_PORT}/ws`, token, size: CLIENTS, channels: CHANNELS });
await everybodyIsThere();
const feed = new Feed({ host, channels: CHANNELS, everyMs: 25 });
await until('events flow', () => feed.published > CHANNELS);
await anEventStreamFlows();

await story('a node dies, and Docker starts it again', async () => {
  const before = await inspect(first, '{{.State.StartedAt}}');
  await crash(first);
  await until('its clients are gone', () => crowd.live < CLIENTS);
  await until('Docker has started it', async () => (await inspect(first, '{{.State.StartedAt}}')) !== before);
  await until('two nodes get clients', async () => (await nodesUp()) === 2);
});

await story('one more node is found by the balancer', async () => {
  await compose('up', '--detach', '--no-build', '--no-recreate', '--scale', 'node=3', 'node');
  await until('three nodes get clients', async () => (await nodesUp()) === 3);
});
const third = (await containersOf('node'))[2];

await story('a node is stopped: it sends its clients to the others, and ends within its grace', async () => {
  const begun = performance.now();
  await docker('stop', second);
  const code = await inspect(second, '{{.State.ExitCode}}');
  say(`it took ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  demand(code === '0', `it ended with ${code}`);
  await everybodyIsThere();
  demand((await connectionsOf(third)) > 0, 'the third node has got nobody');
  await docker('start', second);
  await until('three nodes get clients', async () => (await nodesUp()) === 3);
});

await story(`Redis dies, is away for ${OUTAGE_S} s, and comes back with its data: no node leaves the balancer`, async () => {
  crowd.goAway(AWAY);
  const missed = feed.published;
  await until('they miss events', () => feed.published > missed + 3 * CHANNELS);
  const reconnects = crowd.reconnects;
  await docker('kill', redis);
  const back = performance.now() + Number(OUTAGE_S) * 1000;
  while (performance.now() < back) {
    const nodes = await nodesOfBalancer();
    demand(nodes.length === 3 && nodes.every(({ isUp }) => isUp), `nodes in the balancer: ${JSON.stringify(nodes)}`);
    await sleep(500);
  }
  const published = feed.published;
  await docker('start', redis);
  demand((await addressOf(redis, 'backplane')) === host, 'Redis has another address, and this test can not publish any more');
  await until('events flow again', () => feed.published > published + CHANNELS);
  demand(crowd.reconnects === reconnects, `${crowd.reconnects - reconnects} clients have lost their connection`);
  crowd.comeBack();
});

for (const node of await containersOf('node')) {
  await until('each node is healthy', async () => (await inspect(node, '{{.State.Health.Status}}')) === 'healthy');
  demand((await inspect(node, '{{.HostConfig.ReadonlyRootfs}}')) === 'true', 'a node can write to its file system');
}
const kept = await feed.stop();
await everybodyHasAll();
say(`${feed.published} events for ${crowd.size} clients: ${JSON.stringify({ ...crowd.figures, reconnects: crowd.reconnects })}`);
demand(kept === feed.published, `Redis has ${kept} of the events that it acknowledged`);
const { lost, duplicated, repeated } = crowd.figures;
demand(lost === 0 && duplicated === 0 && repeated === 0, 'events were lost, or came twice');
crowd.leave();

/** Something fails while events flow; afterwards everybody is there, and has what came meanwhile. */
async function story(title, happens) {
  say(title);
  await happens();
  await everybodyIsThere();
  const published = feed.published;
  await until('events flow', () => feed.published > published + CHANNELS);
}

/** Without a WebSocket, too, an event comes when it is published, and not when some buffer is full. */
async function anEventStreamFlows() {
  const stream = await fetch(`http://127.0.0.1:${FANFARE_PORT}/sse?topics=channel:0`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(10_000),
  });
  for await (const text of stream.body.pipeThrough(new TextDecoderStream())) {
    if (text.includes('"op":"event"')) return;
  }
  throw new Error('the event stream has ended');
}

async function everybodyIsThere() {
  await until('all clients are connected', () => crowd.live === CLIENTS);
  const nodes = await Promise.all((await nodesOfBalancer()).map(({ connections }) => connections));
  say(`all ${CLIENTS} clients are connected; by node: ${nodes.join(', ')}`);
}

async function everybodyHasAll() {
  await until('everybody has all events', () => crowd.caughtUp(feed.last) === CLIENTS).catch((error) => {
    throw new Error(`${CLIENTS - crowd.caughtUp(feed.last)} clients lack events: ${JSON.stringify(crowd.figures)}`, { cause: error });
  });
}

function demand(isSo, otherwise) {
  if (!isSo) throw new Error(otherwise);
}
