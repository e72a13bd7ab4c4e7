#!lua
-- Calls out of some batches of a shard of the firehose, counted once.
-- KEYS  1 counts
-- ARGV  1 shard  2 seconds to keep them  3 so many fields are kept, however old  4 JSON object: of fields NAME:NUMBER, by their
--       name, the lowest number that is kept  5… for each batch, in order: its id in the shard, how many fields, and each with its count
-- reply 1 counted, 0 was already there
-- A shard is read in order by one process at a time, so that its last batch stands for all before it.
local mark = redis.call('HGET', KEYS[1], 'mark:' .. ARGV[1])
local last, i = nil, 5
while ARGV[i] do
  local batch, after = ARGV[i], i + 2 + 2 * tonumber(ARGV[i + 1])
  if not mark or before(mark, batch) then
    last = batch
    for field = i + 2, after - 1, 2 do
      redis.call('HINCRBY', KEYS[1], ARGV[field], ARGV[field + 1])
    end
  end
  i = after
end
if not last then
  return 0
end
redis.call('HSET', KEYS[1], 'mark:' .. ARGV[1], last)
redis.call('EXPIRE', KEYS[1], ARGV[2])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[3]) then
  local oldest = cjson.decode(ARGV[4])
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local name, number = string.match(field, '^([%a_]+):(%d+)$')
    if name and oldest[name] and tonumber(number) < oldest[name] then
      redis.call('HDEL', KEYS[1], field)
    end
  end
end
return 1
