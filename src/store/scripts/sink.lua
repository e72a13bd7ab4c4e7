#!lua
-- Notes how far a sink has come, where whoever says so is still the one that delivers it.
-- KEYS  1 meta  2 lock of the sink  3 sinks
-- ARGV  1 dataset  2 who  3 sink  4 how far
-- reply 1, or 0: another has taken over, or it is another dataset
if redis.call('HGET', KEYS[1], 'dataset') ~= ARGV[1] or redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
return 1
