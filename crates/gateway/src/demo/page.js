// What the page does, by the client for pages without a bundler (fanfare.js, built from clients/typescript).
'use strict';
const FEED_MAX = 200;
const $ = id => document.getElementById(id);

function element(tag, properties = {}, ...children) {
  const { data, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, data);
  made.append(...children); // strings become text nodes, never markup
  return made;
}

// ---- What is wanted: kept in the address, so that a reload and a bookmark keep it ----
const fragment = new URLSearchParams(location.hash.slice(1));
const me = { tenant: 'acme', user: fragment.get('user') || 'ana', channels: fragment.get('channels') || '**' };
const channels = new Map(); // name -> stop following it

function remember() {
  const topics = [...channels.keys()].map(name => `channel:${name}`).join(' ');
  history.replaceState(null, '', '#' + new URLSearchParams({ user: me.user, channels: me.channels, topics }));
}

// ---- The connection ----
let isCut = false; // by the button, as if the network were gone: what is missed meanwhile comes afterwards
let welcome; // names the node and the topics that are always on

// Numbers that JavaScript can't hold (2^63, 1.10) keep their text where the browser offers it.
const exact = (_key, value, context) =>
  typeof value === 'number' && context?.source && JSON.rawJSON && String(value) !== context.source ? JSON.rawJSON(context.source) : value;
const parse = text => JSON.parse(text, exact);

const client = fanfare.createClient({
  url() {
    if (isCut) throw new fanfare.FanfareError('offline', 'disconnected by the button');
    return '/ws';
  },
  getToken: fetchToken,
  reconnect: { maxDelayMs: 15_000 },
  codec: {
    subprotocol: 'fanfare.v1.json',
    encode: frame => JSON.stringify(frame),
    decode(text) {
      const frame = parse(text);
      if (frame.op === 'welcome') welcome = frame;
      return frame;
    },
  },
});

async function fetchToken() {
  const answer = await fetch(`/dev/token?${new URLSearchParams(me)}`, { cache: 'no-store' });
  if (!answer.ok) throw new Error(`/dev/token answered ${answer.status}`);
  return (await answer.json()).token;
}

function follow(name) {
  if (channels.has(name)) return;
  const channel = client.channel(name);
  const offs = [channel.subscribe(), channel.state.subscribe(drawTopics)];
  channels.set(name, () => offs.forEach(off => off()));
  drawTopics();
}

function unfollow(name) {
  channels.get(name)();
  channels.delete(name);
  drawTopics();
}

// ---- What is on the page ----
function drawStatus() {
  const state = client.state.get();
  const status = isCut ? 'closed' : state.status;
  const text = { idle: 'Connecting…', connecting: 'Connecting…', reconnecting: 'Reconnecting', closed: 'Disconnected',
    connected: state.transport === 'sse' ? 'Connected without a WebSocket' : 'Connected', failed: `Disconnected: ${state.error?.message}` }[status];
  const left = status === 'reconnecting' ? Math.ceil((state.retryAt - Date.now()) / 1000) : 0;
  $('status').dataset.state = status;
  $('status').title = state.error?.message ?? '';
  if ($('status-text').textContent !== text) $('status-text').textContent = text; // announced; the countdown is not
  $('countdown').textContent = left > 0 ? `in ${left} s` : '';
  $('toggle').textContent = { closed: 'Connect', failed: 'Connect', reconnecting: 'Retry now' }[status] ?? 'Disconnect';
}

const topicName = topic => element('span', { className: 'topic', data: { kind: topic.split(':', 1)[0] } }, topic);

function drawTopic(topic, { status, error }, end) {
  const text = { subscribed: 'subscribed', failed: error?.code }[status] ?? 'waiting';
  const dot = element('span', { className: 'dot', role: 'img', ariaLabel: text, title: error?.message ?? text, data: { state: status } });
  const label = element('span', {}, topicName(topic), ...(error ? [' ', element('span', { className: 'dim' }, text)] : []));
  return element('li', {}, dot, label, end);
}

function drawTopics() {
  remember();
  const own = (welcome?.topics ?? []).map(({ topic }) => topic);
  const live = { status: client.state.get().status === 'connected' ? 'subscribed' : 'subscribing' };
  $('topics').replaceChildren(
    ...own.map(topic => drawTopic(topic, live, element('span', { className: 'dim' }, 'always on'))),
    ...[...channels.keys()].map(name => {
      const { topic, state } = client.channel(name);
      const onclick = () => { unfollow(name); form('subscribe').channel.focus(); };
      const remove = { className: 'small', type: 'button', ariaLabel: `Unsubscribe from ${topic}`, onclick };
      return drawTopic(topic, state.get(), element('button', remove, 'Remove'));
    }));
  const known = [...own, ...[...channels.keys()].map(name => `channel:${name}`)];
  $('known').replaceChildren(...known.map(value => element('option', { value })));
}

let waitingEntries = [], total = 0, unspoken = 0, frameAsked = false;

function add(entry) {
  waitingEntries.push({ ...entry, at: new Date() });
  if (waitingEntries.length > FEED_MAX) waitingEntries.shift();
  if (entry.kind === 'event') { total += 1; unspoken += 1; }
  if (!frameAsked) { frameAsked = true; requestAnimationFrame(draw); } // a burst is drawn once
}

function draw() {
  frameAsked = false;
  const paused = $('pause').ariaPressed === 'true';
  if (!paused && waitingEntries.length) {
    $('feed').prepend(...waitingEntries.reverse().map(drawEntry));
    waitingEntries = [];
    while ($('feed').childElementCount > FEED_MAX) $('feed').lastElementChild.remove();
  }
  $('empty').hidden = $('feed').childElementCount > 0;
  const held = paused && waitingEntries.length ? ` · ${waitingEntries.length} waiting` : '';
  $('count').textContent = total ? `${total.toLocaleString()} received${held}` : '';
}

function drawEntry({ kind, title, text, topics, position, recovered, data, at }) {
  const time = at.toLocaleTimeString([], { hour12: false }) + '.' + String(at.getMilliseconds()).padStart(3, '0');
  const end = element('span', { className: 'end' }, ...(position ? [element('span', { title: 'position' }, `${position} · `)] : []),
    element('time', { dateTime: at.toISOString() }, time));
  const missed = { className: 'tag', title: 'It came while this page was not connected' };
  const head = element('div', { className: 'head' }, element('strong', {}, title), ...topics.map(topicName),
    ...(recovered ? [element('span', missed, 'recovered')] : []), end);
  return element('li', { className: kind }, head, kind === 'event' ? prettyData(data) : element('span', {}, text));
}

function prettyData(data = null) {
  const line = JSON.stringify(data), text = line.length > 64 ? JSON.stringify(data, null, 2) : line;
  const pre = element('pre');
  if (text.length > 8192) return pre.append(text), pre; // colours are not worth thousands of elements
  let from = 0;
  for (const { 0: token, 1: string, 2: colon, index } of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|\b(?:true|false|null)\b|-?\d[\d.eE+-]*/g)) {
    const className = colon ? 'key' : string ? 'string' : /^[a-z]/.test(token) ? 'word' : 'number';
    pre.append(text.slice(from, index), element('span', { className }, token));
    from = index + token.length;
  }
  return pre.append(text.slice(from)), pre;
}

setInterval(() => { // events are announced in sum: a screen reader must survive a burst
  if (unspoken) $('spoken').textContent = unspoken === 1 ? '1 new event' : `${unspoken} new events`;
  unspoken = 0;
}, 3000);

// ---- What is heard ----
const because = reason => ({ backplane: 'the node lost its connection to Redis', expired: 'the history has expired',
  epoch: 'the history began anew', invalid: 'a stored event is invalid', reconnect: 'this page was not connected' })[reason] ?? reason;

client.on('*', ({ type, topic, position, recovered, data }) => {
  add({ kind: 'event', title: type, topics: [topic], position, recovered, data });
});

const gaps = new Map(); // text -> topics, told together when all of them are live again
client.onGap(({ topic, lost, reason }) => {
  const text = `${lost === 'ephemeral' ? 'Ephemeral events' : 'Events'} may be missing: ${because(reason)}.`;
  gaps.set(text, [...gaps.get(text) ?? [], topic]);
  if (client.state.get().status === 'connected') tellGaps();
});

function tellGaps() {
  for (const [text, topics] of gaps) add({ kind: 'gap', title: 'Gap', topics, text });
  gaps.clear();
}

client.onError(({ code, message, topic, retryable }) => {
  if (!isCut) add({ kind: retryable ? 'gap' : 'error', title: code, topics: topic ? [topic] : [], text: message });
});

client.state.subscribe(state => {
  if (state.status === 'connected') {
    $('who').textContent = `${state.tenant} / ${state.user} · ${state.connection}${welcome ? ` on ${welcome.node}` : ''}`;
    tellGaps();
  }
  drawStatus();
  drawTopics();
});
setInterval(drawStatus, 1000); // counts down

// ---- What the user does ----
const form = name => $(name).elements;

const onSubmit = (name, action) => $(name).addEventListener('submit', event => { event.preventDefault(); action(form(name)); });

onSubmit('identity', ({ user, channels }) => {
  Object.assign(me, { user: user.value.trim(), channels: channels.value.trim() });
  welcome = undefined;
  isCut = false;
  client.disconnect(); // forgets where the other user was
  client.connect();
});

onSubmit('subscribe', ({ channel }) => {
  const name = channel.value.trim().replace(/^channel:/, '');
  follow(name);
  form('publish').topic.value = `channel:${name}`;
  channel.value = '';
  drawCommands();
});

// Over HTTP, which takes any topic, needs no connection, and takes the data as it was typed (`1.10` stays `1.10`).
onSubmit('publish', async ({ topic, type, data, durable }) => {
  const tell = (text, good) => { $('published').textContent = text; $('published').className = `grow ${good ? 'dim' : 'error'}`; };
  const raw = data.value.trim() || 'null';
  try { JSON.parse(raw); } catch (error) { return tell(`The data is not JSON: ${error.message}`, false); }
  const event = `{"type":${JSON.stringify(type.value)},"data":${raw}}`;
  const body = `{"topic":${JSON.stringify(topic.value.trim())},"event":${event},"durable":${durable.checked}}`;
  try {
    const headers = { Authorization: `Bearer ${await fetchToken()}`, 'Content-Type': 'application/json' };
    const answer = await fetch('/client/v1/publish', { method: 'POST', headers, body });
    const { position, code, message } = await answer.json();
    tell(code ? `${code}: ${message}` : position ? `Published at ${position}` : 'Published', answer.ok);
  } catch (error) { tell(`Not published: ${error.message}`, false); }
});

function drawCommands() {
  const { topic, type, data, durable } = form('publish');
  let compact = 'null';
  try { compact = JSON.stringify(parse(data.value)); } catch { /* shown when it is published */ }
  const quote = text => `'${text.replaceAll("'", `'\\''`)}'`;
  const channel = `fanfare:${me.tenant}:${topic.value.trim()}`;
  const plain = /^[\w:./@-]+$/.test(channel) ? channel : quote(channel);
  const command = durable.checked ? 'FCALL fanfare_publish 1' : 'PUBLISH';
  $('redis').textContent = `redis-cli ${command} ${plain} ${quote(`{"type":${JSON.stringify(type.value)},"data":${compact}}`)}`;
}
$('publish').addEventListener('input', drawCommands);

for (const button of document.querySelectorAll('[data-copy]')) {
  button.addEventListener('click', async () => {
    const source = $(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = 'Copied';
    } catch { // no clipboard without a secure origin: leave it selected
      getSelection().selectAllChildren(source);
      button.textContent = 'Press Ctrl+C';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  });
}

$('toggle').addEventListener('click', () => {
  isCut = !isCut && ['connecting', 'connected'].includes(client.state.get().status);
  client.reconnect();
  drawStatus();
});
$('pause').addEventListener('click', ({ currentTarget: button }) => {
  button.ariaPressed = String(button.ariaPressed !== 'true');
  button.textContent = button.ariaPressed === 'true' ? 'Resume' : 'Pause';
  draw();
});
$('clear').addEventListener('click', () => { $('feed').replaceChildren(); waitingEntries = []; total = 0; draw(); });

async function start() {
  form('identity').user.value = me.user;
  form('identity').channels.value = me.channels;
  $('second').href = '#' + new URLSearchParams({ user: me.user === 'ben' ? 'ana' : 'ben' });
  try {
    const info = await (await fetch('/dev/info')).json();
    me.tenant = info.tenant;
    $('curl').textContent = info.publish_command;
  } catch { $('curl').textContent = 'The node did not answer. Reload this page when it runs.'; }
  drawCommands();
  client.connect();
  for (const topic of (fragment.get('topics') ?? 'channel:orders').split(' ').filter(Boolean)) follow(topic.replace(/^channel:/, ''));
}
start();
