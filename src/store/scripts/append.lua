#!lua
-- One block of a node's events, once: repeating it after a lost reply changes nothing (A3).
-- KEYS  1 firehose shard  2 heads of its nodes
-- ARGV  1 node  2 claim  3 number of the block  4 highest number of an event  5 hash  6 open numbers  7 header  8 lines
--       9 length of the stream
-- reply the id of its entry; or empty: the chain was claimed by another process since, or its last block is not the one before; or
--       'full': the stream is as long as it may get, and waits for its archive
local head = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local claim, block, hash, entry = string.match(head, '^(%S+) (%d+) %d+ (%S+) (%S+) %S*$')
if claim ~= ARGV[2] then
  return ''
end
if block == ARGV[3] and hash == ARGV[5] then
  return entry
end
if tonumber(block) ~= tonumber(ARGV[3]) - 1 then
  return ''
end
local id
if archived(KEYS[2]) then
  -- What is archived is removed by issuers alone: nothing is cut off here, and so nothing that is not archived.
  if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[9]) then
    return 'full'
  end
  id = redis.call('XADD', KEYS[1], '*', 'b', ARGV[7], 'e', ARGV[8])
else
  id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[9], '*', 'b', ARGV[7], 'e', ARGV[8])
end
redis.call('HSET', KEYS[2], ARGV[1], table.concat({ claim, ARGV[3], ARGV[4], ARGV[5], id, ARGV[6] }, ' '))
return id
