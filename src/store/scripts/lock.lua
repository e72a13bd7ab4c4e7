#!lua flags=allow-oom
-- Takes a lock, or keeps it, or gives it back.
-- KEYS  1 lock
-- ARGV  1 who  2 for how long, in milliseconds; 0 gives it back
-- reply 1 it is ours (or was, and is given back), 0 it is another's
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
