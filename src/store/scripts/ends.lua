#!lua
-- The last block of each node, and the last entry of all, of one moment.
-- KEYS  1 firehose shard  2 heads of its nodes
-- reply {heads: a list of names and values; id of the last entry or ''}
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
return { redis.call('HGETALL', KEYS[2]), last and last[1] or '' }
