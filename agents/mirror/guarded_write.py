"""The script that writes to a mirror, in Redis, as one step that nothing comes between.

A batch is what one partition of one topic has from one offset to another. It is refused where the
mirror is not known to hold everything before it, so that no change is passed over; writes below the
position are repeats and are left out. Of what has a revision, the later one stays. So the mirror is
the same whoever writes, in whatever order, and however often.
"""

from __future__ import annotations

from typing import Final

WRITE: Final = """
local mirror, changes = KEYS[1], KEYS[2]
local batch = cjson.decode(ARGV[1])
local most = ARGV[2]

local function as(kind, key)
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then redis.call('DEL', key) end
end

if redis.call('TYPE', mirror).ok ~= 'hash' then return -1 end
local place = 'position:' .. batch.topic .. '/' .. batch.partition
local position = tonumber(redis.call('HGET', mirror, place) or '')
if redis.call('HGET', mirror, 'format') ~= batch.format
  or redis.call('HGET', mirror, 'topic_id:' .. batch.topic) ~= batch.topic_id
  or not position or position < batch.from then return -1 end

local function set(key, fields)
  for first = 1, #fields, 1000 do
    redis.call('HSET', key, unpack(fields, first, math.min(first + 999, #fields)))
  end
end

local function is_later(key, field, revision)
  local known = tonumber(redis.call('HGET', key, field) or '')
  return not known or revision >= known
end

local function note(write, what, revision)
  redis.call('XADD', changes, 'MAXLEN', '~', most, '*', 'kind', write.kind, 'key', write.key,
    'model_name', write.model_name, 'what', what, 'revision', revision)
end

local write_of = {}
function write_of.registry(write)
  local is_new = false
  as('hash', write.key)
  for _, group in ipairs({ { 'revision', write.revision, write.fields, MODEL_FIELDS },
      { 'labels_revision', write.labels_revision, write.labels, LABEL_FIELDS } }) do
    if #group[3] > 0 and is_later(write.key, group[1], group[2]) then
      redis.call('HDEL', write.key, unpack(group[4]))
      set(write.key, group[3])
      is_new = true
    end
  end
  for _, version in ipairs(write.versions) do
    as('hash', version.key)
    if is_later(version.key, 'revision', version.revision) then
      redis.call('DEL', version.key)
      set(version.key, version.fields)
      is_new = true
    end
  end
  if is_new then note(write, 'changed', write.revision) end
  return is_new
end

local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)

function write_of.figures(write)
  as('hash', write.key)
  as('zset', write.series_key)
  local known = redis.call('HMGET', write.key, 'window_start_ms', 'revision')
  local start, revision = tonumber(known[1] or ''), tonumber(known[2] or '')
  local expires = write.expires_at_ms
  local is_new = not start or not revision or write.window_start_ms > start
    or (write.window_start_ms == start and write.revision >= revision)
  if start then
    local score = redis.call('ZSCORE', write.series_key, write.member)
    expires = math.max(expires, tonumber(score or '') or 0)
  end
  redis.call('ZREMRANGEBYSCORE', write.series_key, '-inf', now)
  if is_new then
    redis.call('DEL', write.key)
    if expires <= now then return false end
    set(write.key, write.fields)
  end
  redis.call('PEXPIREAT', write.key, string.format('%.0f', expires))
  redis.call('ZADD', write.series_key, string.format('%.0f', expires), write.member)
  local last = redis.call('ZRANGE', write.series_key, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', write.series_key, last[2])
  if is_new then note(write, 'changed', write.revision) end
  return is_new
end

function write_of.alert(write)
  as('hash', write.key)
  if write.record == '' then
    local was_open = redis.call('HDEL', write.key, write.alert_id) == 1
    if was_open then note(write, 'resolved', write.alert_id) end
    return was_open
  end
  local is_first = redis.call('HSET', write.key, write.alert_id, write.record) == 1
  note(write, is_first and 'opened' or 'changed', write.alert_id)
  return true
end

-- The first command may not pass for one that frees memory: without any left, nothing is changed.
redis.call('HSET', mirror, 'format', batch.format)
as('stream', changes)
local applied = 0
for _, write in ipairs(batch.writes) do
  -- A registry write holds two topics, of which this position is one: its revisions guard it.
  if (write.kind == 'registry' or write.offset >= position) and write_of[write.kind](write) then
    applied = applied + 1
  end
end
if batch.to > position then
  redis.call('HSET', mirror, place, string.format('%.0f', batch.to))
end
return applied
"""
"""KEYS: `Keys.mirror` and `Keys.changes`; keys that the writes name lie below the same prefix.
ARGV: a `Batch` as JSON, and the length of the stream. Returns the number of writes that were new,
or -1 if the batch is refused: the mirror has to be made anew first, or lacks what comes before.
"""

CONFIRM: Final = """
local mirror, confirmed = KEYS[1], KEYS[2]
if redis.call('TYPE', mirror).ok ~= 'hash' then return 0 end
for at = 1, #ARGV, 2 do
  if redis.call('HGET', mirror, ARGV[at]) ~= ARGV[at + 1] then return 0 end
end
local now = redis.call('TIME')
redis.call('SET', confirmed, string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)))
return 1
"""
"""KEYS: `Keys.mirror` and `Keys.confirmed_at`. ARGV: fields of the first with the values that they
must have. Sets the second to the server's time; returns 0 if a value differs.
"""
