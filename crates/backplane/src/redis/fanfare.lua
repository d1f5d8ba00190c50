#!lua name=fanfare
--[[
Fanfare's durable events, inside Redis: `redis-cli FCALL fanfare_publish 1 fanfare:acme:channel:orders '{"type":"x"}'`.

A durable topic is a stream with the name of its channel, field `e`. Beside it, in the same cluster slot:
  {<topic>}:head     `<epoch> <master_replid>`, and a third word `empty` while the epoch has no event yet
  {<topic>}:id:<id>  the position of the event that was published with this id
A position is the entry's id, `<epoch>-<seq>`, with seq from 1. An epoch belongs to one history of one server, which its
master_replid names: that changes with every restart and every failover, so a server that has lost the last writes never
gives a position away again.

The same source runs as a function library (Redis 7) and, without its first line, by EVALSHA, where ARGV[1] is the name
of the function. Numbers go to Redis as text: `tostring` of a large one has an exponent, and nothing here is random, since
every server begins with the same seed. It deliberately never parses an envelope, which would cost 40 times as much.
--]]

-- Raised with every change of this file; nodes load it over a lower one only, so a change must keep what callers know.
local VERSION = 2

local ENVELOPE_BYTES_MAX = 1048576
local ID_BYTES_MAX = 128
local ID_TTL_MS = '300000'
local MAXLEN_DEFAULT = '1000'
local TTL_MS_DEFAULT = 86400000
local TTL_MS_MIN = 60000
-- How long the identity of the server is believed.
local REPLID_TTL_MS = 100
-- A lifetime is made so much longer than asked for that it needs no refreshing until the surplus is used up.
local TTL_SURPLUS = 1.25
-- How many topics' state is kept at most, twice; some 400 bytes for each. More would cost every call more, since Redis
-- collects garbage at a pace that grows with what there is: with 8192 and as many topics, a publish took twice as long.
local TOPICS_MAX = 512
-- The first XRANGE of a read. The next ones are as long as the events so far let expect.
local BATCH_FIRST = 16
local BATCH_MAX = 256
local NEVER = 1e300

-- What follows is state of the library; for EVALSHA it lives for one call.

-- The identity of the server, and in which time it may be believed without another look (ms).
local replid, replid_from, replid_until = nil, 0, 0
-- PUBLISH, or SPUBLISH on a cluster. It never changes while a server runs.
local publish_command

-- What is known of a topic. While the server is [REPLID]: [NEXT_ID] for XADD; until when stream and head live at least, [EXPIRES]; and when exactly the head expires, [STAMP] (ms; false if it doesn't).
-- Two generations: when the younger is full, the older is dropped.
--
-- The stamp tells with one PTTL that the head is still the one that is known, and what time it is: anybody who has deleted
-- or written it has changed its expiry, and then the time comes out wrong. Otherwise that takes TIME, GET and a look at both
-- expiries. With that, and with lifetimes that are prolonged only when they must be, a publish costs the server 3.6 us of
-- CPU; without the stamps 5.9 us.
local HEAD_KEY, REPLID, NEXT_ID, EXPIRES, STAMP = 1, 2, 3, 4, 5
local young, young_count, old = {}, 0, {}

local function refuse(text)
  return redis.error_reply('ERR ' .. text)
end

-- What to answer whose right is missing.
local function denied(command, key)
  local rights = '+' .. command:lower()
  if command == 'XINFO' then
    rights = rights .. '|stream'
  elseif command == 'PUBLISH' or command == 'SPUBLISH' then
    rights = rights .. ' &<pattern>'
  elseif key then
    rights = rights .. ' ~<pattern>'
  end
  return redis.error_reply('NOPERM this user may not ' .. command .. (key and " '" .. key .. "'" or '')
    .. ', which Fanfare needs: grant it with ACL SETUSER, ' .. rights)
end

-- May the caller do this to the key? A write that is refused after another one would leave half of a publish.
local function forbidden(command, key, ...)
  if not redis.acl_check_cmd(command, key, ...) then
    return denied(command, key)
  end
end

-- redis.call, with the server's words for a missing right, which don't say for what, made clear.
local function ask(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    if answer.err:find('The user executing the script', 1, true) then
      local key = ...
      if command == 'XINFO' then
        key = select(2, ...)
      elseif command == 'INFO' then
        key = nil
      end
      error(denied(command, key))
    end
    error(answer)
  end
  return answer
end

-- The time in ms, and in us.
local function server_time()
  local time = ask('TIME')
  local us = time[1] * 1000000 + time[2]
  return math.floor(us / 1000), us
end

local function decimal(number)
  return ('%.0f'):format(number)
end

-- Is one decimal text the smaller number? Epochs may be larger than what a Lua number holds exactly.
local function is_less(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

-- The next number, of a decimal text of any length.
local function successor(text)
  local head, digit, nines = text:match('^(%d-)(%d?)(9*)$')
  if digit == '' then
    digit = '0'
  end
  return head .. decimal(digit + 1) .. ('0'):rep(#nines)
end

-- The identity of the server; nil on a replica, which can't vouch for what it has. That isn't kept: when a replica becomes
-- the primary, nothing of the old identity may be believed for another moment.
local function identify(now)
  if replid_from <= now and now < replid_until then
    return replid
  end
  local info = ask('INFO', 'replication', 'cluster')
  publish_command = info:find('cluster_enabled:1', 1, true) and 'SPUBLISH' or 'PUBLISH'
  if not info:find('role:master', 1, true) then
    replid, replid_until = nil, 0
    return nil
  end
  replid = info:match('master_replid:(%x+)')
  replid_from, replid_until = now, now + REPLID_TTL_MS
  return replid
end

local function is_topic(key)
  return not key:find('[%z\1-\32\127{}*?%[%]]')
    and (key:find('^.+:[%w_-]+:channel:.+$') or key:find('^.+:[%w_-]+:user:.+$') or key:find('^.+:[%w_-]+:tenant$'))
end

-- What is known of a topic. Nil and the reason when it can't be one.
local function know(key)
  local topic = old[key]
  if not topic then
    if not is_topic(key) then
      return nil, refuse("the key '" .. key:sub(1, 300) .. "' is no topic: write <prefix>:<tenant>:<topic>, such as "
        .. "fanfare:acme:channel:orders, without spaces and without any of { } * ? [ ]")
    end
    topic = { '{' .. key .. '}:head', false, false, 0, false }
  end
  if young_count >= TOPICS_MAX then
    young, young_count, old = {}, 0, young
  end
  young[key], young_count = topic, young_count + 1
  return topic
end

-- `<epoch>-<seq>` taken apart.
local function split(id)
  return id:match('^(%d+)%-(%d+)$')
end

-- The id that the stream gave out last; nil when there is no stream.
local function last_generated_id(key)
  if ask('EXISTS', key) == 0 then
    return nil
  end
  local info = ask('XINFO', 'STREAM', key)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then
      return info[at + 1]
    end
  end
end

-- The epoch for what comes now: later than the present one, which may be in the future when a clock was wrong, and
-- than the stream's, which would take no entry for ever.
local function new_epoch(present, last_id)
  local last = present or '0'
  local stream_epoch = last_id and split(last_id)
  if stream_epoch and is_less(last, stream_epoch) then
    last = stream_epoch
  end
  local _, now_us = server_time()
  local epoch = decimal(now_us)
  return is_less(last, epoch) and epoch or successor(last)
end

local function options(args)
  local maxlen, ttl_ms, id = MAXLEN_DEFAULT, TTL_MS_DEFAULT, nil
  local seen = {}
  for at = 2, #args, 2 do
    local name, value = args[at], args[at + 1]
    if seen[name] then
      return refuse("the option '" .. name .. "' stands there twice: give it once")
    end
    seen[name] = true
    if name == 'maxlen' then
      if not value or #value > 15 or not value:find('^[1-9]%d*$') then
        return refuse('maxlen must be a whole number of events, at least 1: maxlen ' .. MAXLEN_DEFAULT)
      end
      maxlen = value
    elseif name == 'ttl_ms' then
      if not value or #value > 15 or not value:find('^[1-9]%d*$') or tonumber(value) < TTL_MS_MIN then
        return refuse('ttl_ms must be a whole number of milliseconds, at least ' .. decimal(TTL_MS_MIN) .. ': ttl_ms '
          .. decimal(TTL_MS_DEFAULT))
      end
      ttl_ms = tonumber(value)
    elseif name == 'id' then
      if not value or value == '' or #value > ID_BYTES_MAX then
        return refuse('id must have 1 to ' .. decimal(ID_BYTES_MAX) .. ' bytes: id order-7')
      end
      id = value
    else
      return refuse("there is no option '" .. name:sub(1, 100) .. "': the options are maxlen N, ttl_ms N and id STRING")
    end
  end
  return nil, maxlen, ttl_ms, id
end

local function check_keys(keys, topic, id)
  local id_key = id and '{' .. keys[1] .. '}:id:' .. id
  if #keys > 3 then
    return refuse('at most three keys: the topic, its head {<topic>}:head, and its id key {<topic>}:id:<id>')
  end
  if keys[2] and keys[2] ~= topic[HEAD_KEY] then
    return refuse("the second key must be the topic's head, '" .. topic[HEAD_KEY] .. "'")
  end
  if keys[3] and not id then
    return refuse('the third key is the id key, and there is no option id: leave the key out')
  end
  if keys[3] and keys[3] ~= id_key then
    return refuse("the third key must be the topic's id key, '" .. id_key .. "'")
  end
  return nil, id_key
end

local function check_envelope(envelope)
  local first = envelope and envelope:byte()
  if not (first == 123 or first and (first >= 128 and first <= 143 or first == 222 or first == 223)) then
    return refuse('an envelope is a JSON object, which begins with {, or a MessagePack map: {"type":"order.updated"}')
  end
  if #envelope > ENVELOPE_BYTES_MAX then
    return refuse('the envelope has ' .. decimal(#envelope) .. ' bytes; at most ' .. decimal(ENVELOPE_BYTES_MAX)
      .. ' are allowed: keep the data elsewhere and publish a reference')
  end
end

-- When a key expires, in ms: a far future when never, and a far past when there is none.
local function expiry(key)
  local expires = ask('PEXPIRETIME', key)
  return expires == -1 and NEVER or expires
end

-- Is the topic's present epoch known, and does it have events? Learns it from the head when it isn't.
local function has_epoch(key, topic)
  local head_key = topic[HEAD_KEY]
  local epoch, owner = (ask('GET', head_key) or ''):match('^(%d+) (%x+)$')
  if owner ~= replid then
    return false
  end
  local expires = expiry(head_key)
  topic[REPLID], topic[NEXT_ID], topic[STAMP] = replid, epoch .. '-*', expires < NEVER and expires
  topic[EXPIRES] = math.min(expires, expiry(key))
  return true
end

-- Makes stream and head live longer; never shorter, since an earlier event may have been promised more.
local function extend(key, topic, now, ttl_ms)
  local expires = math.floor(now + ttl_ms * TTL_SURPLUS)
  redis.call('PEXPIREAT', key, decimal(expires), 'GT')
  redis.call('PEXPIREAT', topic[HEAD_KEY], decimal(expires), 'GT')
  local stamp = expiry(topic[HEAD_KEY])
  topic[EXPIRES], topic[STAMP] = expires, stamp < NEVER and stamp
end

-- The usual case: the epoch is known and has events. Returns the position; or a refusal; or nil when it takes a new epoch.
local function append(key, topic, now, maxlen, ttl_ms, envelope)
  local is_short = topic[EXPIRES] < now + ttl_ms
  if is_short then
    local refusal = forbidden('PEXPIREAT', key, '1') or forbidden('PEXPIREAT', topic[HEAD_KEY], '1')
      or forbidden('PEXPIRETIME', topic[HEAD_KEY])
    if refusal then
      return refusal
    end
  end
  -- The first write: when it is refused, nothing has happened. It makes no stream: one that has vanished begins an epoch.
  local id = redis.pcall('XADD', key, 'NOMKSTREAM', 'MAXLEN', '~', maxlen, topic[NEXT_ID], 'e', envelope)
  if not id then
    return nil
  end
  if type(id) == 'table' then
    if id.err:find('equal or smaller', 1, true) then
      -- Somebody else has written to the stream, beyond the epoch.
      return nil
    end
    return forbidden('XADD', key, '*', 'e', '') or id
  end
  if id:byte(-1) == 48 and id:byte(-2) == 45 then
    -- Somebody else has put older entries in the stream's place, and <epoch>-* begins with 0, which no event has.
    redis.pcall('XDEL', key, id)
    return nil
  end
  if is_short then
    extend(key, topic, now, ttl_ms)
  end
  return id
end

local function set_head(head_key, head, expires)
  if expires == NEVER then
    redis.call('SET', head_key, head)
  else
    redis.call('SET', head_key, head, 'PXAT', decimal(expires))
  end
end

-- The first event of an epoch.
local function begin_with(key, topic, now, maxlen, ttl_ms, envelope)
  local head_key = topic[HEAD_KEY]
  local refusal = forbidden('XADD', key, '*', 'e', '') or forbidden('SET', head_key, '')
    or forbidden('PEXPIREAT', key, '1')
  if refusal then
    return refusal
  end
  local last_id = last_generated_id(key)
  local epoch, owner, is_empty = (ask('GET', head_key) or ''):match('^(%d+) (%x+)( ?e?m?p?t?y?)$')
  -- An epoch that was begun by a read goes on, unless somebody else has written to the stream since.
  if owner ~= replid or is_empty ~= ' empty' or last_id and not is_less(split(last_id), epoch) then
    epoch = new_epoch(epoch, last_id)
  end
  -- The head lives as long as the stream, or the epoch would end before its events.
  local expires = math.max(math.floor(now + ttl_ms * TTL_SURPLUS), expiry(key))
  local id = epoch .. '-1'
  redis.call('XADD', key, 'MAXLEN', '~', maxlen, id, 'e', envelope)
  set_head(head_key, epoch .. ' ' .. replid, expires)
  if expires < NEVER then
    redis.call('PEXPIREAT', key, decimal(expires))
  end
  topic[REPLID], topic[NEXT_ID], topic[EXPIRES], topic[STAMP] = replid, epoch .. '-*', expires, expires < NEVER and expires
  return id
end

-- FCALL fanfare_publish 1 <topic> <envelope> [maxlen N] [ttl_ms N] [id STRING], or with 2 or 3 keys: <topic>, its head
-- {<topic>}:head, its id key {<topic>}:id:<id>. Returns the position.
local function publish(keys, args)
  local key, envelope = keys[1], args[1]
  if not key then
    return refuse('one key is needed, the topic: FCALL fanfare_publish 1 fanfare:acme:channel:orders {"type":"x"}')
  end
  local refusal = check_envelope(envelope)
  if refusal then
    return refusal
  end
  local maxlen, ttl_ms, id, id_key = MAXLEN_DEFAULT, TTL_MS_DEFAULT, nil, nil
  if args[2] then
    refusal, maxlen, ttl_ms, id = options(args)
    if refusal then
      return refusal
    end
  end
  local topic = young[key]
  if not topic then
    topic, refusal = know(key)
    if refusal then
      return refusal
    end
  end
  if id or keys[2] then
    refusal, id_key = check_keys(keys, topic, id)
    if refusal then
      return refusal
    end
  end
  local rest = topic[STAMP] and redis.pcall('PTTL', topic[HEAD_KEY])
  -- It is no number when the stamp isn't known, or the caller may not ask.
  local now = type(rest) == 'number' and topic[STAMP] - rest or 0
  local is_known = replid_from <= now and now < replid_until and topic[REPLID] == replid
  if not is_known then
    now = server_time()
    if not identify(now) then
      return redis.error_reply('READONLY this server is a replica: publish to its primary')
    end
    is_known = has_epoch(key, topic)
  end
  refusal = forbidden(publish_command, key, '')
  if refusal then
    return refusal
  end
  if id_key then
    refusal = forbidden('SET', id_key, '')
    if refusal then
      return refusal
    end
    local first = ask('GET', id_key)
    if first then
      return first
    end
  end
  local position = is_known and append(key, topic, now, maxlen, ttl_ms, envelope)
    or begin_with(key, topic, now, maxlen, ttl_ms, envelope)
  if type(position) == 'table' then
    return position
  end
  if id_key then
    redis.call('SET', id_key, position, 'PX', ID_TTL_MS)
  end
  redis.call(publish_command, key, '@' .. position .. ' ' .. envelope)
  return position
end

-- FCALL fanfare_send 1 <channel> <payload>: PUBLISH, or SPUBLISH on a cluster. Returns how many received it on this server.
local function send(keys, args)
  if not keys[1] or keys[2] or not args[1] or args[2] then
    return refuse('one key and one argument are needed: FCALL fanfare_send 1 fanfare:acme:channel:orders {"type":"x"}')
  end
  if not publish_command then
    identify((server_time()))
  end
  return redis.call(publish_command, keys[1], args[1])
end

-- The value of the field `e`. What somebody else has written has none, and gets no envelope: the reader tells it as a gap.
local function envelope_of(entry)
  local fields = entry[2]
  for at = 1, #fields, 2 do
    if fields[at] == 'e' then
      return fields[at + 1]
    end
  end
  return ''
end

-- The epoch of a topic, if it is this server's history and the stream is as the head says; and where the topic stands.
local function standing(key, last_id)
  local head = ask('GET', '{' .. key .. '}:head')
  if not head or not replid then
    return nil
  end
  local epoch, owner, is_empty = head:match('^(%d+) (%x+)( ?e?m?p?t?y?)$')
  if owner ~= replid then
    return nil
  end
  if is_empty == ' empty' then
    return epoch, epoch .. '-0'
  end
  if is_empty == '' and last_id and split(last_id) == epoch then
    return epoch, last_id
  end
  return nil
end

-- The id of the last entry, or the last id that was given out when there are no entries; nil without a stream.
local function last_entry_id(key)
  local entry = ask('XREVRANGE', key, '+', '-', 'COUNT', '1')[1]
  if entry then
    return entry[1]
  end
  return last_generated_id(key)
end

-- Appends ids and envelopes to `answer`, from `from` on, within the limits. `command` is XRANGE or XREVRANGE, `stop` where
-- it ends. Bounded in what it holds at once: streams may have small events and large ones.
local function collect(answer, command, key, from, stop, events_max, bytes_max)
  local events, bytes, batch, last = 0, 0, math.min(BATCH_FIRST, events_max), nil
  while events < events_max and bytes < bytes_max do
    local entries = ask(command, key, from, stop, 'COUNT', decimal(batch))
    for _, entry in ipairs(entries) do
      local envelope = envelope_of(entry)
      answer[#answer + 1], answer[#answer + 2] = entry[1], envelope
      events, bytes, last = events + 1, bytes + #envelope, entry[1]
      if bytes >= bytes_max then
        break
      end
    end
    if #entries < batch then
      break
    end
    from = '(' .. last
    local expected = math.ceil((bytes_max - bytes) * events / math.max(bytes, 1))
    batch = math.max(1, math.min(expected, events_max - events, BATCH_MAX))
  end
  return last
end

local function read_topic(key, events_max, bytes_max, after)
  local last_id = last_entry_id(key)
  local epoch, position = standing(key, last_id)
  local answer = { position or '', 0 }
  if after == '' or not last_id then
    return answer
  end
  local after_epoch = split(after)
  if not after_epoch then
    error("'" .. after:sub(1, 50) .. "' is no position", 0)
  end
  local from = '(' .. after
  if epoch and is_less(epoch, after_epoch) then
    -- Another epoch is a change, and it may be the lower number: all of it came later.
    from = epoch .. '-0'
  elseif is_less(split(last_id), after_epoch) or after == last_id then
    return answer
  end
  local last = collect(answer, 'XRANGE', key, from, '+', events_max, bytes_max)
  if last and last ~= last_id then
    answer[2] = 1
  end
  return answer
end

-- The words of an error, which the Lua of some versions gives as a table.
local function words_of(err)
  return type(err) == 'table' and err.err or tostring(err)
end

local function limits(args)
  local events_max, bytes_max = tonumber(args[1]), tonumber(args[2])
  if not events_max or not bytes_max or events_max < 1 or bytes_max < 1 then
    return refuse('the first two arguments are how many events and how many bytes a topic may bring, at least 1 each')
  end
  return nil, math.floor(events_max), bytes_max
end

-- FCALL_RO fanfare_read <n> <topic>… <events_max> <bytes_max> <after>…: for each topic the position after which events are
-- wanted, or '' when only its own position is. Answers for each topic `position, more, id, envelope, id, envelope, …`, with
-- '' as position when an epoch has to be begun first (fanfare_begin); or a text, which says why it can't be read.
local function read(keys, args)
  local refusal, events_max, bytes_max = limits(args)
  if refusal then
    return refusal
  end
  if #args ~= #keys + 2 then
    return refuse('after the two limits there must be one position, or an empty text, for each topic')
  end
  identify((server_time()))
  local answers = {}
  for at, key in ipairs(keys) do
    local is_read, answer = pcall(read_topic, key, events_max, bytes_max, args[at + 2])
    answers[at] = is_read and answer or words_of(answer)
  end
  return answers
end

-- FCALL_RO fanfare_history 1 <topic> <events_max> <bytes_max> [<before>]: the newest events before that position, or of all.
-- Answers `more, id, envelope, …`, newest first.
local function history(keys, args)
  local refusal, events_max, bytes_max = limits(args)
  if refusal then
    return refusal
  end
  if #keys ~= 1 then
    return refuse('one key is needed, the topic')
  end
  local from, answer = '+', { 0 }
  if args[3] and args[3] ~= '' then
    from = '(' .. args[3]
  end
  local last = collect(answer, 'XREVRANGE', keys[1], from, '-', events_max, bytes_max)
  if last and #ask('XREVRANGE', keys[1], '(' .. last, '-', 'COUNT', '1') > 0 then
    answer[1] = 1
  end
  return answer
end

local function begin_topic(key, now)
  if not is_topic(key) then
    error('no topic', 0)
  end
  local last_id = last_generated_id(key)
  local epoch, position = standing(key, last_id)
  if epoch then
    return position
  end
  local head_key = '{' .. key .. '}:head'
  local present = (ask('GET', head_key) or ''):match('^(%d+) ')
  epoch = new_epoch(present, last_id)
  young[key], old[key] = nil, nil
  local expires = math.max(now + TTL_MS_DEFAULT, expiry(key))
  set_head(head_key, epoch .. ' ' .. replid .. ' empty', expires)
  return epoch .. '-0'
end

-- FCALL fanfare_begin <n> <topic>… [<head>…]: begins an epoch wherever there is none of this server's. Answers the position
-- of each topic, or a text that says why there is none. Heads may be declared, too.
local function begin(keys)
  local now, answers = server_time(), {}
  if not identify(now) then
    return redis.error_reply('READONLY this server is a replica: ask its primary')
  end
  for _, key in ipairs(keys) do
    if key:byte() ~= 123 then
      local is_done, answer = pcall(begin_topic, key, now)
      answers[#answers + 1] = is_done and answer or words_of(answer)
    end
  end
  return answers
end

-- Who is there. Beside a topic, in the same cluster slot:
--   {<topic>}:presence  sorted set of `<user> <node>`, by the time at which that node's word for the user expires (ms)
--   {<topic>}:info      hash of `<user>` to `<how many nodes> <info>`: JSON from the user's token, or nothing
-- A user has come with the first node and has left when the last one has let go, or was not heard of in time. Both are told
-- on the channel {<topic>}:presence. The keys go by themselves when no node has refreshed them for two lifetimes.

-- How many users of a topic may stand in one call, and how many of its expired members are taken out by one.
local USERS_MAX = 1000
-- The lifetime of a node's word, in ms.
local PRESENCE_TTL_MS_MIN, PRESENCE_TTL_MS_MAX = 50, 86400000
-- HSCAN's COUNT of one step of a list, and how many steps one call makes at most: it goes on with the next call.
local SCAN_COUNT = 64
local SCANS_MAX = 200
-- What a user takes in an answer beside name and info, in bytes.
local AROUND_USER_BYTES = 32

local function is_whole(text, least, most)
  local number = text and #text <= 15 and text:find('^%d+$') and tonumber(text)
  return number and number >= least and number <= most and number
end

-- The name of a topic by its presence key, whose info key must come with it. Nil when they are none.
local function topic_of(presence, info)
  local topic = presence and presence:match('^{(.+)}:presence$')
  return topic and is_topic(topic) and info == '{' .. topic .. '}:info' and topic
end

-- What is asked of several topics: two keys for each, and as arguments the node, the lifetime, and for each topic how many
-- users follow, each with so many words.
local function presence_request(keys, args, words)
  local node, ttl_ms = args[1], is_whole(args[2], PRESENCE_TTL_MS_MIN, PRESENCE_TTL_MS_MAX)
  if #keys == 0 or #keys % 2 == 1 then
    return refuse('two keys are needed for each topic: {<topic>}:presence and {<topic>}:info')
  end
  if not node or node == '' or #node > 64 or node:find('%s') then
    return refuse('the first argument must be the name of the node, up to 64 bytes without spaces')
  end
  if not ttl_ms then
    return refuse('the second argument must be how long it holds, ' .. decimal(PRESENCE_TTL_MS_MIN) .. ' to '
      .. decimal(PRESENCE_TTL_MS_MAX) .. ' ms')
  end
  local topics, at = {}, 3
  for key = 1, #keys, 2 do
    local presence, info = keys[key], keys[key + 1]
    if not topic_of(presence, info) then
      return refuse("the keys '" .. presence:sub(1, 300) .. "' and '" .. info:sub(1, 300)
        .. "' are not {<topic>}:presence and {<topic>}:info of one topic")
    end
    local count = is_whole(args[at], 0, USERS_MAX)
    if not count or at + count * words > #args then
      return refuse('for each topic there must be how many users follow, up to ' .. decimal(USERS_MAX) .. ', and these')
    end
    local users, infos, members = {}, {}, {}
    for user = 1, count do
      users[user] = args[at + 1 + (user - 1) * words]
      infos[user] = args[at + user * words]
      members[user] = users[user] .. ' ' .. node
      if users[user] == '' or #users[user] > 200 or users[user]:find('[%z\1-\32\127]') then
        return refuse("'" .. users[user]:sub(1, 300) .. "' is no user")
      end
    end
    topics[#topics + 1] = { presence = presence, info = info, users = users, infos = infos, members = members }
    at = at + 1 + count * words
  end
  if at ~= #args + 1 then
    return refuse('there are more arguments than users')
  end
  return nil, topics, ttl_ms
end

-- How many nodes vouch for a user, and the user's info, from what the hash has.
local function held_by(entry)
  local nodes, info = (entry or ''):match('^(%d+) (.*)$')
  return tonumber(nodes) or 0, info or ''
end

-- Raises the error of a right that is missing for one of the commands that change a topic.
local function must_be_allowed(topic, commands)
  for command, on_info in pairs(commands) do
    local key = on_info and topic.info or topic.presence
    local refusal
    if command == 'ZADD' then
      refusal = forbidden(command, key, '1', 'm')
    elseif command == 'HSET' then
      refusal = forbidden(command, key, 'f', 'v')
    elseif command == 'DEL' then
      refusal = forbidden(command, key)
    else
      refusal = forbidden(command, key, '1')
    end
    if refusal then
      error(refusal)
    end
  end
  local refusal = forbidden(publish_command, topic.presence, '')
  if refusal then
    error(refusal)
  end
end

local JOINING = { PEXPIREAT = false, ZADD = false, HSET = true, DEL = true }
local LEAVING = { ZREM = false, HSET = true, HDEL = true }
local REFRESHING = { PEXPIREAT = false, ZADD = false, DEL = false }

-- Tells that a user has come or gone. A user's name has nothing that JSON would escape but these two.
local function tell(topic, op, user, info, count)
  local name = user:gsub('[\\"]', '\\%0')
  redis.call(publish_command, topic.presence, '{"op":"' .. op .. '","user":"' .. name .. '"'
    .. (info ~= '' and ',"info":' .. info or '') .. ',"count":' .. decimal(count) .. '}')
end

-- A key lives two lifetimes longer, or as long as another node has made it live.
local function prolong(key, now, ttl_ms, is_old)
  local until_ms = decimal(now + 2 * ttl_ms)
  if is_old then
    redis.call('PEXPIREAT', key, until_ms, 'GT')
  else
    redis.call('PEXPIREAT', key, until_ms)
  end
end

local function join_topic(topic, now, ttl_ms)
  local users, infos = topic.users, topic.infos
  if #users == 0 then
    return 0
  end
  must_be_allowed(topic, JOINING)
  local keys = redis.call('EXISTS', topic.presence, topic.info)
  local is_there = keys == 2
  local scores = redis.call('ZMSCORE', topic.presence, unpack(topic.members))
  local held = is_there and redis.call('HMGET', topic.info, unpack(users)) or {}
  local count = is_there and redis.call('HLEN', topic.info) or 0
  local expires, added, written, come = decimal(now + ttl_ms), {}, {}, {}
  for at, user in ipairs(users) do
    local nodes = held_by(held[at])
    if nodes == 0 then
      come[#come + 1] = at
    end
    if nodes == 0 or not scores[at] then
      nodes = nodes + 1
    end
    added[#added + 1], added[#added + 2] = expires, topic.members[at]
    written[#written + 1], written[#written + 2] = user, decimal(nodes) .. ' ' .. infos[at]
  end
  if keys == 1 then
    -- Members without infos would be in no list: their nodes find them missing, and they come again.
    redis.call('DEL', topic.presence)
  end
  -- The first write, when both keys are there or none, is one that a full Redis refuses.
  redis.call('ZADD', topic.presence, unpack(added))
  if not is_there then
    -- What is left of a hash without its members would count nodes that nobody hears of any more.
    redis.call('DEL', topic.info)
  end
  redis.call('HSET', topic.info, unpack(written))
  prolong(topic.presence, now, ttl_ms, is_there)
  prolong(topic.info, now, ttl_ms, is_there)
  for nth, at in ipairs(come) do
    tell(topic, 'joined', users[at], infos[at], count + nth)
  end
  return #come
end

-- Takes these members out, whose users are given in the same order, and who may be among them more than once. Returns how
-- many users have left.
local function take_out(topic, members, users)
  local scores = redis.call('ZMSCORE', topic.presence, unpack(members))
  local held = redis.call('HMGET', topic.info, unpack(users))
  local count = redis.call('HLEN', topic.info)
  local nodes_of, info_of, order, removed = {}, {}, {}, {}
  for at, user in ipairs(users) do
    if scores[at] then
      if not nodes_of[user] then
        nodes_of[user], info_of[user] = held_by(held[at])
        order[#order + 1] = user
      end
      nodes_of[user] = nodes_of[user] - 1
      removed[#removed + 1] = members[at]
    end
  end
  if #removed == 0 then
    return 0
  end
  redis.call('ZREM', topic.presence, unpack(removed))
  local gone, written = {}, {}
  for _, user in ipairs(order) do
    if nodes_of[user] <= 0 then
      gone[#gone + 1] = user
    else
      written[#written + 1], written[#written + 2] = user, decimal(nodes_of[user]) .. ' ' .. info_of[user]
    end
  end
  if #written > 0 then
    redis.call('HSET', topic.info, unpack(written))
  end
  if #gone > 0 then
    redis.call('HDEL', topic.info, unpack(gone))
  end
  for nth, user in ipairs(gone) do
    tell(topic, 'left', user, info_of[user], count - nth)
  end
  return #gone
end

local function leave_topic(topic)
  if #topic.users == 0 then
    return 0
  end
  must_be_allowed(topic, LEAVING)
  return take_out(topic, topic.members, topic.users)
end

-- The members whose time is over, and their users.
local function expired(topic, now)
  local members = ask('ZRANGE', topic.presence, '-inf', decimal(now), 'BYSCORE', 'LIMIT', '0', decimal(USERS_MAX))
  local users = {}
  for at, member in ipairs(members) do
    users[at] = member:match('^%S+')
  end
  return members, users
end

local function refresh_topic(topic, now, ttl_ms, is_purging)
  must_be_allowed(topic, REFRESHING)
  local answer = { 0 }
  -- The first write allows the rest, however full Redis is.
  prolong(topic.presence, now, ttl_ms, true)
  if is_purging then
    prolong(topic.info, now, ttl_ms, true)
    if redis.call('EXISTS', topic.presence) == 1 and redis.call('EXISTS', topic.info) == 0 then
      -- Members without infos would be in no list: all nodes find them missing, and they come again.
      redis.call('DEL', topic.presence)
    end
  end
  local count = #topic.users
  if count > 0 then
    local scored, expires = {}, decimal(now + ttl_ms)
    for at, member in ipairs(topic.members) do
      scored[2 * at - 1], scored[2 * at] = expires, member
    end
    if redis.call('ZADD', topic.presence, 'XX', 'CH', unpack(scored)) < count then
      -- Some are missing, or were refreshed in this very moment.
      for at, score in ipairs(redis.call('ZMSCORE', topic.presence, unpack(topic.members))) do
        if not score then
          answer[#answer + 1] = at
        end
      end
    end
  end
  if is_purging then
    local members, users = expired(topic, now)
    if #members > 0 then
      must_be_allowed(topic, LEAVING)
      take_out(topic, members, users)
      answer[1] = #members == USERS_MAX and 1 or 0
    end
  end
  return answer
end

-- Does it for each topic. Answers for each what that says, or a text that says why it can't be done.
local function for_topics(topics, work)
  local answers = {}
  for at, topic in ipairs(topics) do
    local is_done, answer = pcall(work, topic)
    answers[at] = is_done and answer or words_of(answer)
  end
  return answers
end

local function begin_presence(keys, args, words)
  local refusal, topics, ttl_ms = presence_request(keys, args, words)
  if refusal then
    return refusal
  end
  local now = server_time()
  if not publish_command then
    identify(now)
  end
  return nil, topics, now, ttl_ms
end

-- FCALL fanfare_presence_join <2n> {<topic>}:presence {<topic>}:info … <node> <ttl_ms> (<count> (<user> <info>)…)…: these
-- users are there, says the node, for so long. Again, it holds longer. Answers how many of each topic have come.
local function presence_join(keys, args)
  local refusal, topics, now, ttl_ms = begin_presence(keys, args, 2)
  return refusal or for_topics(topics, function(topic)
    return join_topic(topic, now, ttl_ms)
  end)
end

-- FCALL fanfare_presence_leave <2n> {<topic>}:presence {<topic>}:info … <node> <ttl_ms> (<count> <user>…)…: the node lets
-- go of these users. Answers how many of each topic have left.
local function presence_leave(keys, args)
  local refusal, topics = begin_presence(keys, args, 1)
  return refusal or for_topics(topics, leave_topic)
end

-- FCALL fanfare_presence_refresh: as fanfare_presence_join, without infos and with one more argument at the end: 1 takes out
-- whose time is over, too, and the last part of a topic's users should come with it. Answers for each topic whether more
-- are over (1), and which of the users, counted from 1, are not there: they have to join again.
local function presence_refresh(keys, args)
  local is_purging = table.remove(args) == '1'
  local refusal, topics, now, ttl_ms = begin_presence(keys, args, 1)
  return refusal or for_topics(topics, function(topic)
    return refresh_topic(topic, now, ttl_ms, is_purging)
  end)
end

-- Some order in which users always stand to each other, whatever the locale of the server.
local function rank(user)
  return redis.sha1hex(user)
end

-- Gives the users of a step in order, as far as they fit. Returns the last of them; nil when those were all.
local function give_part(answer, entries, room)
  table.sort(entries, function(one, other)
    return one.rank < other.rank
  end)
  local last
  for _, entry in ipairs(entries) do
    if room.users < 1 or last and room.bytes < entry.bytes then
      return last
    end
    answer[#answer + 1], answer[#answer + 2] = entry.user, entry.info
    room.users, room.bytes, last = room.users - 1, room.bytes - entry.bytes, entry.user
  end
  return nil
end

-- The users of one step of a list that are there; how many bytes they take. `over` has those whose time is over.
local function entries_of(fields, over, after)
  local entries, bytes = {}, 0
  for at = 1, #fields, 2 do
    local user, nodes, info = fields[at], held_by(fields[at + 1])
    local entry = { user = user, info = info, bytes = 2 * #user + #info + AROUND_USER_BYTES }
    if nodes > (over[user] or 0) and (not after or rank(user) > rank(after)) then
      entries[#entries + 1], bytes = entry, bytes + entry.bytes
    end
  end
  return entries, bytes
end

-- FCALL_RO fanfare_presence_list 2 {<topic>}:presence {<topic>}:info <users_max> <bytes_max> <cursor>: who is there, from
-- the cursor on; the first is 0. Answers whether somebody's time is over who was not taken out yet (1), how many there are,
-- the next cursor or '', and users and infos in turn. A cursor is `<HSCAN's>`, or, behind a user within a step of it from one
-- to the next, `<HSCAN's>-<HSCAN's next>:<user>`.
local function presence_list(keys, args)
  local users_max, bytes_max = is_whole(args[1], 1, USERS_MAX), is_whole(args[2], 1, 2 ^ 40)
  local scan, next_scan, after = (args[3] or ''):match('^(%d+)%-?(%d*):?(.*)$')
  if #keys ~= 2 or not topic_of(keys[1], keys[2]) or not users_max or not bytes_max or not scan or #scan > 20 then
    return refuse('two keys are needed, {<topic>}:presence and {<topic>}:info, how many users, 1 to '
      .. decimal(USERS_MAX) .. ', and how many bytes to bring at most, and the cursor, at first 0')
  end
  after = after ~= '' and next_scan ~= '' and after or nil
  local topic, over = { presence = keys[1], info = keys[2] }, {}
  local members, users = expired(topic, (server_time()))
  local count = ask('HLEN', topic.info)
  if #members > 0 then
    for _, user in ipairs(users) do
      over[user] = (over[user] or 0) + 1
    end
    local counted = {}
    for at, entry in ipairs(ask('HMGET', topic.info, unpack(users))) do
      if entry and not counted[users[at]] and held_by(entry) <= over[users[at]] then
        counted[users[at]], count = true, count - 1
      end
    end
  end
  local answer, room = { #members > 0 and 1 or 0, count, '' }, { users = users_max, bytes = bytes_max }
  local scans, hint, is_over = 0, after and 1 or SCAN_COUNT, false
  while not is_over and room.users > 0 and room.bytes > 0 and scans < SCANS_MAX do
    local step = ask('HSCAN', topic.info, scan, 'COUNT', decimal(hint))
    -- It is the step that was begun only if it ends where that did: else the hash has another size, or its users have gone.
    local entries, bytes = entries_of(step[2], over, step[1] == next_scan and after)
    scans = scans + 1
    if #entries <= room.users and bytes <= room.bytes then
      for _, entry in ipairs(entries) do
        answer[#answer + 1], answer[#answer + 2] = entry.user, entry.info
      end
      room.users, room.bytes = room.users - #entries, room.bytes - bytes
      hint = after and SCAN_COUNT or hint
      scan, after, is_over = step[1], nil, step[1] == '0'
    elseif hint > 1 then
      hint = math.max(1, math.floor(hint / 4))
    elseif #answer > 3 then
      break
    else
      -- Even the smallest step has more than fits.
      for _, entry in ipairs(entries) do
        entry.rank = rank(entry.user)
      end
      after, next_scan = give_part(answer, entries, room), step[1]
      if not after then
        scan, is_over = step[1], step[1] == '0'
      end
      break
    end
  end
  if after then
    answer[3] = scan .. '-' .. next_scan .. ':' .. after
  elseif not is_over then
    answer[3] = scan
  end
  return answer
end

local function version()
  return VERSION
end

if redis.register_function then
  redis.register_function('fanfare_publish', publish)
  -- Like PUBLISH itself, it works when the memory is full.
  redis.register_function { function_name = 'fanfare_send', callback = send, flags = { 'allow-oom' } }
  redis.register_function { function_name = 'fanfare_read', callback = read, flags = { 'no-writes' } }
  redis.register_function { function_name = 'fanfare_history', callback = history, flags = { 'no-writes' } }
  -- A head is small, and a subscription without one could prove nothing.
  redis.register_function { function_name = 'fanfare_begin', callback = begin, flags = { 'allow-oom' } }
  redis.register_function('fanfare_presence_join', presence_join)
  -- These make nothing larger.
  redis.register_function { function_name = 'fanfare_presence_leave', callback = presence_leave, flags = { 'allow-oom' } }
  redis.register_function { function_name = 'fanfare_presence_refresh', callback = presence_refresh, flags = { 'allow-oom' } }
  redis.register_function { function_name = 'fanfare_presence_list', callback = presence_list, flags = { 'no-writes' } }
  redis.register_function { function_name = 'fanfare_version', callback = version, flags = { 'no-writes' } }
else
  local functions = {
    fanfare_publish = publish,
    fanfare_send = send,
    fanfare_read = read,
    fanfare_history = history,
    fanfare_begin = begin,
    fanfare_presence_join = presence_join,
    fanfare_presence_leave = presence_leave,
    fanfare_presence_refresh = presence_refresh,
    fanfare_presence_list = presence_list,
    fanfare_version = version,
  }
  local named = functions[ARGV[1]]
  if not named then
    return refuse('the first argument must be the name of a function of Fanfare, such as fanfare_publish')
  end
  return named(KEYS, { unpack(ARGV, 2) })
end
