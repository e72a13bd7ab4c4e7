#!lua
-- Counts one try with each counter, or with none of them.
-- KEYS  a counter each
-- ARGV  of each: how many tries it lets through, within how many seconds from the first
-- reply 0 counted, or the seconds until the fullest one begins anew
local wait = 0
for place, key in ipairs(KEYS) do
  if tonumber(redis.call('GET', key) or '0') >= tonumber(ARGV[2 * place - 1]) then
    wait = math.max(wait, redis.call('TTL', key), 1)
  end
end
if wait > 0 then
  return wait
end
for place, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then
    redis.call('EXPIRE', key, ARGV[2 * place])
  end
end
return 0
