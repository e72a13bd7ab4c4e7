#!lua
-- The events of one account out of one batch of the firehose, once.
-- KEYS  1 activity  2 use
-- ARGV  1 shard  2 id of the batch in it  3 length of the stream  4 seconds to keep it  5 token last used, or empty
--       6 when, in milliseconds  7… lines
-- reply 1 written, 0 was already there
-- A shard is read in order by one process at a time, so that its last batch stands for all before it.
local mark = redis.call('HGET', KEYS[2], 'mark:' .. ARGV[1])
if mark and not before(mark, ARGV[2]) then
  return 0
end
for i = 7, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[i])
end
redis.call('HSET', KEYS[2], 'mark:' .. ARGV[1], ARGV[2])
if ARGV[5] ~= '' then
  local field = 'used:' .. ARGV[5]
  if tonumber(redis.call('HGET', KEYS[2], field) or '0') < tonumber(ARGV[6]) then
    -- Two tokens at the most are alive at once; those that died long ago needn't stay.
    if redis.call('HLEN', KEYS[2]) > 64 then
      for _, name in ipairs(redis.call('HKEYS', KEYS[2])) do
        if string.sub(name, 1, 5) == 'used:' then redis.call('HDEL', KEYS[2], name) end
      end
    end
    redis.call('HSET', KEYS[2], field, ARGV[6])
  end
end
local now = redis.call('TIME')
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', math.max(0, tonumber(now[1]) - tonumber(ARGV[4])) * 1000))
redis.call('EXPIRE', KEYS[1], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[4])
return 1
