#!lua flags=allow-oom
-- A node leaves the table: it says goodbye, or stands still for so long that its lease is over.
-- KEYS  1 leases  2 nodes
-- ARGV  1 node id  2 the renewal count at which it stands, or empty: the node itself asks
-- reply 1 it is gone, 0 it has renewed meanwhile
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and ARGV[2] ~= '' and (string.match(known, '^(%d+) ') or '0') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
