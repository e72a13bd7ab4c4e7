#!lua
-- The events of one account out of some batches of the firehose, once, as one entry.
-- KEYS  1 activity  2 use
-- ARGV  1 shard  2 most events that are kept  3 seconds to keep them  4 token last used, or empty  5 when, in milliseconds
--       6… for each batch, in order: its id in the shard, how many events, their lines
-- reply 1 written, 0 was already there
-- A shard is read in order by one process at a time, so that its last batch stands for all before it. An entry says which of the
-- account's events its last one is (`n`), and so how many have come since: what is kept is bounded in events.
local use = 'used:' .. ARGV[4]
local known = redis.call('HMGET', KEYS[2], 'mark:' .. ARGV[1], 'events', 'trimmed', use)
local mark, events, trimmed, used = known[1], tonumber(known[2] or '0'), known[3], tonumber(known[4] or '0')
local lines, last = {}, nil
for i = 6, #ARGV, 3 do
  if not mark or before(mark, ARGV[i]) then
    last = ARGV[i]
    events = events + tonumber(ARGV[i + 1])
    lines[#lines + 1] = ARGV[i + 2]
  end
end
if not last then
  return 0
end
redis.call('XADD', KEYS[1], '*', 'n', string.format('%d', events), 'e', table.concat(lines))
local changed = { 'mark:' .. ARGV[1], last, 'events', string.format('%d', events) }
if ARGV[4] ~= '' and used < tonumber(ARGV[5]) then
  changed[#changed + 1] = use
  changed[#changed + 1] = ARGV[5]
end
-- Now and then what is too old, or too much, goes: each time costs more than the rest of this.
local most, keep, now = tonumber(ARGV[2]), tonumber(ARGV[3]), math.floor(tonumber(string.match(last, '^%d+')) / 1000)
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
      if string.sub(name, 1, 5) == 'used:' and name ~= use then redis.call('HDEL', KEYS[2], name) end
    end
  end
  changed[#changed + 1] = 'trimmed'
  changed[#changed + 1] = string.format('%d %d', now, events)
end
redis.call('HSET', KEYS[2], unpack(changed))
return 1
