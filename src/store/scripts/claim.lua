#!lua flags=allow-oom
-- A process claims the chain of a node's blocks: whoever had it before writes no block to it any more (A3).
-- KEYS  1 heads of the shard's nodes
-- ARGV  1 node  2 claim
-- reply {number of the last block, highest number of an event, hash, id of its entry, open numbers, 1 where that can't be read: then
--        the chain begins anew, since otherwise nothing could be recorded any more}
local head = redis.call('HGET', KEYS[1], ARGV[1])
local block, last, hash, entry, open = string.match(head or '- 0 0 - - ', '^%S+ (%d+) (%d+) (%S+) (%S+) (%S*)$')
local is_lost = not block
if is_lost then
  block, last, hash, entry, open = '0', string.match(head, '^%d+$') or '0', '-', '-', ''
end
redis.call('HSET', KEYS[1], ARGV[1], table.concat({ ARGV[2], block, last, hash, entry, open }, ' '))
return { block, last, hash, entry, open, is_lost and '1' or '0' }
