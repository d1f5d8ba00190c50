/** The containers of docker-compose.yml, as their operator sees and handles them. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);
const [composeProgram, ...composeArguments] = process.env.COMPOSE.split(' ');

/** Runs `docker`; answers what it prints. */
export async function docker(...args) {
  return (await run('docker', args)).stdout.trim();
}

export async function compose(...args) {
  return (await run(composeProgram, [...composeArguments, ...args])).stdout.trim();
}

/** Ids of a service's containers, stopped ones too, the oldest first. */
export async function containersOf(service) {
  const ids = await compose('ps', '--quiet', '--all', service);
  const numbered = await Promise.all(
    ids
      .split('\n')
      .filter(Boolean)
      .map(async (id) => ({ id, number: Number(await inspect(id, '{{index .Config.Labels "com.docker.compose.container-number"}}')) })),
  );
  return numbered.sort((one, other) => one.number - other.number).map(({ id }) => id);
}

export const inspect = (id, format) => docker('inspect', '--format', format, id);

/** The address of a container in one of its networks. */
export async function addressOf(id, network) {
  const networks = JSON.parse(await inspect(id, '{{json .NetworkSettings.Networks}}'));
  return Object.entries(networks).find(([name]) => name.endsWith(`_${network}`))[1].IPAddress;
}

/** The container's first process dies as in a crash: nobody asked for it, so Docker starts it again. */
export async function crash(id) {
  process.kill(Number(await inspect(id, '{{.State.Pid}}')), 'SIGKILL');
}

/** What HAProxy says of the nodes that it knows: `{ isUp, connections }` of each; up ones get new clients. */
export async function nodesOfBalancer() {
  const [balancer] = await containersOf('balancer');
  const answer = await fetch(`http://${await addressOf(balancer, 'clients')}:8404/;csv`);
  const [head, ...rows] = (await answer.text()).trim().replace(/^# /, '').split('\n').map((line) => line.split(','));
  const at = (row, column) => row[head.indexOf(column)];
  return rows
    .filter((row) => at(row, 'pxname') === 'nodes' && at(row, 'svname') !== 'BACKEND')
    .filter((row) => !at(row, 'status').startsWith('MAINT'))
    // `UP 1/2` is up, and has failed one check.
    .map((row) => ({ isUp: at(row, 'status').startsWith('UP'), connections: Number(at(row, 'scur')) }));
}

/** How many nodes get new clients. */
export async function nodesUp() {
  return (await nodesOfBalancer()).filter(({ isUp }) => isUp).length;
}

/** How many clients a node has, as it says itself. */
export async function connectionsOf(id) {
  const answer = await fetch(`http://${await addressOf(id, 'clients')}:9090/healthz`);
  return (await answer.json()).connections;
}
