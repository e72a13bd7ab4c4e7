#!lua
-- One batch of events, once: repeating it after a lost reply changes nothing.
-- KEYS  1 firehose shard  2 heads of its nodes
-- ARGV  1 node  2 first sequence  3 last sequence  4 count  5 lines  6 length of the stream  7 process  8 number of its batch
-- reply 1 written, 0 was already there
-- By process and not by name alone: should two processes bear one name, nothing of theirs is taken for a repetition.
local batch = ARGV[1] .. '#batch'
local heads = redis.call('HMGET', KEYS[2], ARGV[1], batch)
local process, number = string.match(heads[2] or '', '^(%S+) (%d+)$')
if process == ARGV[7] and tonumber(number) >= tonumber(ARGV[8]) then
  return 0
end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[6], '*', 'n', ARGV[1], 'f', ARGV[2], 'c', ARGV[4], 'e', ARGV[5])
local last = math.max(tonumber(heads[1] or '0'), tonumber(ARGV[3]))
redis.call('HSET', KEYS[2], ARGV[1], string.format('%d', last), batch, ARGV[7] .. ' ' .. ARGV[8])
return 1
