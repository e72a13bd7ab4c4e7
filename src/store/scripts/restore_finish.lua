#!lua
-- A store that was being restored is whole: from now on it is the dataset, on a server that nobody has met.
-- KEYS  1 meta
-- ARGV  1 which backup  2 identity of the server when it was begun  3… names and values of what meta is to say
-- reply 1, or -1: this backup is not being restored, or -2: another server has taken its place, and may lack what was put back last
if redis.call('HGET', KEYS[1], 'restoring') ~= ARGV[1] then
  return -1
end
if identity() ~= ARGV[2] then
  return -2
end
redis.call('HDEL', KEYS[1], 'restoring')
for place = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[place], ARGV[place + 1])
end
return 1
