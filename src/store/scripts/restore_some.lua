#!lua
-- Some fields of a hash are put back into a store that is being restored.
-- KEYS  1 meta  2 hash
-- ARGV  1 which backup  2… names and values
-- reply 1, or -1: this backup is not being restored
if redis.call('HGET', KEYS[1], 'restoring') ~= ARGV[1] then
  return -1
end
for place = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[place], ARGV[place + 1])
end
return 1
