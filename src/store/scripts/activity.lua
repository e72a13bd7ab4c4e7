#!lua
-- The events of one account out of some batches of the firehose, once, as one entry; and its calls, rolled up by the hour.
-- KEYS  1 activity  2 use  3 hours
-- ARGV  1 most events that are kept  2 seconds to keep them  3 hours to keep  4 hours that a clock may be ahead  5 now, in seconds
--       6 number of the last event, as it was found; empty: there was none  7 how many events  8 their lines
--       9 from when on calls are rolled up, or empty  10 dead tokens, "none", or empty: as they were
--       11 how many shards  12 how many tokens  13… for each shard: its field, its last batch as it was found, or empty, and the last of these
--       … for each token that was used: its field, and when, in milliseconds  … for each hour: it, and its calls
-- reply the number of the last event now; empty: others have written meanwhile, and nothing was done
-- A shard is read in order by one process at a time, so that its last batch stands for all before it. An entry says which of the
-- account's events its last one is (`n`), and so how many have come since: what is kept is bounded in events.
local most, keep, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[5])
local shards, tokens = tonumber(ARGV[11]), tonumber(ARGV[12])
local first_token = 13 + 3 * shards
local first_hour = first_token + 2 * tokens
local names = { 'events', 'trimmed' }
for i = 13, first_token - 1, 3 do
  names[#names + 1] = ARGV[i]
end
for i = first_token, first_hour - 1, 2 do
  names[#names + 1] = ARGV[i]
end
local known = redis.call('HMGET', KEYS[2], unpack(names))
local is_as_found = (known[1] or '') == ARGV[6]
for i = 1, shards do
  is_as_found = is_as_found and (known[2 + i] or '') == ARGV[11 + 3 * i]
end
if not is_as_found then
  return ''
end
local events, trimmed = (tonumber(known[1]) or 0) + tonumber(ARGV[7]), known[2]
redis.call('XADD', KEYS[1], '*', 'n', string.format('%d', events), 'e', ARGV[8])
local changed = { 'events', string.format('%d', events) }
local function change(name, value)
  changed[#changed + 1] = name
  changed[#changed + 1] = value
end
for i = 1, shards do
  change(ARGV[10 + 3 * i], ARGV[12 + 3 * i])
end
local is_in_use = {}
for i = 1, tokens do
  local name, when = ARGV[first_token + 2 * i - 2], ARGV[first_token + 2 * i - 1]
  is_in_use[name] = true
  if (tonumber(known[2 + shards + i]) or 0) < tonumber(when) then
    change(name, when)
  end
end
if ARGV[9] ~= '' then
  change('since', ARGV[9])
end
if ARGV[10] == 'none' then
  redis.call('HDEL', KEYS[2], 'dead')
elseif ARGV[10] ~= '' then
  change('dead', ARGV[10])
end
-- With an hour that is new, one goes.
if #ARGV >= first_hour and redis.call('HSET', KEYS[3], unpack(ARGV, first_hour)) > 0 then
  local hours, ahead = tonumber(ARGV[3]), tonumber(ARGV[4])
  for _, hour in ipairs(redis.call('HKEYS', KEYS[3])) do
    if (tonumber(hour) or 0) <= math.floor(now / 3600) - hours then
      redis.call('HDEL', KEYS[3], hour)
    end
  end
  redis.call('EXPIRE', KEYS[3], (hours + ahead + 1) * 3600)
end
-- Now and then what is too old, or too much, goes: each time costs more than the rest of this.
local pause = math.min(keep / 64, 3600)
local at, of = string.match(trimmed or '', '^(%d+) (%d+)$')
if not at or now - tonumber(at) >= pause or events - tonumber(of) > math.min(most / 8, 2048) then
  local first = nil
  repeat
    local oldest = redis.call('XRANGE', KEYS[1], first and '(' .. first or '-', '+', 'COUNT', '16')
    local gone = nil
    for _, entry in ipairs(oldest) do
      -- Those of an earlier form have no number, and are the oldest.
      local n = entry[2][1] == 'n' and tonumber(entry[2][2]) or 0
      if events - n < most then
        break
      end
      gone = entry[1]
    end
    first = gone or first
  until not gone or gone ~= oldest[#oldest][1]
  if first then
    local ms, number = string.match(first, '(%d+)-(%d+)')
    redis.call('XTRIM', KEYS[1], 'MINID', ms .. '-' .. string.format('%d', tonumber(number) + 1))
  end
  redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', math.max(0, now - keep) * 1000))
  local longest = string.format('%d', keep + math.ceil(pause))
  redis.call('EXPIRE', KEYS[1], longest)
  redis.call('EXPIRE', KEYS[2], longest)
  -- Two tokens at the most are alive at once; those that died long ago needn't stay.
  if redis.call('HLEN', KEYS[2]) > 64 then
    for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
      if string.sub(name, 1, 5) == 'used:' and not is_in_use[name] then redis.call('HDEL', KEYS[2], name) end
    end
  end
  change('trimmed', string.format('%d %d', now, events))
end
redis.call('HSET', KEYS[2], unpack(changed))
return string.format('%d', events)
