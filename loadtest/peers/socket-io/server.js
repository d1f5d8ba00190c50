// The Socket.IO server that Fanfare is measured against: rooms by `join`, events from Redis as @socket.io/redis-emitter publishes
// them, and nothing else. The load generator starts it: node server.js HOST PORT redis://HOST:PORT
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';

import { createAdapter } from '@socket.io/redis-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [host, port, redis] = process.argv.slice(2);

const publisher = createClient({ url: redis });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  // https://socket.io/docs/v4/server-options/: no upgrade from long polling, no compression, no files to serve.
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  // The engine is `ws` with the two add-ons of https://socket.io/docs/v4/performance-tuning/. Not eiows, which that page names
  // too: Socket.IO frames a broadcast once for all sockets of `ws` and for no other engine (socket.io-adapter).
});
// https://socket.io/docs/v4/memory-usage/: the first request of a session is not kept.
io.engine.on('connection', (socket) => {
  socket.request = null;
});
io.on('connection', (socket) => {
  socket.on('join', (room, done) => {
    socket.join(room);
    done();
  });
});

const version = JSON.parse(readFileSync(createRequire(import.meta.url).resolve('socket.io/package.json'))).version;
http.listen({ host, port: Number(port), backlog: 4096 }, () => {
  console.log(`socket.io ${version}, node ${process.version}`);
  console.log('ready');
});
