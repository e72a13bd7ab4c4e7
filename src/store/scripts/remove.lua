#!lua flags=allow-oom
-- A node leaves the table: it says goodbye, or stands still for so long that its lease is over.
-- The count is the node's own: were it begun anew here after a removal, a second one could hit a node that has come back.
-- KEYS  1 leases  2 nodes
-- ARGV  1 node id  2 its lease as it stood, with the renewal count, or empty: the node itself asks
-- reply 1 it is gone, 0 it has renewed meanwhile
-- Its renewals; of what can't be read, all of it.
local function standing(lease)
  return string.match(lease, '^(%d+) %d+ %d+%-%d+ %d+ %d+$') or lease
end
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known and ARGV[2] ~= '' and standing(known) ~= standing(ARGV[2]) then
  return 0
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
