#!lua
-- Calls with tokens that one key signed, by the hour, out of some batches of the firehose, once.
-- KEYS  1 calls of the key
-- ARGV  1 shard  2 seconds to keep them  3… for each batch, in order: its id in the shard, calls let through, calls refused
-- reply 1 counted, 0 was already there
-- A shard is read in order by one process at a time, so that its last batch stands for all before it.
local mark = redis.call('HGET', KEYS[1], 'mark:' .. ARGV[1])
local last = nil
for i = 3, #ARGV, 3 do
  if not mark or before(mark, ARGV[i]) then
    last = ARGV[i]
    local hour = string.format('%d', math.floor(tonumber(string.match(last, '^%d+')) / 3600000))
    for outcome, count in pairs({ allowed = ARGV[i + 1], refused = ARGV[i + 2] }) do
      if count ~= '0' then
        redis.call('HINCRBY', KEYS[1], outcome .. ':' .. hour, count)
      end
    end
  end
end
if not last then
  return 0
end
redis.call('HSET', KEYS[1], 'mark:' .. ARGV[1], last)
redis.call('EXPIRE', KEYS[1], ARGV[2])
-- Two days of hours, and some.
if redis.call('HLEN', KEYS[1]) > 128 then
  local now = math.floor(tonumber(string.match(last, '^%d+')) / 3600000)
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    local hour = string.match(name, '^%a+:(%d+)$')
    if string.sub(name, 1, 5) ~= 'mark:' and hour and tonumber(hour) < now - 26 then
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
return 1
