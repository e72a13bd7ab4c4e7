#!lua
-- One batch of events, once: repeating it after a lost reply changes nothing.
-- KEYS  1 firehose shard  2 heads of its nodes
-- ARGV  1 node  2 first sequence  3 last sequence  4 count  5 lines  6 length of the stream
-- reply 1 written, 0 was already there
local head = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '0')
if head >= tonumber(ARGV[2]) then
  return 0
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], '*', 'n', ARGV[1], 'f', ARGV[2], 'c', ARGV[4], 'e', ARGV[5])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
